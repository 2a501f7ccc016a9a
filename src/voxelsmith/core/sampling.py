"""Values between voxels: trilinear, nearest, and the likeliest label.

Owns how an array is read at fractional voxel indices, and the blocks in which large grids are walked so that the
temporaries stay small. Voxels reach to their faces, half a voxel beyond the outermost centres; there, and farther out,
the value of the border holds, and :func:`outside` says which positions lie beyond the faces. Axes of length 1 are
constant. Trilinear values next to NaN or infinity are NaN.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine, FloatArray

Grid: TypeAlias = tuple[int, int, int]
Block: TypeAlias = tuple[slice, slice]
# Small enough for the temporaries to stay in the cache of the processor.
_BLOCK_VOXELS = 1 << 15
_SLAB_VOXELS = 1 << 17
_ROUNDING = 1e-6


def blocks(grid: Grid) -> Iterator[Block]:
    """Ranges along i and j that cover a grid, each of about 30 thousand voxels with all of k."""
    rows = max(1, _BLOCK_VOXELS // grid[2])
    along_i, along_j = max(1, rows // grid[1]), min(rows, grid[1])
    for i, j in itertools.product(range(0, grid[0], along_i), range(0, grid[1], along_j)):
        yield slice(i, min(i + along_i, grid[0])), slice(j, min(j + along_j, grid[1]))


def slabs(grid: Grid) -> Iterator[tuple[int, int]]:
    """Ranges (start, stop) along i that cover a grid, each of about 130 thousand voxels or one plane."""
    planes = max(1, _SLAB_VOXELS // (grid[1] * grid[2]))
    for start in range(0, grid[0], planes):
        yield start, min(start + planes, grid[0])


def voxel_positions(affine: Affine, grid: Grid) -> Iterator[tuple[Block, FloatArray]]:
    """Where the voxels of a grid lie, block by block: (ranges, RAS millimetres of shape (i, j, K, 3))."""
    for i, j in blocks(grid):
        axes = np.meshgrid(np.arange(i.start, i.stop), np.arange(j.start, j.stop), np.arange(grid[2]), indexing="ij")
        yield (i, j), affine.apply(np.stack(axes, axis=-1))


def outside(grid: Grid, index: FloatArray) -> npt.NDArray[np.bool_]:
    """Which of the indices (..., 3) lie beyond the faces of a grid."""
    reach = np.array(grid) - 0.5 + _ROUNDING
    return np.asarray(((index < -0.5 - _ROUNDING) | (index > reach)).any(axis=-1))


def nearest(source: npt.NDArray[Any], index: FloatArray) -> npt.NDArray[Any]:
    """The voxel that holds each index.

    Parameters
    ----------
    source : ndarray, shape (I, J, K) or (I, J, K, C)
        Voxel values.
    index : ndarray, shape (..., 3)
        Fractional voxel indices, finite.

    Returns
    -------
    ndarray, shape (...) or (..., C), of the type of ``source``
    """
    at = np.clip(np.floor(index + 0.5), 0, np.array(source.shape[:3]) - 1).astype(np.intp)
    values: npt.NDArray[Any] = source[at[..., 0], at[..., 1], at[..., 2]]
    return values


def linear(source: npt.NDArray[Any], index: FloatArray) -> npt.NDArray[Any]:
    """Trilinear interpolation; arguments as for :func:`nearest`, values in float32 (float64 for a float64 source)."""
    dtype = np.dtype(np.float64 if source.dtype == np.float64 else np.float32)
    corners = _Corners(source, index.reshape(-1, 3), dtype)
    values = np.zeros((len(corners.first), *source.shape[3:]), dtype)
    with np.errstate(invalid="ignore"):
        for at, weight in corners:
            values += corners.voxels.take(at, axis=0) * (weight[:, np.newaxis] if values.ndim == 2 else weight)
    return values.reshape(*index.shape[:-1], *source.shape[3:])


def likeliest(labels: npt.NDArray[Any], index: FloatArray) -> npt.NDArray[Any]:
    """The label with the largest trilinear weight at each index; the smallest one of several as heavy.

    It is what interpolating every label's own mask and taking the best would give, found from the eight voxels around
    each index: its time and memory do not grow with the number of labels.

    Parameters
    ----------
    labels : ndarray, shape (I, J, K)
        Integers or booleans.
    index : ndarray, shape (..., 3)
        Fractional voxel indices, finite.

    Returns
    -------
    ndarray, shape (...), of the type of ``labels``
    """
    corners = _Corners(labels, index.reshape(-1, 3), np.dtype(np.float64))
    around, weights = zip(*((corners.voxels.take(at), weight) for at, weight in corners), strict=True)
    best: npt.NDArray[Any] = around[0].copy()
    mixed = np.flatnonzero(np.any([values != best for values in around[1:]], axis=0))
    candidates, shares = [values[mixed] for values in around], [weight[mixed] for weight in weights]
    winner, score = candidates[0], np.full(len(mixed), -1.0)
    for label in candidates:
        mine = sum(np.where(other == label, share, 0.0) for other, share in zip(candidates, shares, strict=True))
        better = (mine > score) | ((mine == score) & (label < winner))
        winner, score = np.where(better, label, winner), np.where(better, mine, score)
    best[mixed] = winner
    return best.reshape(index.shape[:-1])


class _Corners:
    """The eight voxels around each index: iterating gives (places in ``voxels``, weights) corner by corner."""

    def __init__(self, source: npt.NDArray[Any], index: FloatArray, dtype: np.dtype[Any]) -> None:
        if not (source.flags.c_contiguous or (source.ndim == 3 and source.flags.f_contiguous)):
            source = np.ascontiguousarray(source)
        shape = np.array(source.shape[:3])
        steps = np.array(source.strides[:3]) // (source.itemsize * int(np.prod(source.shape[3:])))
        self.voxels = source.reshape(-1, *source.shape[3:]) if source.ndim > 3 else source.ravel(order="K")
        within = np.clip(index, 0, shape - 1)
        corner = np.minimum(within.astype(np.intp), np.maximum(shape - 2, 0))
        self.first = corner @ steps
        self._steps = np.where(shape > 1, steps, 0).tolist()
        self._fractions = np.ascontiguousarray((within - corner).T, dtype=dtype)

    def __iter__(self) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[Any]]]:
        f0, f1, f2 = ((1 - f, f) for f in self._fractions)
        for a, b in itertools.product((0, 1), repeat=2):
            pair = f0[a] * f1[b]
            for c in (0, 1):
                offset = a * self._steps[0] + b * self._steps[1] + c * self._steps[2]
                yield self.first + offset, pair * f2[c]
