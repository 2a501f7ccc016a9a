"""Remapping: the intensities of one image expressed in those of another.

Owns the function that does it: what the other image is on average where this one has a certain intensity, as in the
correlation ratio (Roche et al., MICCAI 1998). It may be bent in any way, so it follows images that are inverted or
folded. Where tissues that are alike in one image differ in the other, in both directions, it tells little.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_BINS = 32
# What a knot takes from others, as a share of theirs, less the farther they are: rare intensities follow common ones.
_BORROWED, _FADING = 0.02, 0.25


@dataclass(frozen=True, eq=False)
class Remapping:
    """A function of intensities in 0..1 that is straight between its knots.

    Parameters
    ----------
    knots
        Its values at 0, 1/31, ..., 1, shape (32,).
    """

    knots: Tensor

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Its values at the intensities of an image, and its slopes there, both of the image's shape."""
        low, part = _place(image)
        slopes = self.knots.diff()[low]
        return torch.addcmul(self.knots[low], slopes, part), slopes * (_BINS - 1)


def remapping(source: Tensor, target: Tensor, weight: Tensor | None = None) -> Remapping:
    """What the target is on average at each intensity of the source.

    Parameters
    ----------
    source, target
        Images of one shape, intensities in 0..1.
    weight
        How much each voxel counts, of the same shape; None counts all of them.
    """
    low, part = _place(source.flatten())
    values = target.flatten()
    counts = torch.ones_like(values) if weight is None else weight.flatten()
    knots, total = (values.new_zeros(_BINS, dtype=torch.float64) for _ in range(2))
    for index, share in ((low, (1 - part) * counts), (low + 1, part * counts)):
        total += torch.bincount(index, share.double(), minlength=_BINS)
        knots += torch.bincount(index, (share * values).double(), minlength=_BINS)
    tiny = torch.finfo(values.dtype).tiny
    mean = knots.sum() / total.sum().clamp(min=tiny)
    apart = torch.arange(_BINS, device=values.device, dtype=torch.float64)
    lent = _BORROWED * _FADING ** (apart[:, None] - apart).abs()
    knots, total = knots + lent @ knots, total + lent @ total
    knots = torch.where(total > tiny, knots / total.clamp(min=tiny), mean)
    return Remapping(knots.to(values.dtype))


def _place(image: Tensor) -> tuple[Tensor, Tensor]:
    """The knot below each intensity, and how far it is on the way to the next, 0 to 1."""
    place = image.clamp(0, 1) * (_BINS - 1)
    low = place.long().clamp(max=_BINS - 2)
    return low, place - low
