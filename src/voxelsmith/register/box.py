"""Box sums: what windows of voxels add up to.

Owns the filter under every similarity that looks at neighbourhoods: sums along one axis after the other, shift by
shift. For the windows in use that is faster than running sums, and exact where those drown small numbers in large ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from voxelsmith.core.errors import InputError


def box_sum(x: Tensor, window: int) -> Tensor:
    """Sums over cubic windows around each voxel; beyond the border are zeros.

    Parameters
    ----------
    x
        Shape (B, C, I, J, K).
    window
        Edge of the windows in voxels, odd.

    Returns
    -------
    tensor of the shape of x

    Raises
    ------
    InputError
        When the window has no middle.
    """
    if window < 1 or window % 2 == 0:
        raise InputError(f"A window has an odd number of voxels along its edge, got {window}; use {abs(window) + 1}.")
    return _box_sum(x, window // 2)


def box_count(grid: Sequence[int], window: int, like: Tensor) -> Tensor:
    """How many voxels of the grid (I, J, K) each window has, shape (1, 1, I, J, K), in the type of ``like``."""
    count = like.new_ones(1, 1, 1, 1, 1)
    for axis, voxels in enumerate(grid):
        count = count * box_sum(like.new_ones([1, 1, *(voxels if a == axis else 1 for a in range(3))]), window)
    return count


class _BoxSum(torch.autograd.Function):
    """The filter and its gradient, which is the same filter."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, radius: int) -> Tensor:
        ctx.radius = radius
        for axis in (2, 3, 4):
            x = _along(x, radius, axis)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _box_sum(grad, ctx.radius), None


_box_sum: Callable[[Tensor, int], Tensor] = _BoxSum.apply


def _along(x: Tensor, radius: int, axis: int) -> Tensor:
    count = x.shape[axis]
    sums = x.clone()
    for step in range(1, min(radius, count - 1) + 1):
        rest = count - step
        sums.narrow(axis, step, rest).add_(x.narrow(axis, 0, rest))
        sums.narrow(axis, 0, rest).add_(x.narrow(axis, step, rest))
    return sums
