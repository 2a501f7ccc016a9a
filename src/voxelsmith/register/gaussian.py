"""Gaussian smoothing of volumes, separable and axis by axis.

Owns the filter that keeps deformations smooth and pyramids free of aliasing. Each axis has a width of its own, so that
smoothing is even in millimetres whatever the voxels are. Beyond its border a volume goes on as at it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

# Widths, in voxels, below which the filter is its middle alone.
_NONE = 0.2
_REACH = 3


def smooth(x: Tensor, sigma: Sequence[float]) -> Tensor:
    """The volume, smoothed.

    Parameters
    ----------
    x
        Shape (B, C, I, J, K), float.
    sigma
        Standard deviation along each array axis, in voxels; below 0.2 that axis stays as it is.

    Returns
    -------
    tensor of the shape of x; x itself when no axis is smoothed
    """
    axes = [axis for axis, width in enumerate(sigma) if width >= _NONE and x.shape[2 + axis] > 1]
    if not axes:
        return x
    channels = []
    # One channel at a time: temporaries stay small enough to be used again.
    for channel in torch.chunk(x, x.shape[1], dim=1):
        for axis in axes:
            channel = _along(channel, sigma[axis], axis)
        channels.append(channel)
    return torch.cat(channels, dim=1) if len(channels) > 1 else channels[0]


def _along(x: Tensor, sigma: float, axis: int) -> Tensor:
    reach = math.ceil(_REACH * sigma)
    weights = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(reach + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    margins = [0] * 6
    margins[4 - 2 * axis : 6 - 2 * axis] = [reach, reach]
    wide, count = functional.pad(x, margins, mode="replicate"), x.shape[2 + axis]
    out = x * (weights[0] / total)
    for step in range(1, reach + 1):
        for start in (reach - step, reach + step):
            out.add_(wide.narrow(2 + axis, start, count), alpha=weights[step] / total)
    return out


def slopes(x: Tensor) -> Tensor:
    """Central differences along the three axes, one-sided at the border.

    Parameters
    ----------
    x
        Shape (B, 1, I, J, K), float.

    Returns
    -------
    tensor, shape (B, 3, I, J, K)
        Change for one voxel along array axis c in channel c; 0 along an axis of one voxel.
    """
    out = x.new_zeros(x.shape[0], 3, *x.shape[2:])
    for axis in range(3):
        count, along = x.shape[2 + axis], out[:, axis : axis + 1]
        if count == 1:
            continue
        inner = torch.sub(x.narrow(2 + axis, 2, count - 2), x.narrow(2 + axis, 0, count - 2))
        along.narrow(2 + axis, 1, count - 2).copy_(inner).mul_(0.5)
        for end, (high, low) in ((0, (1, 0)), (count - 1, (count - 1, count - 2))):
            along.narrow(2 + axis, end, 1).copy_(x.narrow(2 + axis, high, 1) - x.narrow(2 + axis, low, 1))
    return out
