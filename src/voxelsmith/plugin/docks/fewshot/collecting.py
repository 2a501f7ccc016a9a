"""Collecting: how examples come into the support set.

Owns the jobs that make an example of an open image and its labels, of two files, or of a saved set, each with its
thumbnail and its hash, and the one that saves a set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import LabelVolume
from voxelsmith.io.pairs import read_example
from voxelsmith.io.support import read_support, write_support
from voxelsmith.plugin.docks.fewshot.thumbnails import Thumbnail, thumbnail
from voxelsmith.plugin.docks.prompt.source import Source, load


@dataclass(frozen=True, eq=False)
class Collected:
    """An example and its picture."""

    example: SupportExample
    thumbnail: Thumbnail


@dataclass(frozen=True, eq=False)
class Annotation:
    """What is taken from an open labels layer; a copy, so that painting may go on.

    Parameters
    ----------
    source
        The image.
    labels : integer array of the image's grid
    axis, slices
        See :class:`~voxelsmith.core.support.SupportExample`.
    looked_for
        Classes that were looked for, beside those that occur.
    names
        Label value to name.
    provenance
        Where it comes from.
    """

    source: Source
    labels: npt.NDArray[Any]
    axis: int | None
    slices: tuple[int, ...] | None
    looked_for: frozenset[int]
    names: Mapping[int, str]
    provenance: str


def annotation(
    source: Source, labels: LabelVolume, axis: int | None, index: int | None, looked_for: frozenset[int], note: str
) -> Annotation:
    """Copy one slice of labels, or all of them if there is no axis.

    Raises
    ------
    GeometryError
        If the labels lie on another grid than the image.
    InputError
        If nothing is painted and no class was looked for.
    """
    source.volume.require_same_grid(labels)
    array = labels.array
    if axis is None or index is None:
        kept, slices = np.array(array), None
    else:
        # A fresh array takes memory only where it is written.
        kept, slices = np.zeros(array.shape, array.dtype, order="F" if axis == 2 else "C"), (index,)
        at: tuple[Any, ...] = (*(slice(None),) * axis, index)
        kept[at] = array[at]
    found = frozenset(int(v) for v in np.unique(kept if slices is None else np.take(kept, slices[0], axis)) if v)
    if not found | looked_for:
        raise InputError(
            f"{labels.name!r} has nothing painted there and there is no class yet, so nothing would be learned; paint "
            "something, or make a class and add the slice as an empty one."
        )
    return Annotation(source, kept, axis, slices, found | looked_for, labels.names, note)


def from_layers(taken: Annotation) -> Job[Collected]:
    """Job that makes an example of an annotation."""
    source = yield from load(taken.source)
    image = source.volume
    example = SupportExample(
        image,
        image.labels(taken.labels, names=taken.names),
        taken.axis,
        taken.slices,
        taken.looked_for,
        provenance=taken.provenance,
    )
    return (yield from _collected(example))


def several(annotations: Sequence[Annotation]) -> Job[list[Collected]]:
    """Job that makes an example of each of several annotations."""
    found = []
    for taken in annotations:
        found.append((yield from from_layers(taken)))
    return found


def from_files(image: str, labels: str) -> Job[Collected]:
    """Job that makes an example of an image file and a label file."""
    yield Progress(0, 2, f"Reading {Path(image).name}")
    return (yield from _collected(read_example(image, labels)))


def from_set(path: str) -> Job[tuple[SupportSet, dict[str, Thumbnail]]]:
    """Job that reads a saved support set, and the picture of each example by hash."""
    yield Progress(0, 2, f"Reading {Path(path).name}")
    support = read_support(path)
    pictures = {}
    for number, example in enumerate(support.examples):
        yield Progress(1 + number, 1 + len(support.examples), "Drawing examples")
        pictures[example.content_hash] = thumbnail(example)
    return support, pictures


def to_set(support: SupportSet, path: str) -> Job[Path]:
    """Job that saves a support set."""
    yield Progress(0, 1, f"Writing {Path(path).name}")
    return write_support(support, path)


def _collected(example: SupportExample) -> Job[Collected]:
    yield Progress(1, 2, "Looking at the example")
    # The hash is computed here, not in the window's thread, and kept by the example.
    _ = example.content_hash
    return Collected(example, thumbnail(example))
