"""Place: a grid of the fixed or of the moving image, and how layers lie on it.

Owns the way from arrays and voxel indices of that grid to layers, and from the coordinates of any layer to RAS
millimetres. A place is taken from a layer where there is one, so that what is drawn over it fits also when napari draws
it otherwise than it lies; a volume whose layer has gone does as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.sampling import Grid
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.plugin.layers import (
    NAMESPACE,
    from_ijk,
    from_stored,
    grid_of,
    layer_affine,
    layer_data,
    namespaced,
    placement,
    stored_axes,
    to_ijk,
)

_PLACING = ("scale", "affine", "units", "axis_labels")
_GEOMETRY = ("affine", "grid")


@dataclass(frozen=True, eq=False)
class Place:
    """A grid in napari's world.

    Parameters
    ----------
    frame : napari.layers.Image
        One voxel, placed as layers on this grid are; it is never shown.
    affine, grid
        The true affine and the number of voxels.
    geometry
        What layers on this grid carry in their metadata about it.
    """

    frame: Any
    affine: Affine
    grid: Grid
    geometry: Mapping[str, Any]

    @classmethod
    def of_layer(cls, layer: Any) -> Place:
        """The grid of an Image or Labels layer."""
        known = namespaced(layer)
        geometry = {key: known[key] for key in _GEOMETRY if key in known}
        return cls(_frame(layer), layer_affine(layer), grid_of(layer), geometry)

    @classmethod
    def of_volume(cls, volume: Volume) -> Place:
        """The grid of a volume."""
        empty = Volume(np.broadcast_to(np.uint8(0), volume.grid), volume.affine)
        _, arguments, _ = layer_data(empty)
        from napari.layers import Image

        frame = Image(np.zeros((1, 1, 1), np.uint8), **{key: arguments[key] for key in _PLACING})
        known = arguments["metadata"][NAMESPACE]
        return cls(frame, volume.affine, volume.grid, {key: known[key] for key in _GEOMETRY})

    @classmethod
    def of(cls, volume: Volume, layer: Any = None) -> Place:
        """The grid of a volume, drawn as its layer is; a layer that is gone or was moved does not count."""
        if layer is None or grid_of(layer) != volume.grid or not layer_affine(layer).allclose(volume.affine):
            return cls.of_volume(volume)
        return cls.of_layer(layer)

    @classmethod
    def of_points(cls, layer: Any) -> Place:
        """Where a layer lies that has no voxels, as it is drawn."""
        frame = _frame(layer)
        return cls(frame, layer_affine(frame), (1, 1, 1), {})

    @property
    def arguments(self) -> dict[str, Any]:
        """What makes a layer of any type lie here."""
        return placement(self.frame)

    def coordinates(self, ijk: npt.ArrayLike) -> FloatArray:
        """Voxel indices, shape (..., 3), as data coordinates of a layer here."""
        indices = np.asarray(ijk, np.float64)
        return from_ijk(self.frame, indices).reshape(*indices.shape[:-1], -1)

    def layer(self, volume: Volume, **style: Any) -> Any:
        """An Image or Labels layer of a volume on this grid; one of a time series lies where its affine says."""
        from napari.layers import Image, Labels

        kind = Labels if isinstance(volume, LabelVolume) else Image
        if volume.extra_axis == "time":
            data, arguments, _ = layer_data(volume)
            return kind(data, **arguments | style)
        known: dict[str, Any] = {"name": volume.name, "units": volume.units, "history": list(volume.history)}
        if isinstance(volume, LabelVolume):
            known["names"] = dict(volume.names)
        elif volume.extra_axis == "channel":
            style["rgb"] = True
        style["metadata"] = {NAMESPACE: {**known, **self.geometry, **style.pop("marks", {})}}
        return kind(from_stored(self.frame, volume.array), **self.arguments | {"name": volume.name} | style)


def places_in(layer: Any, coordinates: npt.ArrayLike, place: Place | None) -> FloatArray:
    """Where data coordinates of a layer lie, RAS millimetres, shape (N, 3).

    Parameters
    ----------
    layer
        Points, Shapes or any other.
    coordinates : array_like, shape (N, ndim)
        In the axes of the layer.
    place
        The image that they were set on; None if it is not known.
    """
    own = Place.of_points(layer).affine
    affine = own if place is None else place.affine @ layer_affine(place.frame).inverse() @ own
    return affine.apply(to_ijk(layer, coordinates))


def _frame(layer: Any) -> Any:
    """One voxel where a layer lies."""
    from napari.layers import Image

    return Image(np.zeros((1,) * len(stored_axes(layer)), np.uint8), **placement(layer))
