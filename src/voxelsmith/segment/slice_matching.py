"""Slice matching: which slice of an annotated volume shows the same part of the body as a slice of another one.

Owns the descriptors of slices and their monotone alignment, dynamic time warping with limited slope (Sakoe and Chiba,
IEEE Transactions on Acoustics, Speech, and Signal Processing 1978) whose ends are free, so that either volume may show
more of the body than the other. A range that the user gives wins over it. The literature's protocol, in which both
ranges are known and cut into chunks, is here for benchmarks. Arrays have the slice axis first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.errors import InputError
from voxelsmith.segment.zoom import FloatArray

Positions = npt.NDArray[np.float64]

_SIDE = 12
_AREA_WEIGHT = 4.0
_BODY = 0.15
# Costs beside the mean squared difference of two descriptors, in shares of its median over all pairs.
_SLOPE = 0.1
_BEYOND = 1.0


def body_box(planes: FloatArray) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where the body lies in slices: (centre, size) along both plane axes in pixels, of all slices together.

    Parameters
    ----------
    planes : float array, shape (slices, A, B)
        Brightness, 0 to 1.
    """
    bright = planes > _BODY
    if not bright.any():
        bright = np.ones_like(bright)
    ends = [np.flatnonzero(bright.any(axis=tuple({0, 1, 2} - {axis}))) for axis in (1, 2)]
    centres, sizes = zip(*(((e[0] + e[-1]) / 2, e[-1] - e[0] + 1.0) for e in ends), strict=True)
    return (float(centres[0]), float(centres[1])), (float(sizes[0]), float(sizes[1]))


def descriptors(planes: FloatArray) -> FloatArray:
    """A small picture of each slice inside the body's box, and how much of the box is body.

    Parameters
    ----------
    planes : float array, shape (slices, A, B)
        Brightness, 0 to 1.

    Returns
    -------
    float32 array, shape (slices, 145)
    """
    (a, b), (height, width) = body_box(planes)
    rows = a + (np.arange(_SIDE) + 0.5 - _SIDE / 2) * height / _SIDE
    columns = b + (np.arange(_SIDE) + 0.5 - _SIDE / 2) * width / _SIDE
    at = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    out = np.empty((len(planes), _SIDE * _SIDE + 1), dtype=np.float32)
    for n, plane in enumerate(planes):
        smooth = ndimage.uniform_filter(plane, size=(max(1, round(height / _SIDE)), max(1, round(width / _SIDE))))
        out[n, :-1] = ndimage.map_coordinates(smooth, at, order=1, mode="nearest").ravel()
        out[n, -1] = _AREA_WEIGHT * float((plane > _BODY).sum() / (height * width))
    return out


def match(query: FloatArray, support: FloatArray, ratio: float = 1.0) -> Positions:
    """The support slice for each query slice, by monotone alignment of their descriptors.

    Parameters
    ----------
    query : float array, shape (Q, D)
        Descriptors of the query's slices, in the anatomical direction of the support's.
    support : float array, shape (S, D)
        Descriptors of the support's slices.
    ratio
        Slice distance of the query over that of the support.

    Returns
    -------
    float64 array, shape (Q,)
        Positions in support slices, never falling, rising by 0 to 2 query slices' distance a slice; below 0 or above
        S - 1 where the query shows what the support does not.
    """
    count = len(query)
    inside = max(1, round((len(support) - 1) / ratio) + 1)
    at = np.clip(np.arange(inside) * ratio, 0, len(support) - 1)
    low = np.minimum(at.astype(int), max(len(support) - 2, 0))
    share = (at - low)[:, None].astype(np.float32)
    steps = (1 - share) * support[low] + share * support[np.minimum(low + 1, len(support) - 1)]
    unlike = np.square(query[:, None] - steps[None]).mean(axis=2, dtype=np.float64)
    unit = float(np.median(unlike)) + 1e-12
    cost = np.full((count, inside + 2 * count), _BEYOND * unit)
    cost[:, count : count + inside] = unlike
    return (_cheapest_path(cost, _SLOPE * unit) - count) * ratio


def _cheapest_path(cost: npt.NDArray[np.float64], slope: float) -> Positions:
    """Columns of the cheapest path that goes right by 0, 1 or 2 columns a row; 0 and 2 cost ``slope`` more."""
    rows, columns = cost.shape
    best = cost[0]
    came = np.zeros((rows, columns), dtype=np.int8)
    for row in range(1, rows):
        options = np.full((3, columns), np.inf)
        options[0] = best + slope
        options[1, 1:] = best[:-1]
        options[2, 2:] = best[:-2] + slope
        came[row] = np.argmin(options, axis=0)
        best = options.min(axis=0) + cost[row]
    path = np.empty(rows)
    path[-1] = int(np.argmin(best))
    for row in range(rows - 1, 0, -1):
        path[row - 1] = path[row] - came[row, int(path[row])]
    return path


def match_ranges(count: int, query: tuple[int, int], support: tuple[int, int]) -> Positions:
    """The support slice for each of ``count`` query slices when both ranges are known, linearly; ends are inclusive.

    Raises
    ------
    InputError
        If the query's range does not lie in it.
    """
    first, last = query
    if not 0 <= first <= last < count:
        raise InputError(f"A range of slices lies within 0 to {count - 1}, first before last, got {first} to {last}.")
    rate = (support[1] - support[0] + 1) / (last - first + 1)
    at: Positions = support[0] - 0.5 + (np.arange(count, dtype=np.float64) - first + 0.5) * rate
    return at


def chunks(query: tuple[int, int], support: tuple[int, int], number: int = 3) -> list[tuple[range, int]]:
    """The evaluation protocol of the literature: the query's range in equal chunks, each with one support slice.

    Parameters
    ----------
    query, support
        First and last slice of the organ in both volumes, which the protocol takes as known.
    number
        How many chunks; 3 in one-shot evaluation, where the support slices lie at 1/6, 3/6 and 5/6 of their range.

    Returns
    -------
    list of (range, int)
        The query slices of each chunk, and the support slice for them.

    References
    ----------
    Ouyang et al., ECCV 2020.
    """
    length, offered = query[1] - query[0] + 1, support[1] - support[0] + 1
    ends = [query[0] + round(n * length / number) for n in range(number + 1)]
    middles = [support[0] + min(int(offered * (2 * n + 1) / (2 * number)), offered - 1) for n in range(number)]
    return [(range(a, b), middle) for a, b, middle in zip(ends[:-1], ends[1:], middles, strict=True)]


def range_of(occupied: Sequence[bool] | npt.NDArray[np.bool_]) -> tuple[int, int]:
    """First and last slice with something in it; InputError if there is none."""
    found = np.flatnonzero(occupied)
    if not len(found):
        raise InputError("A range of slices needs at least one slice with a label, got none; paint one.")
    return int(found[0]), int(found[-1])
