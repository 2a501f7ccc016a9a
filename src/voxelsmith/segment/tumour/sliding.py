"""Windows over a volume: answered one by one, overlapping, and blended.

Owns where the windows lie and how their answers are joined. Windows are no larger than they have to be, so a volume
that fits into one is answered at once. An answer counts most in the middle of its window, by a Gaussian an eighth of
the window wide (Isensee et al., Nature Methods 2021). Windows without anything in them are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import numpy.typing as npt

from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Grid

FloatArray = npt.NDArray[np.float32]
Slices = tuple[slice, slice, slice]

_SIGMA = 0.125
_LEAST_WEIGHT = 1e-3


def windows(grid: Grid, side: int, multiple: int, overlap: float) -> list[Slices]:
    """Windows that cover a grid.

    Parameters
    ----------
    grid
        Number of voxels along i, j and k, multiples of ``multiple``.
    side
        Most voxels along a side of a window.
    multiple
        What the sides of a window are multiples of.
    overlap
        Least share of a window that its neighbour sees as well.
    """
    axes = []
    for n in grid:
        length, count = _split(n, side, multiple, overlap)
        starts = np.round(np.linspace(0, n - length, count)).astype(int).tolist()
        axes.append([slice(start, start + length) for start in starts])
    return [(i, j, k) for i, j, k in product(*axes)]


def slide(
    images: FloatArray,
    answer: Callable[[FloatArray], FloatArray],
    side: int,
    multiple: int,
    overlap: float,
    outputs: int,
) -> Job[FloatArray]:
    """Answer a volume window by window, as a job.

    Parameters
    ----------
    images : float array, shape (C, I, J, K)
        0 where there is nothing.
    answer
        From a window (C, i, j, k) to its answer (outputs, i, j, k).
    side, multiple, overlap
        As for :func:`windows`; the volume is padded with 0 at its ends to multiples.
    outputs
        Channels of an answer.

    Yields
    ------
    Progress
        Of the windows.

    Returns
    -------
    float array, shape (outputs, I, J, K)
        0 where no window looked.
    """
    grid = images.shape[1:]
    padded = np.pad(images, [(0, 0), *((0, -n % multiple) for n in grid)])
    i, j, k = padded.shape[1:]
    total = np.zeros((outputs, i, j, k), np.float32)
    weight = np.zeros((i, j, k), np.float32)
    filled = [at for at in windows((i, j, k), side, multiple, overlap) if padded[(slice(None), *at)].any()]
    for done, at in enumerate(filled):
        yield Progress(done, len(filled), f"Window {done + 1} of {len(filled)}")
        found = answer(np.ascontiguousarray(padded[(slice(None), *at)]))
        shape = tuple(s.stop - s.start for s in at)
        bell = _bell(shape) if len(filled) > 1 else np.ones(shape, np.float32)
        total[(slice(None), *at)] += found * bell
        weight[at] += bell
    np.divide(total, weight, out=total, where=weight > 0)
    return total[(slice(None), *(slice(n) for n in grid))]


def _split(n: int, side: int, multiple: int, overlap: float) -> tuple[int, int]:
    """Length and number of the windows along an axis of n voxels."""
    count = 1
    while True:
        # So many windows of one length, each overlapping the next by its share, reach over n voxels.
        length = math.ceil(n / (count - (count - 1) * overlap) / multiple) * multiple
        if length <= max(side, multiple):
            return min(length, n), count
        count += 1


def _bell(shape: tuple[int, ...]) -> FloatArray:
    """A Gaussian in the middle of a window, at most 1, nowhere 0."""
    axes = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (_SIGMA * n)) ** 2) for n in shape]
    bell = axes[0][:, None, None] * axes[1][:, None] * axes[2]
    out: FloatArray = np.maximum(bell, _LEAST_WEIGHT).astype(np.float32)
    return out
