"""Network: the promptable network as a plain function of arrays.

Owns how torch and its weights are loaded, once for all engines, and where it computes. torch is imported at the first
answer, as nobody should wait for it before.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from voxelsmith.core.errors import ModelUnavailableError, ResourceError
from voxelsmith.segment.zoom import FloatArray

if TYPE_CHECKING:
    from voxelsmith.models.device import DeviceName
    from voxelsmith.models.promptable import PromptableNet

Network: TypeAlias = Callable[[FloatArray], FloatArray]
"""From the channels of a window, float32 (C, I, J, K), to probabilities, float32 (I, J, K)."""

_ELSE = "or choose the engine training-free, which needs neither torch nor weights."


def import_torch() -> None:
    """Import torch, in three quarters of the usual time.

    The import makes 140,000 objects that are there to stay. Python would search them for garbage again and again, so it
    does not search meanwhile, and then finds them among the old ones, which it seldom searches.

    Raises
    ------
    ModelUnavailableError
        If torch is not installed, or cannot be loaded.
    """
    if sys.modules.get("torch") is not None:
        return
    searching = gc.isenabled()
    gc.disable()
    try:
        import_module("torch")
    except (ImportError, OSError) as error:
        raise ModelUnavailableError(
            f"The networks of this package compute with torch, which cannot be loaded here ({error}); reinstall torch, "
            f"{_ELSE}"
        ) from error
    finally:
        # Frozen objects come back as old ones.
        gc.freeze()
        gc.unfreeze()
        if searching:
            gc.enable()


def device_type(name: DeviceName) -> str:
    """Which kind of device a name stands for on this machine: "cuda", "mps" or "cpu".

    Raises
    ------
    InputError
        If the device is not there.
    ModelUnavailableError
        As :func:`import_torch` does.
    """
    import_torch()
    from voxelsmith.models.device import pick_device

    return pick_device(name).type


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
        If the weights are missing or were tampered with, or torch cannot be loaded.
    """
    import_torch()
    from voxelsmith.models.promptable import PromptableNet
    from voxelsmith.weights import store

    try:
        weights = store.load("promptable")
    except ModelUnavailableError as error:
        raise ModelUnavailableError(f"{str(error).removesuffix('.')}, {_ELSE}") from error
    model = PromptableNet()
    model.load_state_dict(weights)
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
