"""Pairs: a folder of images and label maps, found by their names.

Owns the two layouts that are understood, and which of the pairs judge. A split says more: who the patients are, what
each volume is for, what the labels are called.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from voxelsmith.core.errors import InputError
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
