"""Slices: which slice of the image the viewer shows, and how another one is shown.

Owns the way between the viewer's position and slices along the stored axes of an image.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from voxelsmith.plugin.camera import show_plane
from voxelsmith.plugin.docks.register.follower import shown_plane
from voxelsmith.plugin.docks.register.place import Place
from voxelsmith.plugin.layers import from_ijk, stored_axes, to_ijk

_PLANES = ("axial", "coronal", "sagittal")


class Slices:
    """Slices of one image layer in a viewer.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    image : napari.layers.Image
        With three axes of space.
    """

    def __init__(self, viewer: Any, image: Any) -> None:
        self._viewer = viewer
        self._place = Place.of_layer(image)

    @property
    def axis(self) -> int | None:
        """The array axis along which the viewer shows slices; None in 3-D."""
        plane = shown_plane(self._viewer, self._place)
        return None if plane is None else plane.axis

    def count(self, axis: int) -> int:
        """Number of slices along an axis."""
        return self._place.grid[axis]

    def position(self, axis: int) -> int:
        """The slice along an axis at the viewer's position; beyond the image the outermost one."""
        index = round(float(self._voxel()[axis]))
        return min(max(index, 0), self.count(axis) - 1)

    def go(self, axis: int, index: int) -> None:
        """Move the viewer to a slice along an axis; the other two coordinates stay."""
        voxel = self._voxel()
        voxel[axis] = index
        world = self._place.frame.data_to_world(from_ijk(self._place.frame, [voxel])[0])
        dims = self._viewer.dims
        dims.point = (*dims.point[:-3], *(float(x) for x in world))

    def face(self, axis: int) -> None:
        """Turn the viewer so that it shows slices along an axis, if it shows others."""
        if self.axis != axis:
            show_plane(self._viewer, _PLANES[stored_axes(self._place.frame).index(axis)])

    def _voxel(self) -> Any:
        point = np.asarray(self._viewer.dims.point, dtype=float)[-3:]
        return to_ijk(self._place.frame, [self._place.frame.world_to_data(point)])[0]
