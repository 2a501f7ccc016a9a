"""Network: the promptable network as a plain function of arrays.

Owns how its weights are loaded, once for all engines, and where it computes. torch is imported at the first answer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from voxelsmith.segment.zoom import FloatArray

if TYPE_CHECKING:
    from voxelsmith.models.promptable import PromptableNet

Network: TypeAlias = Callable[[FloatArray], FloatArray]
"""From the channels of a window, float32 (C, I, J, K), to probabilities, float32 (I, J, K)."""


@lru_cache(maxsize=2)
def shipped_network(device: str = "auto") -> Network:
    """The network with the weights that ship.

    Parameters
    ----------
    device
        "auto" (CUDA if there is one, else the CPU), "cpu", "cuda" or "mps".

    Raises
    ------
    ModelUnavailableError
        If the weights are missing or were tampered with.
    """
    from voxelsmith.models.promptable import PromptableNet
    from voxelsmith.weights import store

    model = PromptableNet()
    model.load_state_dict(store.load("promptable"))
    return as_network(model, device)


def as_network(model: PromptableNet, device: str = "cpu") -> Network:
    """A model, in evaluation mode on a device, as a function of arrays."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device=device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]

    def answer(channels: FloatArray) -> FloatArray:
        with torch.inference_mode(), torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            logits = model(torch.from_numpy(channels)[None].to(device))
            probability: FloatArray = logits.float().sigmoid()[0, 0].cpu().numpy()
        return np.ascontiguousarray(probability)

    return answer
