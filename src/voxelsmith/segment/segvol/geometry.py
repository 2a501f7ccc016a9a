"""Geometry: between the voxels of an image and the axes (d, h, w) of the network.

Owns the order in which SegVol sees a volume. The published code reads the array as its NIfTI file stores it and takes
the axes in reversed order; it turns nothing, whatever the affine says. So the order of most of the files that it was
trained on counts. That is taken to be L, P, S: x to the patient's left, y to the back, z to the head, as tools built on
ITK write axial CT, so that d runs to the head, h to the back and w to the left. This is likely, not proven: the demo
case could not be looked at, and public training sets mix L-P-S with R-A-S, the same turned by half a turn about z;
training flipped axes at random, which makes it matter less. :meth:`Axes.stored` is the published way, whose answer
depends on the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine
from voxelsmith.core.prompts import Box, Grid

_LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Axes:
    """Which axes of an image are d, h and w, and which of them run backwards.

    Parameters
    ----------
    order
        The image axes that become d, h and w.
    flipped
        Whether d, h and w run against them.
    grid
        Number of voxels of the image along i, j and k.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    grid: Grid

    @classmethod
    def stored(cls, grid: Grid) -> Axes:
        """The stored axes in reversed order, as the published code takes them."""
        return cls((2, 1, 0), (False, False, False), grid)

    @classmethod
    def anatomical(cls, affine: Affine, grid: Grid) -> Axes:
        """The axes closest to S, P and L, however the image is stored."""
        closest = affine.closest_axes
        i, j, k = (closest.index(world) for world in (2, 1, 0))
        direction = affine.direction
        s, p, left = (bool(direction[world, axis] * _LPS[world] < 0) for world, axis in ((2, i), (1, j), (0, k)))
        return cls((i, j, k), (s, p, left), grid)

    @property
    def shape(self) -> Grid:
        """Number of voxels along d, h and w."""
        d, h, w = (self.grid[axis] for axis in self.order)
        return d, h, w

    def view(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An array [i, j, k], or a crop of one, as [d, h, w]; no copy."""
        return self._flip(array.transpose(self.order))

    def back(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An array [d, h, w], or a crop of one, as [i, j, k]; no copy."""
        return self._flip(array).transpose(np.argsort(self.order))

    def _flip(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        flipped: npt.NDArray[Any] = np.flip(array, tuple(axis for axis in range(3) if self.flipped[axis]))
        return flipped

    def index(self, voxels: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Voxel indices (..., i j k) as (..., d h w)."""
        own = np.asarray(voxels, dtype=np.intp)[..., self.order]
        return np.where(self.flipped, np.array(self.shape) - 1 - own, own)

    def box(self, box: Box) -> Box:
        """A box of voxels (i, j, k) as one of (d, h, w)."""
        return _spanned(self.index([box.lo, box.hi]))

    def box_back(self, box: Box) -> Box:
        """A box of voxels (d, h, w) as one of (i, j, k)."""
        ends = np.array([box.lo, box.hi])
        own = np.where(self.flipped, np.array(self.shape) - 1 - ends, ends)
        return _spanned(own[:, np.argsort(self.order)])


def _spanned(corners: npt.NDArray[np.intp]) -> Box:
    lo, hi = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return Box(tuple(lo), tuple(hi))
