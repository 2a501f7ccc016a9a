"""Network: the promptable network as a plain function of arrays.

Owns how its weights are loaded, once for all engines, and where it computes. torch is imported at the first answer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from voxelsmith.core.errors import ResourceError
from voxelsmith.segment.zoom import FloatArray

if TYPE_CHECKING:
    from voxelsmith.models.device import DeviceName
    from voxelsmith.models.promptable import PromptableNet

Network: TypeAlias = Callable[[FloatArray], FloatArray]
"""From the channels of a window, float32 (C, I, J, K), to probabilities, float32 (I, J, K)."""


@lru_cache(maxsize=2)
def shipped_network(device: DeviceName = "auto") -> Network:
    """The network with the weights that ship.

    Parameters
    ----------
    device
        Where to compute; "auto" takes CUDA, then MPS, then the CPU.

    Raises
    ------
    InputError
        If the device is not there.
    ModelUnavailableError
        If the weights are missing or were tampered with.
    """
    from voxelsmith.models.promptable import PromptableNet
    from voxelsmith.weights import store

    model = PromptableNet()
    model.load_state_dict(store.load("promptable"))
    return as_network(model, device)


def as_network(model: PromptableNet, device: DeviceName = "cpu") -> Network:
    """A model, in evaluation mode on a device, as a function of arrays; InputError if the device is not there."""
    import torch

    from voxelsmith.models.device import pick_device, uses_bfloat16

    place = pick_device(device)
    # On a CPU always float32, which gives the same mask on all of them but for rounding.
    half = place.type == "cuda" and uses_bfloat16("auto", place)
    model = model.to(place).eval()
    for weight in model.parameters():
        if weight.ndim == 5:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)

    def answer(channels: FloatArray) -> FloatArray:
        try:
            with torch.inference_mode(), torch.autocast(place.type, dtype=torch.bfloat16, enabled=half):
                logits = model(torch.from_numpy(channels)[None].to(place))
                probability: FloatArray = logits.float().sigmoid()[0, 0].cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise ResourceError(
                f"The memory of {place.type} is too small for a window of {' x '.join(map(str, channels.shape[1:]))} "
                "voxels; close what else uses it, or choose the CPU."
            ) from error
        return np.ascontiguousarray(probability)

    return answer
