"""Resampling: onto another grid, to a voxel size, to an orientation.

Owns the interpolation of a :class:`~voxelsmith.core.volume.Volume` between grids of one world; where a transform lies
between, it is :mod:`voxelsmith.core.pull`. Labels are always taken from the nearest voxel.
Reorientation only flips and permutes axes, so it is exact; the others interpolate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.volume import LabelVolume, Volume

V = TypeVar("V", bound=Volume)
_SLAB_VOXELS = 1 << 19
_ROUNDING = 1e-6
_AXES = {"L": (0, -1), "R": (0, 1), "P": (1, -1), "A": (1, 1), "I": (2, -1), "S": (2, 1)}


def resample_to(volume: V, affine: Affine, grid: tuple[int, int, int], order: int = 1, fill: float = 0.0) -> V:
    """Interpolate a volume onto another grid.

    Parameters
    ----------
    volume
        What to resample; each frame of a 4-D volume is taken by itself.
    affine, grid
        The target: its affine and its number of voxels.
    order
        Degree of the spline, 0 (nearest) to 5; labels use 0 whatever is asked.
    fill
        Value outside the source. Voxels reach to their faces, so its outermost half voxel is inside.

    Returns
    -------
    Volume
        Same type as ``volume``. Interpolated integers become float32, nearest ones keep their type.
    """
    order = 0 if isinstance(volume, LabelVolume) else order
    source = np.asarray(volume.array)
    index_map = volume.affine.inverse() @ affine
    if volume.grid == tuple(grid) and np.allclose(index_map.matrix, np.eye(4), atol=1e-6):
        return replace(volume, affine=affine)
    array = _interpolated(source, index_map, grid, order, fill) if order else _nearest(source, index_map, grid, fill)
    return replace(volume, array=array, affine=affine, history=(*volume.history, "resampled"), metadata={})


def _positions(index_map: Affine, grid: tuple[int, int, int]) -> Iterator[tuple[slice, FloatArray]]:
    """Source indices of the target's voxels, slab by slab: (range along i, array of shape (i, J, K, 3))."""
    step = max(1, _SLAB_VOXELS // (grid[1] * grid[2]))
    for start in range(0, grid[0], step):
        part = slice(start, min(start + step, grid[0]))
        axes = np.meshgrid(np.arange(part.start, part.stop), *map(np.arange, grid[1:]), indexing="ij")
        yield part, index_map.apply(np.stack(axes, axis=-1))


def _nearest(source: npt.NDArray[Any], index_map: Affine, grid: tuple[int, int, int], fill: float) -> npt.NDArray[Any]:
    """The voxel that holds each position; exact for every type."""
    out = np.full((*grid, *source.shape[3:]), fill, dtype=source.dtype)
    for part, position in _positions(index_map, grid):
        at = np.floor(position + 0.5).astype(np.intp)
        inside = ((at >= 0) & (at < source.shape[:3])).all(axis=-1)
        out[part][inside] = source[tuple(at[inside].T)]
    return out


def _interpolated(
    source: npt.NDArray[Any], index_map: Affine, grid: tuple[int, int, int], order: int, fill: float
) -> npt.NDArray[Any]:
    """Splines; between the outermost voxel centres and the faces of the image the border value holds."""
    double = source.dtype.kind == "f" and source.dtype.itemsize >= 8
    dtype = np.dtype(np.float64 if double else np.float32)
    out = np.empty((*grid, *source.shape[3:]), dtype)
    matrix, offset = index_map.matrix[:3, :3], index_map.matrix[:3, 3]
    snapped = np.where(np.abs(matrix) < 1e-12, 0.0, matrix)
    diagonal = np.array_equal(snapped, np.diag(np.diag(snapped)))
    for n in np.ndindex(source.shape[3:]):
        ndimage.affine_transform(
            source[(..., *n)].astype(dtype, copy=False),
            np.diag(snapped) if diagonal else snapped,
            offset,
            output_shape=grid,
            output=out[(..., *n)],
            order=order,
            mode="nearest",
        )
    reach = np.array(source.shape[:3]) - 0.5 + _ROUNDING
    for part, position in _positions(index_map, grid):
        outside = ((position < -0.5 - _ROUNDING) | (position > reach)).any(axis=-1)
        out[part][outside] = fill
    return out


def resample_to_spacing(volume: V, spacing: npt.ArrayLike, order: int = 1) -> V:
    """Interpolate onto voxels of the given size (millimetres, one number or one an axis), covering the same box.

    The axes keep their directions; the size is met exactly, so the box may end up to half a voxel early or late.
    """
    target = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (3,))
    if not (np.isfinite(target).all() and (target > 0).all()):
        raise InputError(f"A voxel size is positive, got {target.tolist()} mm.")
    factors = target / volume.spacing
    grid = np.maximum(1, np.round(np.array(volume.grid) / factors)).astype(int)
    return resample_to(volume, volume.affine.scaled(factors), (int(grid[0]), int(grid[1]), int(grid[2])), order)


def reorient(volume: V, axcodes: str) -> V:
    """Flip and permute the axes so that they point where ``axcodes`` (such as "RAS") says; exact, no copy.

    An oblique volume keeps its obliqueness: each axis goes to the anatomical axis that it is closest to.
    """
    axes = [_AXES.get(c, (None, 0)) for c in axcodes.upper()]
    if len(axcodes) != 3 or sorted(a for a, _ in axes if a is not None) != [0, 1, 2]:
        raise GeometryError(f"An orientation names one of L/R, one of P/A and one of I/S, got {axcodes!r}.")
    closest = volume.affine.closest_axes
    direction = volume.affine.direction
    permutation = [closest.index(world) for world, _ in axes if world is not None]
    change = np.zeros((4, 4))
    change[3, 3] = 1
    array: npt.NDArray[Any] = volume.array.transpose(*permutation, *range(3, volume.array.ndim))
    for new, (old, (world, sign)) in enumerate(zip(permutation, axes, strict=True)):
        flip = direction[world, old] * sign < 0
        change[old, new] = -1 if flip else 1
        if flip:
            change[old, 3] = volume.grid[old] - 1
            array = np.flip(array, new)
    if np.array_equal(change, np.eye(4)):
        return volume
    history = (*volume.history, f"reoriented to {axcodes.upper()}")
    return replace(volume, array=array, affine=volume.affine @ Affine(change), history=history, metadata={})
