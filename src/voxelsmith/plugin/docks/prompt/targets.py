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
_MAKERS = "made_by"


@dataclass(frozen=True)
class Row:
    """One accepted object, as the dock lists it; ``color`` is RGBA, 0 to 1, ``made_by`` says which engine and how."""

    label: int
    name: str
    voxels: int
    cubic_mm: float
    color: tuple[float, float, float, float]
    made_by: str = ""


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
    name_before, maker_before
        How the layer called this label earlier, and what it said of its engine, if at all.
    """

    commit: Commit
    layer: Labels
    data: Any
    name_before: str | None = None
    maker_before: dict[str, Any] | None = None

    @classmethod
    def written(cls, commit: Commit, layer: Labels) -> Accepted:
        """A commit that was written to a layer just now."""
        name, maker = label_names(layer).get(commit.label), label_makers(layer).get(commit.label)
        return cls(commit, layer, layer.data, name, maker)

    def in_reach(self, layers: Any) -> bool:
        """Whether the layer is still open and still holds the array that was written to."""
        return self.layer in layers and self.layer.data is self.data

    def show(self, applied: bool) -> None:
        """Redraw the layer, and name or un-name the label and its engine."""
        label, maker = self.commit.label, {"engine": self.commit.engine, "threshold": self.commit.threshold}
        names = label_names(self.layer) | {label: self.commit.name if applied else self.name_before}
        makers = label_makers(self.layer) | {label: maker if applied else self.maker_before}
        self.layer.metadata[NAMESPACE] = namespaced(self.layer) | {
            "names": {value: name for value, name in names.items() if name},
            _MAKERS: {value: maker for value, maker in makers.items() if maker},
        }
        self.layer.refresh()

    def row(self, voxel_volume: float, title: str) -> Row:
        """What the dock lists, on voxels of this many cubic millimetres, made by the engine of this title."""
        color = self.layer.get_color(self.commit.label)
        r, g, b, a = (0.5, 0.5, 0.5, 1.0) if color is None else (float(c) for c in color)
        count = self.commit.count
        made_by = maker_text(title, self.commit.threshold)
        return Row(self.commit.label, self.commit.name, count, count * voxel_volume, (r, g, b, a), made_by)


def label_makers(layer: Labels) -> dict[int, dict[str, Any]]:
    """Which engine made each label of a layer, and the threshold of its mask, as far as the metadata says."""
    return dict(namespaced(layer).get(_MAKERS, {}))


def maker_text(title: str, threshold: float | None) -> str:
    """Which engine made a mask, and where its probabilities were cut, for the user."""
    return f"Mask by {title}" if threshold is None else f"Mask by {title}, threshold {threshold:.2f}"


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
