"""Split: which volume is trained on, which one chooses, and which one only judges.

Owns the list of volumes, written down by patient before training, and how they are read. Benchmarks read the same list.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import numpy as np

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.volume import Volume
from voxelsmith.io import read, read_labels
from voxelsmith.train.sample import Annotated, Labels

USES = ("train", "validate", "test")
_KEYS = {"use", "group", "patient", "image", "labels"}
# Light-sheet and confocal stacks that carry no voxel size; nearly isotropic after this.
_STACK_SPACING = {"img3d.tif": (2e-3, 1e-3, 1e-3), "mask3d.tif": (2e-3, 1e-3, 1e-3)}


@dataclass(frozen=True)
class Entry:
    """One volume of a split.

    Parameters
    ----------
    use
        One of :data:`USES`.
    group
        Kind of object, as benchmarks report it.
    patient
        Whoever it shows; one patient has one use.
    image, labels
        Files; one of the two may be missing.
    """

    use: str
    group: str
    patient: str
    image: Path | None
    labels: Path | None

    @cached_property
    def name(self) -> str:
        """Patient and file, for reports."""
        path = self.image or self.labels
        return f"{self.patient} {path.name.split('.')[0] if path else ''}".strip()

    def read_image(self) -> Volume:
        """The image; InputError if the entry has none."""
        if self.image is None:
            raise InputError(f"{self.name} has labels only; it serves synthetic images.")
        return _read_volume(self.image)

    def read_map(self) -> Annotated:
        """The labels alone, with an empty image; InputError if there are none."""
        if self.labels is None:
            raise InputError(f"{self.name} has no labels to make images from.")
        labels = np.asarray(read_labels(self.labels).array)
        return Annotated(np.zeros(labels.shape, np.float32), labels, read_labels(self.labels).spacing, self.name)

    def read_labels(self) -> Labels | None:
        """The labels on the image's grid, or None."""
        if self.labels is None:
            return None
        if ":" in self.labels.name or self.labels.suffix == ".tif":
            return np.asarray(_read_volume(self.labels).array).astype(np.int32)
        return np.asarray(read_labels(self.labels).array)


def _read_volume(path: Path) -> Volume:
    name, _, dataset = path.name.partition(":")
    if dataset:
        import h5py

        with h5py.File(path.with_name(name)) as handle:
            data = handle[dataset]
            return Volume(data[:], Affine.from_spacing(data.attrs["element_size_um"] * 1e-3), path.name)
    volume = read(path)
    if name in _STACK_SPACING:
        volume = Volume(np.asarray(volume.array), Affine.from_spacing(_STACK_SPACING[name]), path.name)
    return volume


def entries(folder: Path, split: Path | None = None) -> Iterator[Entry]:
    """The volumes of a split.

    Parameters
    ----------
    folder
        What the paths in the split are relative to.
    split
        A TOML file of ``[[volume]]`` tables with use, group, patient and image or labels or both (default: the one
        that the shipped network was trained with).

    Raises
    ------
    InputError
        For a file that is no such list, or a patient with more than one use.
    """
    text = (files("voxelsmith.train") / "promptable_split.toml").read_text() if split is None else split.read_text()
    try:
        tables = tomllib.loads(text).get("volume", [])
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"The split {split} is no TOML file: {error}.") from error
    uses: dict[str, str] = {}
    for table in tables:
        if set(table) - _KEYS or table.get("use") not in USES or not {"image", "labels"} & set(table):
            raise InputError(
                f"A volume of a split has use ({', '.join(USES)}), group, patient, and image or labels, got {table}."
            )
        if uses.setdefault(table["patient"], table["use"]) != table["use"]:
            raise InputError(f"Patient {table['patient']} has two uses in the split; training and judging need others.")
        image, labels = (folder / table[key] if key in table else None for key in ("image", "labels"))
        yield Entry(table["use"], table["group"], table["patient"], image, labels)
