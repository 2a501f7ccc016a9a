"""Similarity: how well a warped image matches the fixed one, as losses that networks are trained with.

Owns the bridge from :mod:`voxelsmith.register.criterion`, where each similarity is written once with its derivatives in
closed form, to automatic differentiation. Losses are scalars, lower the better the images match, and differentiable in
both. They compute in float32, or in float64 for images of that type, whatever autocast says; where nothing counts the
loss has no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from voxelsmith.core.errors import InputError
from voxelsmith.register.criterion import Criterion, local_correlation, mean_square, overlap_loss


def mse(warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared difference; for images of one modality and one scale of intensities.

    Parameters
    ----------
    warped, fixed
        Shape (B, C, I, J, K).
    mask
        Shape (B or 1, 1, I, J, K): counts voxels by weights from 0 to 1, or True and False; None counts all of them.

    Returns
    -------
    scalar tensor, at least 0

    Raises
    ------
    InputError
        When the images or the mask do not fit together.
    """
    return _loss(mean_square, warped, fixed, mask)


def lncc(warped: Tensor, fixed: Tensor, mask: Tensor | None = None, *, window: int = 9) -> Tensor:
    """Minus the squared local correlation coefficient, the mean over the voxels that count.

    For images of one modality with different brightness here and there. Intensities should be about 0 to 1.

    Parameters
    ----------
    warped, fixed, mask
        As for :func:`mse`; voxels of a window count for its correlation as the mask says.
    window
        Edge of the cubic windows in voxels, odd.

    Returns
    -------
    scalar tensor, -1 to 0

    Raises
    ------
    InputError
        When the images or the mask do not fit together, or the window is even.
    """
    return _loss(partial(local_correlation, window=window), warped, fixed, mask)


def dice_loss(warped: Tensor, fixed: Tensor) -> Tensor:
    """One minus the soft Dice coefficient, the mean over samples and labels; leave the background out of the channels.

    Parameters
    ----------
    warped, fixed
        Maps of labels, one channel a label, shape (B, C, I, J, K), values in 0..1.

    Returns
    -------
    scalar tensor, 0 to 1

    Raises
    ------
    InputError
        When the maps do not fit together.
    """
    return _loss(lambda a, b, _, both: overlap_loss(a, b, both), warped, fixed, None)


def _loss(criterion: Criterion, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> Tensor:
    """A criterion as a differentiable loss, in the type to compute in, the mask with the batch of the images."""
    if warped.ndim != 5 or warped.shape != fixed.shape:
        shapes = f"{tuple(warped.shape)} and {tuple(fixed.shape)}"
        raise InputError(f"Images to compare have one shape (B, C, I, J, K), got {shapes}; resample one of them.")
    dtype = torch.float64 if torch.float64 in (warped.dtype, fixed.dtype) else torch.float32
    if mask is not None:
        expected = (warped.shape[0], 1, *warped.shape[2:])
        if mask.ndim != 5 or mask.shape[0] not in (1, expected[0]) or mask.shape[1:] != expected[1:]:
            raise InputError(
                f"A mask of these images has shape {expected}, got {tuple(mask.shape)}; resample it to them."
            )
        mask = mask.to(dtype).expand(expected)
    with torch.autocast(warped.device.type, enabled=False):
        return _comparison(warped.to(dtype), fixed.to(dtype), mask, criterion)


class _Comparison(torch.autograd.Function):
    """What a criterion says, with the derivatives that it gives."""

    @staticmethod
    def forward(ctx: Any, warped: Tensor, fixed: Tensor, weight: Tensor | None, criterion: Criterion) -> Tensor:
        match = criterion(warped, fixed, weight, ctx.needs_input_grad[1])
        ctx.save_for_backward(match.by_moving, match.by_fixed)
        return warped.new_tensor(match.loss)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        by_warped, by_fixed = (grad * each if each is not None else None for each in ctx.saved_tensors)
        return by_warped, by_fixed, None, None


_comparison: Callable[[Tensor, Tensor, Tensor | None, Criterion], Tensor] = _Comparison.apply
