"""Where an answer is unsure, and which slice is worth annotating next.

Owns the entropy of probabilities, how sure each slice is, and the choice among slices. All three need the probabilities
alone.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.segment.zoom import FloatArray

Probabilities = npt.NDArray[np.floating[Any]]

_SMALLEST = 1e-6
# In pixels: a slice in which next to nothing is likely is sure to be empty.
_SMOOTHING = 10.0


def entropy(probabilities: Probabilities) -> FloatArray:
    """Entropy at each voxel over the classes and the background, as a share of the largest possible.

    Parameters
    ----------
    probabilities : array, shape (C, ...)
        Of the classes, 0 to 1; the background has what is left of 1.

    Returns
    -------
    float32 array, shape (...)
        0 where one class is certain, 1 where all are as likely.
    """
    classes = np.asarray(probabilities, dtype=np.float32)
    total = np.zeros(classes.shape[1:], np.float32)
    left = np.ones(classes.shape[1:], np.float32)
    for channel in classes:
        total -= channel * np.log(np.maximum(channel, _SMALLEST))
        left -= channel
    left = np.maximum(left, 0)
    total -= left * np.log(np.maximum(left, _SMALLEST))
    share: FloatArray = np.clip(total / np.float32(np.log(len(classes) + 1)), 0, 1)
    return share


def slice_confidence(probabilities: Probabilities, axis: int) -> FloatArray:
    """For each slice, the Dice coefficient that its own probabilities lead one to expect of it.

    It is 2 sum(p m) / (sum(p) + sum(m)), with m where the foreground is likelier than not, and 10 pixels of certain
    agreement added; 1 if every pixel is certain.

    Parameters
    ----------
    probabilities : array, shape (C, I, J, K)
        Of the classes, 0 to 1.
    axis
        Array axis of the slices, 0 to 2.

    Returns
    -------
    float32 array, one value a slice
    """
    planes = np.moveaxis(probabilities, axis + 1, 0)
    out = np.empty(len(planes), np.float32)
    for n, plane in enumerate(planes):
        likely = np.minimum(plane.astype(np.float32).sum(axis=0), 1)
        mask = likely > 0.5
        both = 2 * float(likely[mask].sum()) + _SMOOTHING
        out[n] = both / (float(likely.sum()) + int(mask.sum()) + _SMOOTHING)
    return out


def next_slice(confidence: FloatArray, annotated: Collection[int], gap: int = 2) -> int | None:
    """The slice to annotate next: the least sure one that is no near neighbour of an annotated one.

    Parameters
    ----------
    confidence
        As :func:`slice_confidence` gives it; NaN where nothing was looked at.
    annotated
        Slices that are annotated.
    gap
        Slices closer than this to an annotated one are taken only if there is no other.

    Returns
    -------
    int or None
        None if every slice is annotated.
    """
    numbers = np.array(sorted(set(range(len(confidence))) - set(annotated)), dtype=int)
    numbers = numbers[~np.isnan(confidence[numbers])]
    if not len(numbers):
        return None
    if annotated:
        away = np.abs(numbers[:, None] - np.array(sorted(annotated))).min(axis=1)
        numbers = numbers[away >= gap] if (away >= gap).any() else numbers
    return int(numbers[np.argmin(confidence[numbers])])
