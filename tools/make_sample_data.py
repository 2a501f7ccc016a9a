"""Rebuild the folder ``sample_data`` from public packages, so that anyone can check where its voxels come from.

Owns the list of sources (package, version, SHA-256), what is cut out of each, and the licence text that goes beside it.
It downloads ``pyradiomics`` and ``nilearn`` with pip and ``mricron-data`` with apt-get, so it runs on Debian or Ubuntu;
files that already lie in the download folder are used as they are. The phantom comes from ``make_phantom.py``.

Run ``python tools/make_sample_data.py [--downloads DIR] [--out sample_data]``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK
from scipy import ndimage

from make_phantom import save_nifti, write_phantom

ROOT = Path(__file__).resolve().parents[1]

# Both lungs around the nodule of lung1 (stored order i, j, k: left, posterior, superior), 194 x 165 x 125 mm.
CHEST = (slice(90, 430), slice(190, 480), slice(20, 45))

MNI_NOTICE = """\
The MNI152 template (ICBM 152 nonlinear symmetric 2009a) and the Colin27 brain come from the McConnell Brain Imaging
Centre. MNI publishes its templates with this notice:

Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill
University. Permission to use, copy, modify, and distribute this software and its documentation for any purpose and
without fee is hereby granted, provided that the above copyright notice appear in all copies. The authors and McGill
University make no representations about the suitability of this software for any purpose. It is provided "as is"
without express or implied warranty. The authors are not responsible for any data loss, equipment damage, property loss,
or injury to subjects or patients resulting from the use or misuse of this software package.

The template was taken from the nilearn package, whose own licence follows.

"""


@dataclass(frozen=True)
class Package:
    """A package archive: its file name, its digest, and the command that fetches it into the working directory."""

    filename: str
    sha256: str
    fetch: tuple[str, ...]

    def locate(self, downloads: Path) -> Path:
        """Path of the archive, downloaded when it is not there; SystemExit when its digest is not the expected one."""
        path = downloads / self.filename
        if not path.exists():
            subprocess.run(self.fetch, cwd=downloads, check=True)
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != self.sha256:
            sys.exit(f"{path} should have SHA-256 {self.sha256}, got {found}; delete it and try again.")
        return path


PIP = (sys.executable, "-m", "pip", "download", "--no-deps")
PYRADIOMICS = Package(
    "pyradiomics-3.0.1.tar.gz",
    "47c57f441d6cb7973fa3b2ea48d3948df78e3348e1c69e1e2ff19001601fc2f5",
    (*PIP, "--no-build-isolation", "--no-binary", "pyradiomics", "pyradiomics==3.0.1"),
)
NILEARN = Package(
    "nilearn-0.14.1-py3-none-any.whl",
    "725206484e9fb3f6691f9c2d20204a068759d5072f12055324702ee0cb2bbe8a",
    (*PIP, "nilearn==0.14.1"),
)
MRICRON = Package(
    "mricron-data_1.2.20211006+dfsg-4_all.deb",
    "d40aa0ed66cf89bf6cafa049ad3884703c9d975c2ee2737525b7196528df9d6f",
    ("apt-get", "download", "mricron-data=1.2.20211006+dfsg-4"),
)


def itk_volume(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels ``[i, j, k]`` as stored and the affine to RAS millimetres."""
    image = SimpleITK.ReadImage(path)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).T, np.diag([-1, -1, 1, 1]) @ affine


def radiology(archive: Path, out: Path) -> None:
    """Chest CT with its nodule, and brain MR with its tumour."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(archive) as tar:
        source = Path(folder)
        root = archive.name.removesuffix(".tar.gz")
        for name, window in {"lung1": CHEST, "brain1": (slice(None),) * 3}.items():
            for kind, dtype in {"image": np.int16, "label": np.uint8}.items():
                member = f"{root}/data/{name}_{kind}.nrrd"
                tar.extract(member, source, filter="data")
                array, affine = itk_volume(source / member)
                if kind == "label" and array[window].sum() != array.sum():
                    sys.exit(f"The crop of {name} cuts its mask.")
                start = [s.start or 0 for s in window]
                affine[:3, 3] += affine[:3, :3] @ start
                save_nifti(out / f"{name}_{kind}.nii.gz", np.ascontiguousarray(array[window], dtype), affine, code=1)
        tar.extract(f"{root}/LICENSE.txt", source, filter="data")
        shutil.copyfile(source / root / "LICENSE.txt", out / "licenses" / "pyradiomics.txt")
    write_names(out, "lung1_label", {1: "nodule"})
    write_names(out, "brain1_label", {1: "tumour"})


def halved(path: Path, is_labels: bool) -> tuple[np.ndarray, np.ndarray]:
    """Every second voxel of a 1 mm volume (images smoothed first, labels picked), and the affine of that grid."""
    image = nib.load(path)
    array = np.asanyarray(image.dataobj)
    if not is_labels:
        array = np.round(ndimage.gaussian_filter(array.astype(np.float32), 0.8))
    return np.ascontiguousarray(array[::2, ::2, ::2], np.uint8), image.affine @ np.diag([2, 2, 2, 1])


def atlases(deb: Path, wheel: Path, out: Path) -> None:
    """Colin27 with the AAL parcellation, and the MNI152 template, at 2 mm."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg-deb", "-x", deb, folder], check=True)
        templates = Path(folder, "usr/share/mricron/templates")
        save_nifti(out / "colin27_t1.nii.gz", *halved(templates / "ch2bet.nii.gz", is_labels=False), code=4)
        save_nifti(out / "colin27_aal.nii.gz", *halved(templates / "aal.nii.gz", is_labels=True), code=4)
        rows = [line.split() for line in (templates / "aal.nii.txt").read_text().splitlines() if line.strip()]
        write_names(out, "colin27_aal", {int(row[0]): row[1] for row in rows})
        copyright_file = Path(folder, "usr/share/doc/mricron-data/copyright")
        shutil.copyfile(copyright_file, out / "licenses" / "mricron-data.txt")
        with zipfile.ZipFile(wheel) as archive:
            member = "nilearn/datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
            template = Path(archive.extract(member, folder))
            notice = MNI_NOTICE + archive.read("nilearn-0.14.1.dist-info/licenses/LICENSE").decode()
        save_nifti(out / "mni152_t1.nii.gz", *halved(template, is_labels=False), code=4)
        (out / "licenses" / "mni.txt").write_text(notice)


def write_names(out: Path, stem: str, names: dict[int, str]) -> None:
    """Write what the label values stand for, as JSON beside the labels."""
    text = json.dumps({str(value): name for value, name in names.items()}, indent=1)
    (out / f"{stem}_names.json").write_text(text + "\n")


def build(downloads: Path, out: Path) -> None:
    """Rebuild every sample volume in ``out``; README.md there is written by hand and left alone."""
    (out / "licenses").mkdir(parents=True, exist_ok=True)
    downloads.mkdir(parents=True, exist_ok=True)
    radiology(PYRADIOMICS.locate(downloads), out)
    atlases(MRICRON.locate(downloads), NILEARN.locate(downloads), out)
    write_phantom(out)
    write_names(out, "glioma_phantom_label", {1: "necrosis", 2: "oedema", 4: "enhancing tumour"})
    shutil.copyfile(ROOT / "LICENSE", out / "licenses" / "voxelsmith.txt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=build.__doc__)
    parser.add_argument("--downloads", type=Path, default=ROOT / "build" / "downloads")
    parser.add_argument("--out", type=Path, default=ROOT / "sample_data")
    arguments = parser.parse_args()
    build(arguments.downloads, arguments.out)
