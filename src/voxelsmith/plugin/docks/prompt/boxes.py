"""Boxes drawn as rectangles: what a rectangle on a slice says about a box in three dimensions, and back.

Owns no layer; everything is in voxel indices of the stored array. A rectangle spans two axes and is flat along the
third. The first one makes a box whose depth is its mean side length in millimetres, centred on its slice. A second
one on another slice of the same axis makes the depth run from slice to slice; one on another axis sets the depth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import PromptError
from voxelsmith.core.prompts import Box, Grid

_SMALLEST_SIDE = 0.5


@dataclass(frozen=True)
class Rectangle:
    """A rectangle on a slice.

    Parameters
    ----------
    box
        The voxels that it covers, one voxel thick.
    axis
        The stored axis (0 i, 1 j, 2 k) along which it is flat.
    """

    box: Box
    axis: int

    @property
    def slice(self) -> int:
        """The slice that it was drawn on."""
        return self.box.lo[self.axis]

    @classmethod
    def from_corners(cls, corners: npt.ArrayLike, grid: Grid) -> Rectangle:
        """The voxels under a drawn shape.

        Parameters
        ----------
        corners : array_like, shape (N, 3)
            Vertices in voxel indices; centres are whole numbers.
        grid
            Number of voxels of the image; what lies outside is cut off.

        Raises
        ------
        PromptError
            If the shape has no area or lies outside the image.
        """
        vertices = np.asarray(corners, dtype=np.float64)
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        sides = high - low
        axis = int(np.argmin(sides))
        if np.sort(sides)[1] < _SMALLEST_SIDE:
            raise PromptError(
                "A box needs two sides of at least half a voxel, got "
                f"{np.round(np.delete(sides, axis), 2).tolist()}; drag from one corner of the object to the other."
            )
        lo = np.floor(low + 0.5).astype(int)
        hi = np.maximum(lo, np.ceil(high - 0.5).astype(int))
        return cls(Box(_index(lo), _index(hi)).clipped(grid), axis)


@dataclass(frozen=True)
class DrawnBox:
    """A box and how it came about.

    Parameters
    ----------
    box
        The prompt.
    axis
        The axis whose extent is called its depth: the one that the first rectangle does not span.
    slices
        Where rectangles were drawn along that axis; empty once the depth was set by other means.
    """

    box: Box
    axis: int
    slices: tuple[int, ...] = ()

    @classmethod
    def first(cls, rectangle: Rectangle, spacing: npt.ArrayLike, grid: Grid) -> DrawnBox:
        """The box that one rectangle stands for, on voxels of this size (mm)."""
        size = np.asarray(spacing, dtype=np.float64)
        axis, at = rectangle.axis, rectangle.slice
        mean_side = np.delete(np.array(rectangle.box.shape) * size, axis).mean()
        half = round(float(mean_side / size[axis] / 2))
        box = _with_extent(rectangle.box, axis, at - half, at + half).clipped(grid)
        return cls(box, axis, (at,))

    def extended(self, rectangle: Rectangle) -> DrawnBox:
        """The box after one more rectangle."""
        union = self.box.union(rectangle.box)
        if rectangle.axis != self.axis:
            depth = rectangle.box.lo[self.axis], rectangle.box.hi[self.axis]
            return DrawnBox(_with_extent(union, self.axis, *depth), self.axis)
        slices = tuple(sorted({*self.slices, rectangle.slice})) if self.slices else ()
        if len(slices) > 1:
            union = _with_extent(union, self.axis, slices[0], slices[-1])
        return DrawnBox(union, self.axis, slices)

    def reshaped(self, rectangle: Rectangle) -> DrawnBox:
        """The box after its outline on a slice was moved or resized into this rectangle."""
        box = self.box
        for axis in {0, 1, 2} - {rectangle.axis}:
            box = _with_extent(box, axis, rectangle.box.lo[axis], rectangle.box.hi[axis])
        return replace(self, box=box) if rectangle.axis == self.axis else DrawnBox(box, self.axis)

    def with_depth(self, first: int, last: int) -> DrawnBox:
        """The box with its depth set by hand; both slices belong to it."""
        return DrawnBox(_with_extent(self.box, self.axis, first, last), self.axis)


def outline(box: Box, axis: int, at: int) -> npt.NDArray[np.float64] | None:
    """Corners, shape (4, 3), of a box where the slice ``at`` of ``axis`` cuts it; None if it does not."""
    if not box.lo[axis] <= at <= box.hi[axis]:
        return None
    a, b = sorted({0, 1, 2} - {axis})
    low, high = _faces(box)
    corners = np.full((4, 3), float(at))
    corners[:, a] = low[a], high[a], high[a], low[a]
    corners[:, b] = low[b], low[b], high[b], high[b]
    return corners


def edges(box: Box) -> list[npt.NDArray[np.float64]]:
    """The twelve edges of a box, each of shape (2, 3)."""
    sides = np.stack(_faces(box))
    lines = []
    for axis in range(3):
        a, b = sorted({0, 1, 2} - {axis})
        for u in (0, 1):
            for v in (0, 1):
                line = np.empty((2, 3))
                line[:, axis], line[:, a], line[:, b] = sides[:, axis], sides[u, a], sides[v, b]
                lines.append(line)
    return lines


def _faces(box: Box) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Where the outer faces of the first and last voxels lie."""
    return np.array(box.lo) - 0.5, np.array(box.hi) + 0.5


def _with_extent(box: Box, axis: int, first: int, last: int) -> Box:
    lo, hi = list(box.lo), list(box.hi)
    lo[axis], hi[axis] = first, last
    return Box((lo[0], lo[1], lo[2]), (hi[0], hi[1], hi[2]))


def _index(values: npt.NDArray[np.intp]) -> tuple[int, int, int]:
    return int(values[0]), int(values[1]), int(values[2])
