"""The shape prior of a trained network: annotated slices of a volume correct what it says of the slices between them.

Owns which slices count, and how interpolated shapes (:class:`~voxelsmith.segment.prior.Prior`) and the network's
probabilities are weighed, which is how the few-shot engine weighs them with its trees. The network itself knows nothing
of it, so it stays of use for volumes without annotation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit

from voxelsmith.core.support import SupportExample
from voxelsmith.core.volume import Volume
from voxelsmith.segment.plan import Plan, Target
from voxelsmith.segment.prior import Prior
from voxelsmith.segment.zoom import FloatArray, Region

_LEAST_SLICES = 2
# With more of its slices annotated than this, a volume hardly has any left to find.
_MOST_SHARE = 0.5
# As the prior takes them; the fading is the middle of what served the volumes of benchmarks/tvunet.py best.
_WIDTH, _FADING, _LEAN = 1.0, 0.125, 0.3
_LEAST = 1e-6


def annotated_target(plan: Plan, image: Volume, region: Region, examples: Sequence[SupportExample]) -> Target | None:
    """What examples say of an image, the later one where they differ.

    Parameters
    ----------
    plan
        What the network sees.
    image
        The image.
    region
        Its working grid.
    examples
        Those in use that are of this very image count.

    Returns
    -------
    int16 array, shape (D, A, B), or None
        Class indices as :meth:`~voxelsmith.segment.plan.Plan.target` gives them; None if no example is of the image.
    """
    merged: Target | None = None
    for example in examples:
        if example.enabled and (example.image is image or example.image_fingerprint == image.fingerprint()):
            target = plan.target(example, region)
            merged = target if merged is None else np.where(target >= 0, target, merged)
    return merged


def shape_prior(plan: Plan, target: Target, region: Region) -> Prior | None:
    """The shapes between annotated slices.

    Parameters
    ----------
    plan
        What the network sees.
    target : int16 array, shape (D, A, B)
        Class indices on the working grid, -1 where nothing is known.
    region
        That grid.

    Returns
    -------
    Prior or None
        None unless at least two slices are annotated as a whole, and at most half of all.
    """
    rows = np.flatnonzero((target >= 0).all(axis=(1, 2))).tolist()
    if not _LEAST_SLICES <= len(rows) <= _MOST_SHARE * len(target):
        return None
    classes = range(1, 1 + len(plan.classes))
    return Prior(target, classes, [rows] * len(classes), plan.along(region), _WIDTH, _FADING, _LEAN)


def weighed(likely: FloatArray, prior: Prior, row: int, *, compete: bool) -> FloatArray:
    """Probabilities of a row, weighed with the shapes that the annotated slices promise there.

    Parameters
    ----------
    likely : float32 array, shape (C, A, B)
        What the network says.
    prior
        The shapes.
    row
        Which row of the working grid it is.
    compete
        Whether the probabilities of background and classes sum to one; otherwise each class is by itself.

    Returns
    -------
    float32 array, shape (C, A, B)
    """
    odds = prior.log_odds(row, np.ones(likely.shape[1:], np.bool_)).T.reshape(-1, *likely.shape[1:])
    sure = np.clip(likely, _LEAST, 1 - _LEAST)
    if not compete:
        return np.asarray(expit(logit(sure) + 2 * odds[1:]), dtype=np.float32)
    background = np.clip(1 - likely.sum(axis=0, keepdims=True), _LEAST, 1)
    logs = np.log(np.concatenate([background, sure])) + odds
    votes = np.exp(logs - logs.max(axis=0))
    return np.asarray(votes[1:] / votes.sum(axis=0), dtype=np.float32)
