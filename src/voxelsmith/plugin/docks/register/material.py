"""Material: what a registration is computed from, taken out of the chosen layers.

Owns the way from layers to a request. :func:`gather` looks at the layers, in the main thread; :func:`load` reads what
is not in memory, in a job. Landmarks go through the voxels of the image that they were set on, as a tilted image is
drawn straight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from voxelsmith.core.affine import FloatArray
from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job
from voxelsmith.core.volume import LabelVolume
from voxelsmith.plugin.docks.prompt.source import Source, frame_of, frame_shown, image_source
from voxelsmith.plugin.docks.prompt.source import load as load_source
from voxelsmith.plugin.docks.register.place import Place, places_in
from voxelsmith.plugin.layers import layer_to_volume
from voxelsmith.register.request import RegistrationRequest, RegistrationSettings

_SIDES = ("fixed", "moving")


@dataclass(frozen=True, eq=False)
class Material:
    """Fixed and moving side of a registration.

    Parameters
    ----------
    images
        By side, "fixed" and "moving".
    masks, labels, points
        By side; None where there are none. Points are RAS millimetres, shape (N, 3).
    """

    images: Mapping[str, Source]
    masks: Mapping[str, LabelVolume | None]
    labels: Mapping[str, LabelVolume | None]
    points: Mapping[str, FloatArray | None]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen on the user's behalf, a sentence each."""
        return tuple(f"{source.volume.name}: {source.note}" for source in self.images.values() if source.note)

    def request(self, settings: RegistrationSettings) -> RegistrationRequest:
        """What is asked for, with these settings."""
        fixed, moving = (self.images[side].volume for side in _SIDES)
        extra: dict[str, Any] = {
            f"{side}_{name}": given[side]
            for name, given in (("mask", self.masks), ("labels", self.labels), ("points", self.points))
            for side in _SIDES
        }
        return RegistrationRequest(fixed, moving, settings=settings, **extra)


def gather(chosen: Mapping[str, Any], viewer: Any) -> Material:
    """Look at the chosen layers, without reading any voxel.

    Parameters
    ----------
    chosen
        Layers by part, as :class:`~voxelsmith.plugin.docks.register.choices.LayerChoices` has them.
    viewer : napari.components.ViewerModel
        Whose frame counts where a layer has a time axis.

    Raises
    ------
    InputError
        If an image is missing, both are the same, or a layer is of no use.
    GeometryError
        If the transform of a layer is unusable.
    ResourceError
        If an image is not in memory and too large to be loaded.
    """
    if any(chosen[side] is None for side in _SIDES):
        raise InputError("A registration needs two images, a fixed and a moving one; open another one.")
    if chosen["fixed"] is chosen["moving"]:
        raise InputError("Fixed and moving are the same layer; choose another one for one of them.")
    images = {side: image_source(chosen[side], frame_shown(viewer, chosen[side])) for side in _SIDES}
    return Material(
        images,
        {side: _labels(chosen[f"{side}_mask"], images[side]) for side in _SIDES},
        {side: _labels(chosen[f"{side}_labels"], images[side]) for side in _SIDES},
        {side: _points(chosen[f"{side}_points"], chosen[side]) for side in _SIDES},
    )


def load(material: Material) -> Job[Material]:
    """Job that brings all voxels into memory, images as 3-D volumes of real numbers."""
    images = {}
    for side, source in material.images.items():
        images[side] = yield from load_source(source)
    masks, labels = ({s: _in_memory(v) for s, v in given.items()} for given in (material.masks, material.labels))
    return replace(material, images=images, masks=masks, labels=labels)


def landmarks(points: Any, image: Any) -> FloatArray:
    """Where the points of a layer lie in an image, RAS millimetres, shape (N, 3), in their order.

    Raises
    ------
    InputError
        If the points have fewer than three axes.
    """
    if points.ndim < 3:
        raise InputError(
            f"Landmarks have three coordinates, but {points.name!r} has {points.ndim} axes; make a 3-D points layer."
        )
    if not len(points.data):
        raise InputError(f"{points.name!r} has no points yet; add landmarks, or choose none.")
    return places_in(points, points.data, Place.of_layer(image))


def _labels(layer: Any, image: Source) -> LabelVolume | None:
    if layer is None:
        return None
    volume = layer_to_volume(layer)
    assert isinstance(volume, LabelVolume)
    return frame_of(volume, image.frame)


def _points(layer: Any, image: Any) -> FloatArray | None:
    return None if layer is None else landmarks(layer, image)


def _in_memory(labels: LabelVolume | None) -> LabelVolume | None:
    return None if labels is None else replace(labels, array=np.asarray(labels.array))
