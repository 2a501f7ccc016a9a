"""Where and how precisely to compute: the device, and bfloat16 where there are instructions for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch

from voxelsmith.core.errors import InputError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16"]

# Names in torch.cpu.get_capabilities() of instructions that multiply bfloat16, on x86 and on ARM.
_CPU_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")


def pick_device(name: DeviceName) -> torch.device:
    """The device of that name; "auto" is CUDA, then MPS, then the CPU. InputError if this machine has none of it."""
    # Transposed 3-D convolutions came to MPS with torch 2.8.
    mps = torch.backends.mps.is_available() and _torch_version() >= (2, 8)
    at_hand = {"cuda": torch.cuda.is_available(), "mps": mps, "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, here in at_hand.items() if here))
    if not at_hand.get(name):
        raise InputError(f"This machine, or its torch, offers no {name} device; choose auto or cpu.")
    return torch.device(name)


def _torch_version() -> tuple[int, ...]:
    return tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])


def uses_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether to compute under bfloat16 autocast: "auto" does where the device is made for it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # torch before 2.10 cannot be asked; there float32 is the safe answer.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and any(capabilities.get(name) for name in _CPU_BFLOAT16)


def to_device(sample: Any, device: torch.device, *, channels_last: bool = False) -> Any:
    """A sample with its tensors on the device; goes into mappings, lists and tuples, leaves anything else alone.

    With ``channels_last``, tensors of shape (N, C, i, j, k) are laid out in memory channel by channel.
    """
    if isinstance(sample, torch.Tensor):
        layout = torch.channels_last_3d if channels_last and sample.ndim == 5 else torch.preserve_format
        return sample.to(device, non_blocking=True, memory_format=layout)
    if isinstance(sample, Mapping):
        return {key: to_device(value, device, channels_last=channels_last) for key, value in sample.items()}
    if isinstance(sample, list | tuple):
        parts = [to_device(value, device, channels_last=channels_last) for value in sample]
        if isinstance(sample, list):
            return parts
        return type(sample)(*parts) if hasattr(sample, "_fields") else tuple(parts)
    return sample
