"""Mutual information: how much the intensity in one image tells of that in the other.

Owns the joint histogram with cubic B-spline Parzen windows (Mattes et al., IEEE TMI 2003; here for both images, so that
either may move). Voxels are taken in shares, forwards and backwards: what it needs beside the images does not grow with
them, and the order of its sums is fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from voxelsmith.core.errors import InputError

_SHARE = 2**16
_REACH = 4


def mutual_information(a: Tensor, b: Tensor, weight: Tensor, bins: int = 32) -> Tensor:
    """Mutual information in nats.

    Parameters
    ----------
    a, b
        Intensities of the same voxels, shape (N,), float; the bins go from the least to the greatest that counts.
    weight
        How much each voxel counts, shape (N,).
    bins
        Along each image, at least 5; the outermost are for the width of the windows.

    Returns
    -------
    scalar tensor, at least 0; 0 when one image is constant or nothing counts

    Raises
    ------
    InputError
        When bins are too few.
    """
    if bins <= _REACH:
        raise InputError(f"A joint histogram has more than {_REACH} bins, got {bins}; 32 is usual.")
    joint = _joint_histogram(_places(a, weight, bins), _places(b, weight, bins), weight.detach(), bins)
    tiny = torch.finfo(a.dtype).tiny
    joint = joint / joint.detach().sum().clamp(min=torch.finfo(a.dtype).eps)
    return _plogp(joint, tiny) - _plogp(joint.sum(1), tiny) - _plogp(joint.sum(0), tiny)


def _plogp(p: Tensor, tiny: float) -> Tensor:
    return (p * p.clamp(min=tiny).log()).sum()


def _places(values: Tensor, weight: Tensor, bins: int) -> Tensor:
    """Where intensities lie among the bins, so that all four around each exist: 1 to bins - 2."""
    counted = values.detach()[weight > 0]
    if counted.numel() == 0:
        return 1 + 0 * values
    low, high = counted.min(), counted.max()
    span = high - low
    scale = torch.where(span > 0, (bins - 3) / span, 0)
    return 1 + ((values - low) * scale).clamp(0, bins - 3)


def _windows(places: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """The four bins around each place, shape (N, 4), their weights, and how these change with the place."""
    first = places.floor().clamp(1, bins - 3)
    t = (places - first)[:, None]
    s = 1 - t
    weights = torch.cat([s**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * s**2 + 3 * s**3, t**3], dim=1) / 6
    slopes = torch.cat([-(s**2), -4 * t + 3 * t**2, 4 * s - 3 * s**2, t**2], dim=1) / 2
    return first.long()[:, None] + torch.arange(-1, 3, device=places.device), weights, slopes


class _JointHistogram(torch.autograd.Function):
    """Weighted counts, shape (bins, bins), of places in two images; differentiable in the places."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, weight: Tensor, bins: int) -> Tensor:
        ctx.save_for_backward(a, b, weight)
        joint = a.new_zeros(bins, bins)
        for start in range(0, len(a), _SHARE):
            share = slice(start, start + _SHARE)
            rows, columns = (_spread(*_windows(places[share], bins)[:2], bins) for places in (a, b))
            joint += (rows * weight[share, None]).t() @ columns
        return joint

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        a, b, weight = ctx.saved_tensors
        grads = [torch.empty_like(p) if ctx.needs_input_grad[own] else None for own, p in enumerate((a, b))]
        bins = len(grad)
        for start in range(0, len(a), _SHARE):
            share = slice(start, start + _SHARE)
            windows = [_windows(places[share], bins) for places in (a, b)]
            for own, table in ((0, grad.t()), (1, grad)):
                out = grads[own]
                if out is None:
                    continue
                index, _, slopes = windows[own]
                seen = _spread(*windows[1 - own][:2], bins) @ table
                out[share] = (seen.gather(1, index) * slopes).sum(1) * weight[share]
        return grads[0], grads[1], None, None


_joint_histogram: Callable[[Tensor, Tensor, Tensor, int], Tensor] = _JointHistogram.apply


def _spread(index: Tensor, weights: Tensor, bins: int) -> Tensor:
    """Rows of bins, shape (N, bins), that hold the weights at the index."""
    return weights.new_zeros(len(weights), bins).scatter_(1, index, weights)
