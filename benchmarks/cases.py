"""Cases: real images with the right answer, from the folder that VOXELSMITH_DATA names.

Owns which volumes the benchmarks use and how they are read. Nothing here is shipped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine
from voxelsmith.core.volume import Volume
from voxelsmith.io import read, read_labels
from voxelsmith.train.split import entries


@dataclass(frozen=True, eq=False)
class Case:
    """One object: its group and name, the image, and the right mask."""

    group: str
    name: str
    image: Volume
    truth: npt.NDArray[np.bool_]


def data_folder() -> Path:
    """The folder of development data; leaves with a sentence if it is not set."""
    folder = os.environ.get("VOXELSMITH_DATA")
    if not folder or not Path(folder).is_dir():
        sys.exit("Set VOXELSMITH_DATA to the folder of development data.")
    return Path(folder)


def ct_organs(least_voxels: int = 500) -> Iterator[Case]:
    """Every organ of the abdominal CT (silver labels) above a size."""
    folder = data_folder() / "ct_abdomen"
    image, labels = read(folder / "image.nii.gz"), read_labels(folder / "labels.nii.gz")
    image = Volume(np.asarray(image.array).astype(np.int16), image.affine, "ct")
    for value in labels.values():
        mask = labels.mask(value)
        if mask.sum() > least_voxels:
            yield Case("CT organs (silver)", str(value), image, mask)


def sarcomas() -> Iterator[Case]:
    """Soft-tissue sarcomas in CT, T1-weighted MR and PET (expert)."""
    for patient in sorted((data_folder() / "sarcoma_ct_pet_mr").iterdir()):
        for modality in ("CT", "MR_T1", "PET"):
            image = read(patient / f"{modality}_image.nii.gz")
            mask = read_labels(patient / f"{modality}_mask.nii.gz").mask()
            yield Case(f"Sarcoma {modality.replace('_', ' ')}", patient.name, image, mask)


def gliomas() -> Iterator[Case]:
    """Whole tumour in FLAIR (expert)."""
    for patient in sorted((data_folder() / "glioma_2mod").iterdir()):
        image, labels = read(patient / "flair.nii.gz"), read_labels(patient / "labels.nii.gz")
        yield Case("Glioma WT, FLAIR", patient.name, image, labels.mask())


def nuclei(every: int = 4) -> Iterator[Case]:
    """Nuclei in confocal and light-sheet stacks (expert): of those that are not fragments, every fourth."""
    import h5py
    import tifffile

    stacks: list[tuple[str, Any, Any, Any, int]] = []
    for path in sorted((data_folder() / "nuclei_confocal").glob("*_mini.h5")):
        with h5py.File(path) as handle:
            spacing = np.array(handle["raw"].attrs["element_size_um"]) * 1e-3
            stacks.append((path.stem, handle["raw"][:], handle["label"][:], spacing, 500))
    folder = data_folder() / "nuclei_stardist"
    pair = tifffile.imread(folder / "img3d.tif"), tifffile.imread(folder / "mask3d.tif")
    stacks.append(("stardist", *pair, np.array([2.0, 1.0, 1.0]) * 1e-3, 300))
    for stack, raw, labels, spacing, least_voxels in stacks:
        image = Volume(raw, Affine.from_spacing(spacing), stack)
        values, sizes = np.unique(labels, return_counts=True)
        for value in values[(values > 0) & (sizes > least_voxels)][::every]:
            yield Case("Nuclei", f"{stack} {value}", image, labels == value)


def untouched() -> Iterator[Case]:
    """Volumes that no parameter of the training-free engine was chosen on, a few from each of four folders."""
    folder = data_folder()
    pairs = [
        ("Hippocampus parts, MR", path, folder / "hippocampus" / "labels" / path.name)
        for path in sorted((folder / "hippocampus" / "images").glob("*.nii.gz"))[::10]
    ]
    cord = folder / "spinal_cord"
    pairs += [
        ("Spinal cord, MR", cord / "t1w.nii.gz", cord / "t1w_seg-manual.nii.gz"),
        ("Spinal cord, MR", cord / "t2.nii.gz", cord / "t2_cord.nii.gz"),
        ("Organs, MR (silver)", folder / "mr_abdomen" / "image.nii.gz", folder / "mr_abdomen" / "labels.nii.gz"),
    ]
    pairs += [
        ("Lung lobes, MR", path, path.with_name(path.name.replace("image", "lobes")))
        for path in sorted((folder / "lung_mr").glob("*_image.nii.gz"))
    ]
    for group, image_path, label_path in pairs:
        image, labels = read(image_path), read_labels(label_path)
        for value in labels.values():
            mask = labels.mask(value)
            if mask.sum() > 300:
                yield Case(group, f"{image_path.stem} {value}", image, mask)


def held_out(group: str = "") -> Iterator[Case]:
    """The test entries of the split that the embedded network was trained by: patients that no training saw.

    Every object above 300 voxels; of the nuclei every third. Gliomas count as whole tumour in FLAIR, and as tumour core
    and enhancing tumour in T1c. ``group`` takes one group alone.
    """
    for entry in entries(data_folder()):
        if entry.use != "test" or group not in ("", entry.group):
            continue
        image, labels = entry.read_image(), np.asarray(entry.read_labels().array)
        if entry.group == "Glioma":
            parts = {"WT": (1, 2, 3, 4)} if "flair" in entry.name else {"TC": (1, 3, 4), "ET": (4,)}
        else:
            values, sizes = np.unique(labels, return_counts=True)
            values = values[(values > 0) & (sizes > 300)][:: 3 if entry.group == "Nuclei" else 1]
            parts = {str(value): (value,) for value in values.tolist()}
        for part, values in parts.items():
            truth = np.isin(labels, values)
            if truth.sum() > 300:
                yield Case(entry.group, f"{entry.name} {part}", image, truth)


def development_cases() -> Iterator[Case]:
    """Everything that the engine was developed on, in the order that the random search counted by."""
    yield from ct_organs()
    yield from sarcomas()
    yield from gliomas()
    yield from nuclei()
