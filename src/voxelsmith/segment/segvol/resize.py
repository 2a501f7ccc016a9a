"""Resizing: between a crop of the image and the network's view of it.

Owns the two published ways to pick the nearest voxel, and the smooth way back that the default zoom-in uses. All work
axis by axis on arrays (d, h, w), with voxel centres at the middle of voxels. The smooth way weighs as
:class:`voxelsmith.segment.zoom.Region` does, whose grid is never finer than its box, as a view may be along some axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.prompts import Box, Grid
from voxelsmith.segment.segvol.network import VIEW
from voxelsmith.segment.zoom import FloatArray, area_weights, linear_weights


def nearest_exact(count: int, wanted: int) -> npt.NDArray[np.intp]:
    """For each of ``wanted`` voxels, the one of ``count`` that holds its centre (float32, as torch rounds)."""
    scale = np.float32(count) / np.float32(wanted)
    at = np.floor((np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * scale)
    return _at_most(at, count - 1)


def nearest(count: int, wanted: int) -> npt.NDArray[np.intp]:
    """The same for torch's "nearest", which looks at the first edge of each voxel in place of its centre."""
    scale = np.float32(count) / np.float32(wanted)
    return _at_most(np.floor(np.arange(wanted, dtype=np.float32) * scale), count - 1)


def _at_most(at: FloatArray, last: int) -> npt.NDArray[np.intp]:
    index: npt.NDArray[np.intp] = np.minimum(at, last).astype(np.intp)
    return index


def zoomed_out(crop: npt.NDArray[Any], shape: Grid = VIEW) -> npt.NDArray[Any]:
    """A crop as the network sees all of it at once: nearest voxels, proportions not kept, contiguous."""
    return np.ascontiguousarray(crop[np.ix_(*map(nearest_exact, crop.shape, shape))])


def spread_out(view: FloatArray, shape: Grid) -> FloatArray:
    """A view on all voxels of a crop, nearest, as published."""
    return view[np.ix_(*map(nearest, view.shape, shape))]


def covered(part: Box, shape: Grid) -> Box:
    """The voxels of a crop of this shape that a box of voxels of the network's view touches."""
    scale = np.array(shape) / VIEW
    lo = np.floor(np.array(part.lo) * scale).astype(int)
    hi = np.ceil((np.array(part.hi) + 1) * scale).astype(int) - 1
    return Box(tuple(lo.tolist()), tuple(np.minimum(hi, np.array(shape) - 1).tolist()))


def smooth(view: FloatArray, shape: Grid, part: Box) -> FloatArray:
    """A part of what a view, stretched over a crop, says at the crop's voxels.

    Parameters
    ----------
    view
        Values (d, h, w).
    shape
        Of the whole crop.
    part
        Which voxels of the crop are wanted.

    Returns
    -------
    float32 array of shape ``part.shape``
        Linear between the voxels of the view; along axes where the view is finer than the crop, their mean.
    """
    out = view
    for axis in range(3):
        out = _along(out, axis, shape[axis], slice(part.lo[axis], part.hi[axis] + 1))
    return out


def _along(values: FloatArray, axis: int, count: int, wanted: slice) -> FloatArray:
    """The wanted ones of ``count`` voxels, over which the values along an axis are stretched."""
    own = values.shape[axis]
    weights = (area_weights(own, count) if own > count else linear_weights(count, own))[wanted]
    near = np.flatnonzero(weights.any(axis=0))
    used = slice(int(near[0]), int(near[-1]) + 1)
    mixed: FloatArray = np.tensordot(values.take(range(own)[used], axis), weights[:, used], axes=(axis, 1))
    return np.moveaxis(mixed, -1, axis)
