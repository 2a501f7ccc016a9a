"""Split: which volume is trained on, which one chooses, and which one only judges.

Owns the list of volumes, written down by patient before training, and its checks. Benchmarks read the same list.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.train.entry import ANATOMIES, USES, Entry

_TEXTS = ("use", "group", "patient", "image", "labels", "anatomy")
_REQUIRED = {"use", "group", "patient"}


def entries(folder: Path, split: Path | None = None) -> list[Entry]:
    """The volumes of a split.

    Parameters
    ----------
    folder
        What the paths in the split are relative to.
    split
        A TOML file of ``[[volume]]`` tables with use, group, patient and image or labels or both, and perhaps anatomy,
        spacing_mm and names (default: the one that the shipped network was trained with). See
        :class:`~voxelsmith.train.entry.Entry`; an entry without image always has an anatomy, "plain" if it names none.

    Raises
    ------
    FormatError
        If there is no such file, or it is no TOML.
    InputError
        For a table that is no volume, or a patient with more than one use.
    """
    uses: dict[str, str] = {}
    found = []
    for table in _tables(split):
        entry = _entry(folder, table)
        if uses.setdefault(entry.patient, entry.use) != entry.use:
            raise InputError(
                f"Patient {entry.patient} has two uses in the split, {uses[entry.patient]} and {entry.use}; whoever is "
                "trained on cannot judge, so give all volumes of a patient one use."
            )
        found.append(entry)
    return found


def learning_entries(folder: Path, split: Path | None = None) -> tuple[list[Entry], list[Entry]]:
    """The volumes to train on and those to validate on, all of which are there.

    Parameters
    ----------
    folder, split
        As for :func:`entries`.

    Raises
    ------
    FormatError
        As :func:`entries` does, or if files are missing.
    InputError
        As :func:`entries` does, or if there is nothing to train on.
    """
    listed = entries(folder, split)
    train, validate = ([e for e in listed if e.use == use] for use in ("train", "validate"))
    if not train:
        raise InputError('The split has no volume to train on; give some of its volumes use = "train".')
    missing = [path for entry in train + validate for path in entry.missing()]
    if missing:
        raise FormatError(
            f"{len(missing)} files of the split are not there, the first is {missing[0]}; "
            "name the folder that its paths are relative to, or use a split that lists your own volumes."
        )
    return train, validate


def _tables(split: Path | None) -> list[Any]:
    try:
        source = files("voxelsmith.train") / "promptable_split.toml" if split is None else split
        tables = tomllib.loads(source.read_text(encoding="utf-8")).get("volume", [])
    except OSError as error:
        raise FormatError(f"The split {split} cannot be read ({error.strerror}); check the path.") from error
    except ValueError as error:
        raise FormatError(f"The split {split} is no TOML file: {error}.") from error
    if not isinstance(tables, list):
        raise InputError(f"A split is a list of [[volume]] tables, in double brackets; {split} has another volume.")
    return tables


def _entry(folder: Path, table: Any) -> Entry:
    if not _is_volume(table):
        raise InputError(
            f"A volume of a split has use ({', '.join(USES)}), group, patient, image or labels or both, and perhaps "
            f"anatomy ({', '.join(ANATOMIES)}; needs labels), spacing_mm (three numbers above 0) and names (a word for "
            f"each label above 0), got {table}."
        )
    image, labels = (folder / table[key] if key in table else None for key in ("image", "labels"))
    anatomy = table.get("anatomy", "plain" if image is None else "")
    spacing = tuple(float(size) for size in table["spacing_mm"]) if "spacing_mm" in table else None
    names = tuple((int(label), name) for label, name in table.get("names", {}).items())
    return Entry(table["use"], table["group"], table["patient"], image, labels, anatomy, spacing, names)


def _is_volume(table: Any) -> bool:
    if not isinstance(table, Mapping) or set(table) - {*_TEXTS, "spacing_mm", "names"} or _REQUIRED - set(table):
        return False
    spacing, names = table.get("spacing_mm", [1, 1, 1]), table.get("names", {})
    return (
        isinstance(names, Mapping)
        and all(label.isdecimal() and int(label) and isinstance(n, str) and n.strip() for label, n in names.items())
        and all(isinstance(table[key], str) and table[key] for key in _TEXTS if key in table)
        and table["use"] in USES
        and ("image" in table or "labels" in table)
        and ("anatomy" not in table or (table["anatomy"] in ANATOMIES and "labels" in table))
        and isinstance(spacing, list)
        and len(spacing) == 3
        and all(isinstance(size, int | float) and 0 < size < float("inf") for size in spacing)
    )
