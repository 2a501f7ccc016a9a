"""Pairs: a folder of images and label maps, found by their names.

Owns the two layouts that are understood, which of the pairs judge, and how they become annotated examples. A split says
more: who the patients are, what each volume is for, what the labels are called.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.train.entry import Entry

_EVERY = 5
_ENDINGS = {"image": ("_image", "_images"), "labels": ("_label", "_labels")}


def paired_entries(folder: Path) -> list[Entry]:
    """The pairs of a folder, sorted by name; every fifth one is to validate on, the others to train on.

    Parameters
    ----------
    folder
        Either has folders ``images`` and ``labels`` with files of the same names, or files ``NAME_image`` and
        ``NAME_label``, whatever their formats. Each pair counts as a patient.

    Raises
    ------
    InputError
        If there is no pair, an image has no labels or labels have no image, or two files have one name.
    """
    apart = (folder / "images").is_dir() and (folder / "labels").is_dir()
    if apart:
        images, labels = (_by_name(sorted((folder / kind).iterdir()), ("",)) for kind in ("images", "labels"))
    else:
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        images, labels = (_by_name(files, endings) for endings in _ENDINGS.values())
    if not images and not labels:
        raise InputError(
            f"{folder} should hold folders images and labels with files of the same names, or files NAME_image and "
            "NAME_label, but has neither; rename them, or list them in a split."
        )
    alone = sorted(images.keys() ^ labels.keys())
    if alone:
        raise InputError(
            f"Each image in {folder} needs labels and each labels an image, but {len(alone)} have no partner, the "
            f"first is {alone[0]}; add what is lacking, or list the pairs in a split."
        )
    group = folder.resolve().name or "pairs"
    return [
        Entry("validate" if n % _EVERY == 0 else "train", group, name, images[name], labels[name])
        for n, name in enumerate(images, 1)
    ]


@dataclass(frozen=True, eq=False)
class AnnotatedPairs:
    """The pairs of a folder, all slices of which are annotated.

    Parameters
    ----------
    support
        What is learned from.
    judges
        What judges.
    """

    support: SupportSet
    judges: tuple[SupportExample, ...]


def read_pairs(
    folder: Path, names: Mapping[int, str] | None = None, left_out: Collection[int] = ()
) -> Job[AnnotatedPairs]:
    """Read the pairs of a folder, as a job.

    Parameters
    ----------
    folder
        See :func:`paired_entries`.
    names
        Label value to name, before what the files say.
    left_out
        Labels that count as background.

    Raises
    ------
    InputError
        As :func:`paired_entries` does, or if the labels to learn from are empty.
    FormatError, GeometryError
        If a file cannot be read, or labels lie on another grid than their image.
    """
    entries = paired_entries(folder)
    found: list[tuple[Entry, Volume, LabelVolume]] = []
    for number, entry in enumerate(entries):
        yield Progress(number, len(entries), f"Reading {entry.name}")
        volume, labels = entry.read_image(), entry.read_labels()
        assert labels is not None
        if not isinstance(labels, LabelVolume):
            labels = volume.labels(labels.array)
        array = np.asarray(labels.array)
        if left_out:
            array = np.where(np.isin(array, list(left_out)), 0, array)
        found.append((entry, volume, replace(labels, array=array, names={**labels.names, **(names or {})})))
    classes = frozenset(value for entry, _, labels in found if entry.use == "train" for value in labels.values())
    if not classes:
        raise InputError(f"The labels in {folder} that are learned from are empty; add pairs with something labelled.")
    support, judges = SupportSet(), []
    for entry, volume, labels in found:
        example = SupportExample(volume, labels, classes=classes, provenance=entry.name)
        if entry.use == "train":
            support = support.add(example)
        else:
            judges.append(example)
    return AnnotatedPairs(support, tuple(judges))


def _by_name(files: Iterable[Path], endings: tuple[str, ...]) -> dict[str, Path]:
    """Files by their names without format and ending; those with another ending, and hidden ones, are left out."""
    found: dict[str, Path] = {}
    for file in files:
        name = file.name.split(".")[0]
        ending = next((end for end in endings if name.endswith(end)), None)
        if not name or ending is None:
            continue
        name = name.removesuffix(ending)
        if found.setdefault(name, file) != file:
            raise InputError(f"{found[name]} and {file} have one name; keep one of them in the folder.")
    return found
