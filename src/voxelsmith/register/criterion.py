"""Criteria: how alike two images are now, and which change of each would make them more alike.

Owns the similarities in the form that instance optimisation takes them: a value and its derivatives with respect to the
intensities, in closed form where that is cheaper than automatic differentiation (local correlation: eight box sums a
step). A displacement follows the derivative times the slopes of the warped image. Networks are trained with the same
criteria through :mod:`voxelsmith.register.similarity`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from voxelsmith.core.errors import InputError
from voxelsmith.register.box import box_count, box_sum
from voxelsmith.register.mind import mind_ssc
from voxelsmith.register.mutual_information import mutual_information
from voxelsmith.register.remapping import remapping

SimilarityName: TypeAlias = Literal["lncc", "mse", "mind", "mi", "remapped"]

# Added to the product of the two sums of squares in a window: flat windows, of intensities in 0..1, count as unlike.
_FLAT = 1e-5


@dataclass(frozen=True)
class Match:
    """A loss, lower for better matches, and its derivatives in the two images, of their shape.

    That in the fixed image is None unless both were asked for.
    """

    loss: float
    by_moving: Tensor
    by_fixed: Tensor | None


Criterion: TypeAlias = Callable[[Tensor, Tensor, Tensor | None, bool], Match]
"""Compares moving and fixed image (B, C, I, J, K), with weights (B, 1, I, J, K) or None; True for both derivatives."""


def features(image: Tensor, similarity: SimilarityName) -> Tensor:
    """What of an image (1, 1, I, J, K) is warped and compared, shape (1, C, I, J, K): descriptors for "mind"."""
    return mind_ssc(image) if similarity == "mind" else image


def criteria(similarity: SimilarityName, window: int) -> tuple[Criterion, ...]:
    """The criteria for :func:`features`: more than one if it has to be tried which of them fits the images.

    Parameters
    ----------
    similarity
        Which one; of "remapped" either image may be the one that is remapped.
    window
        Edge of the windows of "lncc" and "remapped" in voxels, odd.

    Raises
    ------
    InputError
        When no similarity has that name.
    """
    if similarity == "lncc":
        return (partial(local_correlation, window=window),)
    if similarity in ("mse", "mind"):
        return (mean_square,)
    if similarity == "mi":
        return (information,)
    if similarity == "remapped":
        return partial(correlation_of_remapped_moving, window=window), partial(
            correlation_of_remapped_fixed, window=window
        )
    raise InputError(f"A similarity is one of lncc, mi, mind, mse and remapped, got {similarity!r}.")


def mean_square(moving: Tensor, fixed: Tensor, weight: Tensor | None, both: bool = False) -> Match:
    """Mean squared difference over voxels and channels."""
    difference = moving - fixed
    weighted = difference if weight is None else difference * weight
    scale = 1 / _counted(moving, weight)
    loss = float((weighted * difference).sum()) * scale
    by_moving = weighted * (2 * scale)
    return Match(loss, by_moving, -by_moving if both else None)


def information(moving: Tensor, fixed: Tensor, weight: Tensor | None, both: bool = False) -> Match:
    """Minus the mutual information of the intensities in nats, that of all voxels together."""
    counted = torch.ones_like(moving) if weight is None else weight
    with torch.enable_grad():
        images = [moving.detach().requires_grad_(), fixed.detach().requires_grad_(both)]
        loss = -mutual_information(images[0].flatten(), images[1].flatten(), counted.flatten())
        derivatives = torch.autograd.grad(loss, images[: 2 if both else 1])
    return Match(float(loss.detach()), derivatives[0], derivatives[1] if both else None)


def local_correlation(
    moving: Tensor, fixed: Tensor, weight: Tensor | None, both: bool = False, *, window: int = 5
) -> Match:
    """Minus the squared correlation in cubic windows, the mean over voxels and channels, -1 to 0.

    Windows are smaller where they reach beyond the volume; weights count in them too.
    """
    # Correlation does not see a shift, and sums of squares of small numbers are more exact.
    a, b = moving - moving.mean(), fixed - fixed.mean()
    wa, wb = (a, b) if weight is None else (weight * a, weight * b)
    count = box_count(a.shape[2:], window, a) if weight is None else box_sum(weight, window)
    count = count.clamp(min=torch.finfo(a.dtype).tiny)
    mean_a, mean_b = box_sum(wa, window).div_(count), box_sum(wb, window).div_(count)
    cross, spread_a, spread_b = box_sum(wa * b, window), box_sum(wa * a, window), box_sum(wb * b, window)
    cross.sub_(mean_a * mean_b * count)
    spread_a.sub_(mean_a * mean_a * count).clamp_(min=0)
    spread_b.sub_(mean_b * mean_b * count).clamp_(min=0)
    share = cross / (spread_a * spread_b).add_(_FLAT)
    squared = cross.mul_(share)
    counted = _counted(a, weight)
    loss = -float((squared if weight is None else squared * weight).sum()) / counted
    windows = share if weight is None else share * weight
    scale = -2 / counted
    overlap = box_sum(windows, window)

    def derivative(own: Tensor, own_mean: Tensor, other: Tensor, other_mean: Tensor, other_spread: Tensor) -> Tensor:
        excess = windows * share * other_spread
        shift = box_sum(windows * other_mean - excess * own_mean, window)
        change = (other * overlap).sub_(own * box_sum(excess, window)).sub_(shift).mul_(scale)
        return change if weight is None else change.mul_(weight)

    by_fixed = derivative(b, mean_b, a, mean_a, spread_a) if both else None
    return Match(loss, derivative(a, mean_a, b, mean_b, spread_b), by_fixed)


def correlation_of_remapped_moving(
    moving: Tensor, fixed: Tensor, weight: Tensor | None, both: bool = False, *, window: int = 5
) -> Match:
    """Minus the squared correlation in windows, after the moving image has been remapped to the fixed one.

    Intensities are in 0..1. Derivatives take the remapping as given.
    """
    seen, slope = remapping(moving, fixed, weight)(moving)
    match = local_correlation(seen, fixed, weight, both, window=window)
    return replace(match, by_moving=match.by_moving.mul_(slope))


def correlation_of_remapped_fixed(
    moving: Tensor, fixed: Tensor, weight: Tensor | None, both: bool = False, *, window: int = 5
) -> Match:
    """Minus the squared correlation in windows, after the fixed image has been remapped to the moving one.

    Intensities are in 0..1. Derivatives take the remapping as given.
    """
    seen, slope = remapping(fixed, moving, weight)(fixed)
    match = local_correlation(moving, seen, weight, both, window=window)
    return match if match.by_fixed is None else replace(match, by_fixed=match.by_fixed.mul_(slope))


def overlap_loss(moving: Tensor, fixed: Tensor, both: bool = False) -> Match:
    """One minus the mean over label channels of the soft Dice coefficient, 2 sum(m f) / (sum(m^2) + sum(f^2)).

    Images have one channel a label, shape (B, C, I, J, K), values in 0..1; labels in neither image count as missed.
    """
    volume = (2, 3, 4)
    product = (moving * fixed).sum(volume, keepdim=True)
    size = moving.square().sum(volume, keepdim=True) + fixed.square().sum(volume, keepdim=True) + 1e-5
    dice, scale = 2 * product / size, -2 / moving.shape[:2].numel()

    def derivative(own: Tensor, other: Tensor) -> Tensor:
        return (other - dice * own) * (scale / size)

    return Match(1 - float(dice.mean()), derivative(moving, fixed), derivative(fixed, moving) if both else None)


def _counted(image: Tensor, weight: Tensor | None) -> float:
    """How many voxels of all channels count; at least a little, so that one may divide by it."""
    return image.numel() if weight is None else max(float(weight.sum()), 1e-6) * image.shape[1]
