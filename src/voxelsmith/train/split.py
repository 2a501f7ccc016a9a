"""Split: which volume is trained on, which one chooses, and which one only judges.

Owns the list of volumes, written down by patient before training, its checks, and how its volumes are read. Benchmarks
read the same list.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, InputError, ModelUnavailableError
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import read, read_labels
from voxelsmith.train.sample import Annotated

USES = ("train", "validate", "test")
ANATOMIES = ("plain", "freesurfer")
_KEYS = {"use", "group", "patient", "image", "labels", "anatomy", "spacing_mm"}
_HDF5 = re.compile(r"(?P<file>.+\.(?:h5|hdf5)):(?P<dataset>.+)")
_HIGHEST = np.iinfo(np.int16).max


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
        Files; one of the two may be missing. ``file.h5:name`` is a dataset in an HDF5 file.
    anatomy
        One of :data:`ANATOMIES` if the labels cover enough of a body to make images from: "freesurfer" for a head with
        FreeSurfer's numbers, "plain" for any other. Empty if not.
    spacing
        Voxel size along i, j and k in millimetres, for files that carry none or a wrong one.
    """

    use: str
    group: str
    patient: str
    image: Path | None
    labels: Path | None
    anatomy: str = ""
    spacing: tuple[float, float, float] | None = None

    @cached_property
    def name(self) -> str:
        """Patient and file, for reports."""
        path = self.image or self.labels
        return f"{self.patient} {path.name.split('.')[0] if path else ''}".strip()

    def read_image(self) -> Volume:
        """The image, its first frame if it has several, the luminance of a colour one; InputError if there is none."""
        if self.image is None:
            raise InputError(f"{self.name} has labels only; it serves synthetic images.")
        volume = self._placed(_read_dataset(self.image, self.spacing) or read(self.image))
        return volume.luminance() if volume.is_colour else volume.frame()

    def read_labels(self) -> LabelVolume | None:
        """The labels, or None; InputError if they are not whole numbers from 0."""
        if self.labels is None:
            return None
        data = _read_dataset(self.labels, self.spacing)
        volume = self._placed(read_labels(self.labels) if data is None else LabelVolume(**vars(data))).frame()
        if (lowest := np.asarray(volume.array).min()) < 0:
            raise InputError(f"Labels are 0 for background and above, but those of {self.name} go from {lowest}.")
        return volume

    def read_map(self) -> Annotated:
        """The labels alone, with an empty image; InputError if there are none or their numbers are above 32 767."""
        volume = self.read_labels()
        if volume is None:
            raise InputError(f"{self.name} has no labels to make images from.")
        labels = np.asarray(volume.array)
        if (highest := int(labels.max())) > _HIGHEST:
            raise InputError(f"Images are made of labels up to {_HIGHEST}, but {self.name} has {highest}; renumber them.")
        labels = labels.astype(np.min_scalar_type(highest))
        return Annotated(np.zeros(labels.shape, np.float32), labels, volume.spacing, self.name)

    def missing(self) -> list[Path]:
        """Its files that are not there."""
        paths = [_dataset_of(path)[0] for path in (self.image, self.labels) if path is not None]
        return [path for path in paths if not path.exists()]

    def _placed[V: Volume](self, volume: V) -> V:
        return volume if self.spacing is None else replace(volume, affine=Affine.from_spacing(self.spacing))
