"""Trust: how far from painted slices interpolated shapes still count, found with painted slices that are left out.

Owns the choice. Where the image tells an object well, as a tumour in FLAIR, shapes should fade soon; where it does not,
as a muscle beside a tumour of the same brightness, they are worth more than what the image says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxelsmith.segment.pixel_classifier import LeftOut
from voxelsmith.segment.prior import Prior

_FACTORS = (1.0, 0.5, 2.0, 0.25, 0.125)
# By less than this the Dice coefficients of so few slices say nothing.
_EVEN = 0.01


def best_fading(prior: Prior, left_out: Sequence[LeftOut]) -> float:
    """The fading by which slices that were left out come out best; of those about as good, the nearest to the prior's.

    Parameters
    ----------
    prior
        With its usual fading, which is not changed.
    left_out
        At least one slice.

    Returns
    -------
    float
        Millimetres for each millimetre; see :class:`~voxelsmith.segment.prior.Prior`.
    """
    usual = prior.fading
    scores = []
    for factor in _FACTORS:
        prior.fading = factor * usual
        scores.append(_mean_dice(prior, left_out))
    prior.fading = usual
    good = np.array(scores) >= max(scores) - _EVEN
    return _FACTORS[int(np.argmax(good))] * usual


def _mean_dice(prior: Prior, left_out: Sequence[LeftOut]) -> float:
    """Over all slices together, the mean over the classes."""
    classes = left_out[0].seen.shape[1] - 1
    both, sizes = np.zeros((2, classes))
    for slice_ in left_out:
        odds = np.log(slice_.seen) + prior.log_odds(slice_.row, slice_.pixels, held_out=True)
        found = odds.argmax(axis=1)
        for channel in range(classes):
            own, theirs = found == 1 + channel, slice_.target == 1 + channel
            both[channel] += slice_.stands_for[own & theirs].sum()
            sizes[channel] += slice_.stands_for[own].sum() + slice_.stands_for[theirs].sum()
    return float(np.mean(2 * both[sizes > 0] / sizes[sizes > 0])) if sizes.any() else 0.0
