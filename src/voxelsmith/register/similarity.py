"""Similarity: how well a warped image matches the fixed one, as losses to make small.

Owns the contract of the similarities and the table of them by name. Each takes the warped image and the fixed one,
shape (B, C, I, J, K), and a mask, and returns a scalar that is lower the better they match. A mask has shape
(B or 1, 1, I, J, K) and counts voxels by weights from 0 to 1, or True and False; None counts all of them, and where
nothing counts the loss has no gradient. Windows are in voxels. All are differentiable in both images, and compute in
float32, or in float64 for images of that type, whatever autocast says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from voxelsmith.core.errors import InputError
from voxelsmith.register.box import box_count, box_sum
from voxelsmith.register.mind import mind_ssc
from voxelsmith.register.mutual_information import mutual_information as information

Similarity: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Border = Literal["inside", "zeros"]

# Added to the product of the two sums of squares in a window: flat windows, of intensities in 0..1, count as unlike.
_FLAT = 1e-5


def mse(warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared difference; for images of one modality and one scale of intensities."""
    warped, fixed, weight = _prepared(warped, fixed, mask)
    return _mean((warped - fixed) ** 2, weight)


def lncc(
    warped: Tensor, fixed: Tensor, mask: Tensor | None = None, *, window: int = 9, border: Border = "inside"
) -> Tensor:
    """Minus the squared local correlation coefficient, the mean over the voxels that count; -1 to 0.

    For images of one modality with different brightness here and there. Intensities should be about 0 to 1.

    Parameters
    ----------
    warped, fixed, mask
        As for all similarities; voxels of a window count for its correlation as the mask says.
    window
        Edge of the cubic windows, odd.
    border
        "inside": windows that reach beyond the volume are smaller. "zeros": they see black there, as in VoxelMorph.

    Returns
    -------
    scalar tensor

    Raises
    ------
    InputError
        When the images or the mask do not fit together, or the window is even.
    """
    warped, fixed, weight = _prepared(warped, fixed, mask)
    if border == "zeros":
        count = warped.new_tensor(window**3)
    else:
        seen = box_count(warped.shape[2:], window, warped) if weight is None else box_sum(weight, window)
        count = seen.clamp(min=torch.finfo(warped.dtype).tiny)
        # Correlation does not see a shift, and sums of squares of small numbers are more exact.
        warped, fixed = warped - warped.detach().mean(), fixed - fixed.detach().mean()
    a, b = (warped, fixed) if weight is None else (weight * warped, weight * fixed)
    sums = box_sum(torch.cat([a, b, a * warped, b * fixed, a * fixed], dim=1), window)
    sum_a, sum_b, squares_a, squares_b, products = torch.chunk(sums, 5, dim=1)
    cross = products - sum_a * sum_b / count
    spread_a = (squares_a - sum_a**2 / count).clamp(min=0)
    spread_b = (squares_b - sum_b**2 / count).clamp(min=0)
    return -_mean(cross**2 / (spread_a * spread_b + _FLAT), weight)


def mind(warped: Tensor, fixed: Tensor, mask: Tensor | None = None, *, radius: int = 1, dilation: int = 2) -> Tensor:
    """Mean squared difference of MIND-SSC descriptors; for images of different modalities.

    Parameters
    ----------
    warped, fixed, mask
        As for all similarities.
    radius, dilation
        As for :func:`voxelsmith.register.mind.mind_ssc`.

    Returns
    -------
    scalar tensor

    Raises
    ------
    InputError
        When the images or the mask do not fit together.
    """
    warped, fixed, weight = _prepared(warped, fixed, mask)
    difference = mind_ssc(warped, radius=radius, dilation=dilation) - mind_ssc(fixed, radius=radius, dilation=dilation)
    return _mean(difference**2, weight)


def mutual_information(warped: Tensor, fixed: Tensor, mask: Tensor | None = None, *, bins: int = 32) -> Tensor:
    """Minus the mutual information of the intensities in nats, the mean over samples and channels.

    For images of different modalities; see :mod:`voxelsmith.register.mutual_information`.

    Parameters
    ----------
    warped, fixed, mask
        As for all similarities.
    bins
        Of the joint histogram, along each image; at least 5.

    Returns
    -------
    scalar tensor

    Raises
    ------
    InputError
        When the images or the mask do not fit together, or bins are too few.
    """
    warped, fixed, weight = _prepared(warped, fixed, mask)
    seen = torch.ones_like(warped[:, :1]) if weight is None else weight
    with torch.autocast(warped.device.type, enabled=False):
        found = [
            information(a, b, w, bins)
            for w, channels_a, channels_b in zip(seen.flatten(1), warped, fixed, strict=True)
            for a, b in zip(channels_a.flatten(1), channels_b.flatten(1), strict=True)
        ]
    return -torch.stack(found).mean()


SIMILARITIES: dict[str, Similarity] = {"lncc": lncc, "mse": mse, "mind": mind, "mi": mutual_information}
"""The similarities of images by name, with their default windows."""


def _prepared(warped: Tensor, fixed: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Images and weights in the type to compute in, the weights with the batch of the images."""
    if warped.ndim != 5 or warped.shape != fixed.shape:
        shapes = f"{tuple(warped.shape)} and {tuple(fixed.shape)}"
        raise InputError(f"Images to compare have one shape (B, C, I, J, K), got {shapes}; resample one of them.")
    dtype = torch.float64 if torch.float64 in (warped.dtype, fixed.dtype) else torch.float32
    if mask is None:
        return warped.to(dtype), fixed.to(dtype), None
    expected = (warped.shape[0], 1, *warped.shape[2:])
    if mask.ndim != 5 or mask.shape[0] not in (1, expected[0]) or mask.shape[1:] != expected[1:]:
        raise InputError(f"A mask of these images has shape {expected}, got {tuple(mask.shape)}; resample it to them.")
    return warped.to(dtype), fixed.to(dtype), mask.to(dtype).expand(expected)


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of values (B, C, I, J, K) over the voxels that count; 0 where none does."""
    if weight is None:
        return values.mean()
    total = weight.sum() * values.shape[1]
    return (values * weight).sum() / total.clamp(min=torch.finfo(values.dtype).tiny)
