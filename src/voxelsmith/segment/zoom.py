"""Zoom: cut a region out of an image, work on it at a size that is affordable, and paste the answer back.

Owns the maps between the voxels of an image and a coarser working grid over a box of it. Going down, a working voxel is
the mean of what it covers; coming back, values are interpolated linearly. Both go slab by slab, so that a region as
large as the image costs little memory beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.prompts import Box, Grid

FloatArray = npt.NDArray[np.float32]
_SLAB_VOXELS = 1 << 17
_PRESENT = 1e-3


def area_weights(fine: int, coarse: int) -> FloatArray:
    """Matrix (coarse, fine): the share of each fine voxel in the mean over a coarse one."""
    edges = np.linspace(0, fine, coarse + 1)
    left = np.arange(fine)
    overlap = np.minimum(edges[1:, None], left + 1) - np.maximum(edges[:-1, None], left)
    weights: FloatArray = (np.clip(overlap, 0, None) * (coarse / fine)).astype(np.float32)
    return weights


def linear_weights(fine: int, coarse: int) -> FloatArray:
    """Matrix (fine, coarse): linear interpolation at the centres of the fine voxels, constant beyond the ends."""
    at = np.clip((np.arange(fine) + 0.5) * (coarse / fine) - 0.5, 0, coarse - 1)
    low = np.minimum(np.floor(at).astype(int), max(coarse - 2, 0))
    weights = np.zeros((fine, coarse), dtype=np.float32)
    weights[np.arange(fine), low] = 1 - (at - low)
    weights[np.arange(fine), np.minimum(low + 1, coarse - 1)] += at - low
    return weights


def as_float32(values: npt.ArrayLike) -> FloatArray:
    """Voxel values in single precision; what lies beyond its range becomes infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(np.float32)


def _slabs(shape: Grid, axis_voxels: int) -> Iterator[slice]:
    step = max(1, _SLAB_VOXELS // max(axis_voxels, 1))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


@dataclass(frozen=True, eq=False)
class Region:
    """A box of an image and the working grid laid over it.

    Parameters
    ----------
    box
        Where the region lies, in voxels of the image.
    grid
        Number of working voxels along i, j and k; never more than the box has.
    factors : float array, shape (3,)
        Image voxels per working voxel.
    spacing : float array, shape (3,)
        Size of a working voxel in millimetres.
    """

    box: Box
    grid: Grid
    factors: npt.NDArray[np.float64]
    spacing: npt.NDArray[np.float64]

    @classmethod
    def over(cls, box: Box, spacing: npt.ArrayLike, voxels: int) -> Region:
        """Lay a grid of at most about ``voxels`` working voxels over a box.

        The working voxels are as close to cubes (in millimetres) as the image allows; no axis is refined.
        """
        size = np.asarray(spacing, dtype=np.float64)
        shape = np.array(box.shape)
        edge = float(size.min())
        while True:
            grid = np.maximum(1, np.floor(shape * np.minimum(1.0, size / edge) + 0.5)).astype(int)
            if grid.prod() <= 1.1 * voxels:
                break
            edge *= 1.04
        i, j, k = (int(n) for n in grid)
        factors = shape / grid
        return cls(box, (i, j, k), factors, size * factors)

    def rounded(self, multiple: int) -> Region:
        """The same box on the nearest grid whose axes are multiples of a number; none is finer than the image."""
        near = np.maximum(np.round(np.array(self.grid) / multiple), 1) * multiple
        i, j, k = (int(n) for n in np.minimum(near, self.box.shape))
        factors = np.array(self.box.shape) / np.array((i, j, k))
        return Region(self.box, (i, j, k), factors, self.spacing / self.factors * factors)

    @property
    def is_full(self) -> bool:
        """Whether the working grid is the image's own."""
        return self.grid == self.box.shape

    def shrink(self, image: npt.NDArray[Any]) -> FloatArray:
        """The region of an image (I, J, K), averaged onto the working grid, float32."""
        return self.average(image[self.box.slices])

    def average(self, crop: npt.NDArray[Any]) -> FloatArray:
        """An array of the box's shape, averaged onto the working grid, float32.

        Voxels that are not finite count for nothing; a working voxel without any other is NaN.
        """
        if self.is_full:
            return as_float32(crop)
        w0, w1, w2 = (area_weights(f, c) for f, c in zip(self.box.shape, self.grid, strict=True))
        out, missing = np.zeros(self.grid, dtype=np.float32), np.zeros(self.grid, dtype=np.float32)
        always_finite = crop.dtype.kind in "iub"
        for part in _slabs(self.box.shape, self.box.shape[1] * self.box.shape[2]):
            slab = as_float32(crop[part])
            if not always_finite and (bad := ~np.isfinite(slab)).any():
                slab[bad] = 0
                missing += np.tensordot(w0[:, part], np.matmul(w1, bad.astype(np.float32) @ w2.T), axes=1)
            out += np.tensordot(w0[:, part], np.matmul(w1, slab @ w2.T), axes=1)
        if not missing.any():
            return out
        present = 1 - missing
        return np.divide(out, present, out=np.full_like(out, np.nan), where=present > _PRESENT)

    def expand(self, working: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
        """Interpolate a working array back, as (range along the box's first axis, float32 slab of box voxels)."""
        if self.is_full:
            yield slice(0, self.box.shape[0]), working
            return
        w0, w1, w2 = (linear_weights(f, c) for f, c in zip(self.box.shape, self.grid, strict=True))
        for part in _slabs(self.box.shape, self.box.shape[1] * self.box.shape[2]):
            used = np.flatnonzero(w0[part].any(axis=0))
            near = slice(int(used[0]), int(used[-1]) + 1)
            yield part, np.matmul(w1, np.tensordot(w0[part, near], working[near], axes=1)) @ w2.T

    def dense(self, working: FloatArray) -> FloatArray:
        """A working array interpolated back, all of it at once: float32 of the box's shape."""
        out = np.empty(self.box.shape, dtype=np.float32)
        for part, slab in self.expand(working):
            out[part] = slab
        return out

    def to_working(self, index: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Working-grid coordinates of voxel indices of the image, shape (..., 3)."""
        return (np.asarray(index, dtype=np.float64) - self.box.lo + 0.5) / self.factors - 0.5

    def covered(self, working: Box) -> Box:
        """The voxels of the image that a box of working voxels covers, also in part."""
        low = np.floor(np.array(working.lo) * self.factors).astype(int) + self.box.lo
        high = np.ceil((np.array(working.hi) + 1) * self.factors).astype(int) + self.box.lo - 1
        return Box(tuple(low.tolist()), tuple(np.minimum(high, self.box.hi).tolist()))

    def nearest(self, index: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Working voxel that holds each voxel index of the image, shape (..., 3), clipped to the region."""
        inside = np.clip(np.floor(self.to_working(index) + 0.5), 0, np.array(self.grid) - 1)
        return inside.astype(np.intp)
