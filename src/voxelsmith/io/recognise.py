"""Recognise: is this array an image or a label map?

Owns the guess that decides whether a file opens as an image or as labels. A label map holds integers, its objects are
patches of one value, and its name often says so. An 8-bit image of low contrast holds few values too, but its
neighbours differ, mostly by one. Lazy arrays are not computed: their name decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

_WORDS = re.compile(
    r"labels?|labelmap|segs?|segment|segmentations?|dseg|masks?|annotations?|annot|aparc|aseg|parc|parcellations?|rois?|gt|"
    r"groundtruth|truth|contours?|instances|lobes|tissue"
)
_FEW = 64
_VERY_FEW = 8
_PATCHY = 0.5
_SMOOTH = 0.75
_SAMPLE = 20_000
_ROUNDING = 1e-4


def named_so(name: str) -> bool:
    """Whether a part of a file name says labels: ``case01_seg``, ``brainMask``, ``aparc+aseg``; not ``unmasked``."""
    parts = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return any(_WORDS.fullmatch(part) for part in re.split(r"[^a-z]+", parts.lower()))


def is_integral(array: npt.NDArray[Any]) -> bool:
    """Whether every value is a finite whole number, up to the rounding of scaled files (0.9999999 is 1).

    Looks at one plane at a time and stops at the first that is not.
    """
    if array.dtype.kind in "iub":
        return True
    if array.dtype.kind != "f":
        return False
    return all(
        bool(np.isfinite(plane).all() and (np.abs(plane - np.rint(plane)) <= _ROUNDING).all())
        for plane in _planes(array)
    )


def looks_like_labels(array: npt.NDArray[Any], name: str = "") -> bool:
    """Guess whether an array is a label map.

    Parameters
    ----------
    array : ndarray or dask array, shape (I, J, K) or (I, J, K, N)
        The voxels; a lazy array is judged by type and name alone.
    name
        Name of the file without its folder.

    Returns
    -------
    bool
        True for whole numbers that the name calls labels and that do not contradict it, and for integers of few values
        in patches. False when in doubt: an image can still be turned into labels by hand.
    """
    named = named_so(name)
    if array.dtype.kind not in "iub" and not (named and array.dtype.kind == "f"):
        return False
    if array.dtype.kind == "b":
        return True
    if not isinstance(array, np.ndarray):
        return named and array.dtype.kind in "iu"
    sample = _sample(array)
    if not is_integral(sample) or (not named and (np.unique(sample).size > _FEW or sample.min() < 0)):
        return False
    if not is_integral(array):
        return False
    values = _values(array, _FEW + 1)
    if values.size == 1:
        return named
    if values.size == 2:
        return bool(values[0] == 0)
    if named and values.size <= _FEW:
        return True
    has_background = values[0] == 0
    return bool(has_background) and (named or values.size <= _FEW) and _in_patches(array, values.size)


def _planes(array: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """The planes of constant k (and n), which lie together in memory as the readers leave them."""
    for index in np.ndindex(array.shape[:1:-1]):
        yield array[(slice(None), slice(None), *index[::-1])]


def _sample(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    flat = array.ravel(order="K")
    return flat[:: max(1, flat.size // _SAMPLE)].reshape(-1, 1, 1)


def _values(array: npt.NDArray[Any], at_most: int) -> npt.NDArray[Any]:
    """The distinct values, ascending; gives up with what it has when there are ``at_most``."""
    seen = np.empty(0, array.dtype)
    for plane in _planes(array):
        seen = np.union1d(seen, plane)
        if seen.size >= at_most:
            break
    return np.unique(np.rint(seen)) if seen.dtype.kind == "f" else seen


def _in_patches(array: npt.NDArray[Any], n_values: int) -> bool:
    """Whether neighbours agree as in a label map, looking at up to 32 planes.

    Counted are pairs of neighbours with at least one foreground voxel. In a label map most are equal; in a smooth image
    of many grey levels many are, but nearly all others are one level apart.
    """
    planes = list(_planes(array))
    equal, one_apart, pairs = 0, 0, 0
    for plane in planes[:: max(1, len(planes) // 32)]:
        for axis in (0, 1):
            a, b = np.moveaxis(plane, axis, 0)[:-1], np.moveaxis(plane, axis, 0)[1:]
            counted = (a != 0) | (b != 0)
            a, b = a[counted], b[counted]
            pairs += a.size
            equal += int(np.count_nonzero(a == b))
            one_apart += int(np.count_nonzero(np.maximum(a, b) - np.minimum(a, b) == 1))
    if pairs == 0 or equal < _PATCHY * pairs:
        return False
    return n_values <= _VERY_FEW or one_apart < _SMOOTH * (pairs - equal)
