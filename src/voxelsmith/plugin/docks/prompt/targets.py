"""Targets: the Labels layer that accepted objects go to, and the list of what was accepted.

Owns how a committed object is named in the layer's metadata, whether the layer still holds the array that it was
written to, and what the dock lists. The writing itself is :mod:`voxelsmith.segment.commit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.plugin.docks.prompt.source import frame_of
from voxelsmith.plugin.layers import NAMESPACE, from_stored_shape, label_names, labels_like, layer_to_volume, namespaced
from voxelsmith.segment.commit import Commit

if TYPE_CHECKING:
    from napari.layers import Image, Labels

_LABEL_TYPE = np.uint16


@dataclass(frozen=True)
class Row:
    """One accepted object, as the dock lists it; ``color`` is RGBA, 0 to 1."""

    label: int
    name: str
    voxels: int
    cubic_mm: float
    color: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Accepted:
    """One commit and the layer that it went to.

    Parameters
    ----------
    commit
        What was written.
    layer
        Where.
    data
        The layer's array at that time.
    name_before
        How the layer called this label earlier, if at all.
    """

    commit: Commit
    layer: Labels
    data: Any
    name_before: str | None = None

    def in_reach(self, layers: Any) -> bool:
        """Whether the layer is still open and still holds the array that was written to."""
        return self.layer in layers and self.layer.data is self.data

    def show(self, applied: bool) -> None:
        """Redraw the layer, and name or un-name the label."""
        names = label_names(self.layer)
        name = self.commit.name if applied else self.name_before
        if name:
            names[self.commit.label] = name
        else:
            names.pop(self.commit.label, None)
        self.layer.metadata[NAMESPACE] = namespaced(self.layer) | {"names": names}
        self.layer.refresh()

    def row(self, voxel_volume: float) -> Row:
        """What the dock lists, on voxels of this many cubic millimetres."""
        color = self.layer.get_color(self.commit.label)
        r, g, b, a = (0.5, 0.5, 0.5, 1.0) if color is None else (float(c) for c in color)
        count = self.commit.count
        return Row(self.commit.label, self.commit.name, count, count * voxel_volume, (r, g, b, a))


def new_target(image: Image) -> Labels:
    """An empty Labels layer for an image, wide enough for 65535 objects."""
    data = np.zeros(from_stored_shape(image), dtype=_LABEL_TYPE)
    return labels_like(image, data, name=f"{image.name} · labels")


def writable_array(layer: Labels, image: Volume, frame: int | None) -> npt.NDArray[Any]:
    """The stored array [i, j, k] of a target, a view that can be written to.

    Raises
    ------
    GeometryError
        If the layer is on another grid than the image.
    InputError
        If its voxels cannot be written.
    """
    if not isinstance(layer.data, np.ndarray) or not layer.data.flags.writeable:
        raise InputError(
            f"Accepted objects are written into the target, but the voxels of {layer.name!r} are read-only "
            f"({type(layer.data).__name__}); duplicate the layer or choose a new one."
        )
    volume = layer_to_volume(layer)
    if not isinstance(volume, LabelVolume):
        raise InputError(f"Accepted objects go to a Labels layer, but {layer.name!r} is not one.")
    labels = frame_of(volume, frame)
    image.require_same_grid(labels)
    return labels.array
