"""Warping: volumes and displacements moved by displacements.

Owns the one convention of every deformation that torch computes. A displacement u has shape (B, 3, I, J, K) and lies on
the grid of the result; channel a is the shift along array axis a, in voxels. Pulling takes the voxel p of the result
from the place p + u(p) of the volume. Everything is differentiable, builds its grid anew for the volume at hand, and
computes in float32, or in float64 for tensors of that type.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Interpolation = Literal["linear", "nearest"]
Padding = Literal["border", "zeros"]


def pull(
    volume: Tensor, displacement: Tensor, *, interpolation: Interpolation = "linear", padding: Padding = "border"
) -> Tensor:
    """The volume as seen through a displacement: result(p) = volume(p + u(p)).

    Parameters
    ----------
    volume
        Shape (B, C, i, j, k).
    displacement
        Shape (B, 3, I, J, K), in voxels; index 0 of its grid is index 0 of the volume.
    interpolation
        "linear" between the eight voxels around a place, or its "nearest" voxel.
    padding
        What lies beyond the volume: its "border" goes on, or "zeros".

    Returns
    -------
    tensor, shape (B, C, I, J, K)
    """
    double = torch.float64 in (volume.dtype, displacement.dtype)
    dtype = torch.float64 if double else torch.float32
    places = []
    # torch wants places in -1..1 from face to face of the volume, the last axis first.
    for axis in (2, 1, 0):
        voxels, count = displacement.shape[2 + axis], volume.shape[2 + axis]
        centres = (2 * torch.arange(voxels, device=displacement.device, dtype=dtype) + 1) / count - 1
        centres = centres.reshape([voxels if a == axis else 1 for a in range(3)])
        places.append(torch.add(centres, displacement[:, axis].to(dtype), alpha=2 / count))
    mode = "bilinear" if interpolation == "linear" else "nearest"
    with torch.autocast(displacement.device.type, enabled=False):
        pulled: Tensor = functional.grid_sample(
            volume.to(dtype), torch.stack(places, dim=-1), mode=mode, padding_mode=padding, align_corners=False
        )
    return pulled


def compose(first: Tensor, second: Tensor) -> Tensor:
    """The displacement that does both: pulling by it is pulling by the first, then pulling the result by the second.

    Parameters
    ----------
    first, second
        Displacements, shape (B, 3, I, J, K), on one grid; beyond it the first goes on as at its border.

    Returns
    -------
    tensor, shape (B, 3, I, J, K)
    """
    return pull(first, second).add_(second)


def integrate(velocity: Tensor, steps: int = 7) -> Tensor:
    """The displacement after flowing along a stationary velocity for one unit of time, by scaling and squaring.

    Arsigny et al., MICCAI 2006. The displacement of the opposite velocity is its inverse.

    Parameters
    ----------
    velocity
        Shape (B, 3, I, J, K), in voxels.
    steps
        How often the flow is doubled: it starts as velocity / 2**steps.

    Returns
    -------
    tensor, shape (B, 3, I, J, K)
    """
    displacement: Tensor = velocity / 2**steps
    for _ in range(steps):
        displacement = compose(displacement, displacement)
    return displacement
