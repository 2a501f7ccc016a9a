"""Material: what a training learns from, taken out of layers.

Owns the way from annotated layers to a support set. :func:`gather` copies what is annotated, in the main thread, so
that painting may go on; :func:`examples` reads images that are not in memory, in a job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.support import SupportClass, SupportExample, SupportSet
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.plugin.docks.prompt.source import Source, frame_of, frame_shown, image_source, load
from voxelsmith.plugin.docks.train.annotations import Annotated
from voxelsmith.plugin.layers import layer_to_volume, stored_axes


@dataclass(frozen=True, eq=False)
class Material:
    """The annotation of one image.

    Parameters
    ----------
    source
        The image.
    labels : integer array of the image's grid
        A copy; 0 outside the annotated slices.
    axis, slices
        As for :class:`~voxelsmith.core.support.SupportExample`.
    """

    source: Source
    labels: npt.NDArray[Any]
    axis: int
    slices: tuple[int, ...]


@dataclass(frozen=True)
class ClassChoice:
    """Which classes are to be learned.

    Parameters
    ----------
    names
        Label value to what it is called, as far as the user knows.
    left_out
        Labels that count as background.
    always
        Labels that count as looked for even if none is painted.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    left_out: frozenset[int] = frozenset()
    always: frozenset[int] = frozenset()


def source_of(image: Any, viewer: Any) -> Source:
    """The image of a layer, without reading any voxel.

    Raises
    ------
    InputError
        If the layer is a single 2-D image or has too many axes.
    GeometryError, ResourceError
        As :func:`~voxelsmith.plugin.docks.prompt.source.image_source` does.
    """
    if len(stored_axes(image)) < 3:
        raise InputError(
            f"Training takes slices of a 3-D image, but {image.name!r} is a single 2-D image; open a stack of slices."
        )
    return image_source(image, frame_shown(viewer, image))


def labels_of(labels: Any, source: Source) -> LabelVolume:
    """The labels of a layer on the grid of an image.

    Raises
    ------
    InputError
        If the layer holds no labels.
    GeometryError
        If it lies on another grid.
    """
    volume = layer_to_volume(labels)
    if not isinstance(volume, LabelVolume):
        raise InputError(f"Annotations are a Labels layer, but {labels.name!r} is not one; choose another.")
    volume = frame_of(volume, source.frame)
    source.volume.require_same_grid(volume)
    return volume


def painted_slices(labels: LabelVolume, axis: int) -> list[int]:
    """Slices along an axis in which something is painted."""
    across = tuple(a for a in range(3) if a != axis)
    return [int(n) for n in np.flatnonzero(np.asarray(labels.array).any(axis=across))]


def gather(annotated: Iterable[Annotated], viewer: Any) -> tuple[Material, ...]:
    """Copy what is annotated.

    Raises
    ------
    InputError, GeometryError, ResourceError
        As :func:`source_of` and :func:`labels_of` do.
    """
    found = []
    sources: dict[Any, Source] = {}
    for one in annotated:
        source = sources.setdefault(one.image, source_of(one.image, viewer))
        array = np.asarray(labels_of(one.labels, source).array)
        # A fresh array takes memory only where it is written.
        kept = np.zeros(array.shape, array.dtype, order="F" if one.axis == 2 else "C")
        at: Any = (*(slice(None),) * one.axis, list(one.slices))
        kept[at] = array[at]
        found.append(Material(source, kept, one.axis, one.slices))
    return tuple(found)


def occurring(material: Iterable[Material]) -> Job[set[int]]:
    """Job that finds the label values in annotated slices."""
    found: set[int] = set()
    for one in material:
        for number, index in enumerate(one.slices):
            yield Progress(number, len(one.slices), "Looking at labels")
            found |= {int(value) for value in np.unique(one.labels.take(index, one.axis)) if value}
    return found


def examples(material: tuple[Material, ...], choice: ClassChoice) -> Job[SupportSet]:
    """Job that makes a support set.

    Parameters
    ----------
    material
        What is annotated.
    choice
        Which of its labels are meant. In every annotated slice all of them were looked for.
    """
    values = ((yield from occurring(material)) | choice.always) - choice.left_out
    classes = {value: choice.names.get(value, "") for value in sorted(values)}
    support = SupportSet(tuple(SupportClass(value, name) for value, name in classes.items()))
    volumes: dict[int, Volume] = {}
    for one in material:
        if id(one.source.volume) not in volumes:
            loaded = yield from load(one.source)
            volumes[id(one.source.volume)] = loaded.volume
        image = volumes[id(one.source.volume)]
        wanted = one.labels
        if choice.left_out:
            wanted = np.where(np.isin(wanted, list(classes)), wanted, 0)
        labels = image.labels(wanted, names=classes)
        note = f"{image.name}, {len(one.slices)} slices"
        support = support.add(SupportExample(image, labels, one.axis, one.slices, frozenset(classes), provenance=note))
    return support
