"""Depth: the boxes of a session, how each came about, and how deep it is.

Owns the memory that a box prompt lacks: which side is its depth, and on which slices it was drawn. A box that comes
back with undo finds its history again.
"""

from __future__ import annotations

from dataclasses import dataclass

from voxelsmith.core.prompts import Box
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.prompt.boxes import DrawnBox, Rectangle


@dataclass(frozen=True)
class Depth:
    """The depth of the present box: its axis, first and last slice, number of slices, and slice thickness in mm."""

    axis: int
    first: int
    last: int
    count: int
    thickness: float


class DrawnBoxes:
    """The boxes that were drawn on a volume."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._drawn: dict[Box, DrawnBox] = {}

    def _of(self, box: Box) -> DrawnBox:
        """How a box came about; one whose history is unknown has its depth along its thinnest side."""
        sides = [n * size for n, size in zip(box.shape, self._volume.spacing, strict=True)]
        return self._drawn.get(box, DrawnBox(box, sides.index(min(sides))))

    def _keep(self, drawn: DrawnBox) -> Box:
        self._drawn[drawn.box] = drawn
        return drawn.box

    def draw(self, box: Box | None, rectangle: Rectangle, redrawn: bool) -> Box:
        """The box after a rectangle was drawn, or the outline of the present one was moved."""
        if box is None:
            return self._keep(DrawnBox.first(rectangle, self._volume.spacing, self._volume.grid))
        old = self._of(box)
        return self._keep(old.reshaped(rectangle) if redrawn else old.extended(rectangle))

    def deepen(self, box: Box, first: int, last: int) -> Box:
        """The box with another depth."""
        return self._keep(self._of(box).with_depth(first, last))

    def depth(self, box: Box | None) -> Depth | None:
        """Of a box; None without one, and on images of one slice."""
        if box is None:
            return None
        axis = self._of(box).axis
        if self._volume.grid[axis] == 1:
            return None
        thickness = float(self._volume.spacing[axis])
        return Depth(axis, box.lo[axis], box.hi[axis], self._volume.grid[axis], thickness)
