"""Entry: one volume that serves training or judging, and how it is read.

Owns what is the same for every kind of file: which frame is taken, datasets in HDF5 files, a voxel size that the file
lacks, and what labels may hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, InputError, ModelUnavailableError
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import read, read_labels
from voxelsmith.train.sample import Annotated

USES = ("train", "validate", "test")
ANATOMIES = ("plain", "freesurfer")
_HDF5 = re.compile(r"(.+\.(?:h5|hdf5)):(.+)")
_HIGHEST_OF_MAP = 32_767


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
        FreeSurfer's numbers, "plain" for any other; empty if they do not.
    spacing_mm
        Voxel size along i, j and k, for files that carry none or a wrong one.
    names
        Pairs of a label and what it is called; labels without a name are not among them.
    """

    use: str
    group: str
    patient: str
    image: Path | None
    labels: Path | None
    anatomy: str = ""
    spacing_mm: tuple[float, ...] | None = None
    names: tuple[tuple[int, str], ...] = ()

    @cached_property
    def name(self) -> str:
        """Patient and file, for reports."""
        path = self.image or self.labels
        return f"{self.patient} {path.name.split('.')[0] if path else ''}".strip()

    def missing(self) -> list[Path]:
        """Its files that are not there."""
        paths = [_file_and_dataset(path)[0] for path in (self.image, self.labels) if path is not None]
        return [path for path in paths if not path.exists()]

    def read_image(self) -> Volume:
        """The image: the first frame of several, the luminance of a colour one; InputError if the entry has none."""
        if self.image is None:
            raise InputError(f"{self.name} has labels only; it serves synthetic images.")
        volume = self._read(self.image, labels=False)
        return volume.luminance() if volume.is_colour else volume.frame()

    def read_labels(self) -> Volume | None:
        """The labels, whole numbers from 0, or None; InputError if the file holds others."""
        if self.labels is None:
            return None
        volume = self._read(self.labels, labels=True).frame()
        lowest = int(np.asarray(volume.array).min())
        if lowest < 0:
            raise InputError(f"Labels are 0 for background or above, but {self.name} has {lowest}; renumber them.")
        return volume

    def read_map(self) -> Annotated:
        """The labels alone, with an empty image; InputError if there are none, or some are above 32 767."""
        volume = self.read_labels()
        if volume is None:
            raise InputError(f"{self.name} has no labels to make images from.")
        labels = np.asarray(volume.array)
        highest = int(labels.max())
        if highest > _HIGHEST_OF_MAP:
            raise InputError(f"Images are made of labels up to {_HIGHEST_OF_MAP}, but {self.name} has {highest}.")
        labels = labels.astype(np.min_scalar_type(highest))
        return Annotated(np.zeros(labels.shape, np.float32), labels, volume.spacing, self.name)

    def _read(self, path: Path, *, labels: bool) -> Volume:
        file, dataset = _file_and_dataset(path)
        if dataset:
            return _read_hdf5(file, dataset, self.spacing_mm, LabelVolume if labels else Volume)
        volume = read_labels(file) if labels else read(file)
        return volume if self.spacing_mm is None else replace(volume, affine=Affine.from_spacing(self.spacing_mm))


def _file_and_dataset(path: Path) -> tuple[Path, str]:
    """The file, and the name of the dataset in it, which is empty for all but HDF5."""
    found = _HDF5.fullmatch(str(path))
    return (Path(found[1]), found[2]) if found else (path, "")


def _read_hdf5(file: Path, dataset: str, spacing: tuple[float, ...] | None, kind: type[Volume]) -> Volume:
    """A dataset with its axes as stored; ``element_size_um`` gives the voxel size if ``spacing`` does not."""
    try:
        import h5py
    except ImportError as error:
        raise ModelUnavailableError(f"{file.name} needs h5py, which is not installed; run pip install h5py.") from error
    try:
        with h5py.File(file) as handle:
            data = handle[dataset]
            array, size = data[:], spacing or data.attrs["element_size_um"] * 1e-3
    except KeyError as error:
        raise FormatError(
            f"{file} should hold a dataset {dataset} with the attribute element_size_um, but one of them is missing; "
            "name another dataset, or give spacing_mm."
        ) from error
    except OSError as error:
        raise FormatError(f"{file} cannot be read as HDF5 ({error}); check the path.") from error
    return kind(array, Affine.from_spacing(size), f"{file.name}:{dataset}")
