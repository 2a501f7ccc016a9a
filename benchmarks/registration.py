"""Registration, side by side: Dice, HD95, folds, smoothness and CPU seconds of ours and of other tools.

    python benchmarks/registration.py [--data brain lung hippocampus contrasts]
        [--methods same-modality greedy ...] [--remap none|invert|fold] [--peers-python PATH]

Every registration runs in a process of its own on one thread; CPU seconds are those of the registration with its
affine stage, without starting, reading and writing. Labels are warped by each tool, nearest neighbour. SDlogJ and the
share of folds are those of the whole map inside the fixed foreground. Peers need ``--peers-python``, the Python of an
environment with antspyx, picsl-greedy, SimpleITK and itk-elastix. ``--remap`` changes the intensities of the fixed
image first: that is a registration across modalities. Set VOXELSMITH_DATA to the folder of development data.

The tissue files of the brain pair do not mean the same in both images (the CSF of one is cortex in the other), so what
is compared there are three classes of intensity by Otsu's thresholds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu

import learned_registration
from cases import data_folder
from registration_peers import CARRIED, METHODS
from voxelsmith.core.jacobian import folding_share, jacobian_determinant, sdlogj
from voxelsmith.core.metrics import dice, hd95

OURS = ("same-modality", "cross-modality", "other-contrast", "large-motion", "fast")
_HIPPOCAMPUS_PAIRS = 20
_CONTRASTS = 3
_CHOSEN_ON = 120
_FOREGROUND = 0.02
# Added to places, in millimetres, so that none of them is zero.
_FAR = 1000
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1"
)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images with labels, and the rows of the table that they count for."""

    group: str
    fixed: np.ndarray
    moving: np.ndarray
    fixed_labels: np.ndarray
    moving_labels: np.ndarray
    affine: np.ndarray
    moving_affine: np.ndarray


def brain() -> Iterator[Pair]:
    """Two T1-weighted brains, affinely aligned."""
    folder = data_folder() / "brain_pair"
    fixed, moving = (_array(folder / f"{name}.nii.gz") for name in "AB")
    yield Pair("brain, tissue by intensity", fixed, moving, _tissue(fixed), _tissue(moving), np.eye(4), np.eye(4))


def lung() -> Iterator[Pair]:
    """Every ordered pair of three lung MR, five lobes."""
    folder = data_folder() / "lung_mr"
    names = ("0004", "0006", "0007")
    for fixed in names:
        for moving in names:
            if fixed != moving:
                images = [nibabel.load(folder / f"{name}_image.nii.gz") for name in (fixed, moving)]
                labels = [_array(folder / f"{name}_lobes.nii.gz") for name in (fixed, moving)]
                arrays = [np.asarray(image.dataobj, np.float32) for image in images]
                yield Pair("lung lobes", *arrays, *labels, images[0].affine, images[1].affine)


def hippocampus() -> Iterator[Pair]:
    """Twenty pairs of subjects in the order of their numbers, from 121 on: settings were chosen on those up to 100."""
    paths = sorted((data_folder() / "hippocampus" / "images").glob("*.nii.gz"))
    paths = [path for path in paths if int(path.name.split(".")[0].rsplit("_", 1)[1]) > _CHOSEN_ON]
    for one, other in list(zip(paths[::2], paths[1::2], strict=False))[:_HIPPOCAMPUS_PAIRS]:
        images = [nibabel.load(path) for path in (one, other)]
        labels = [_array(path.parents[1] / "labels" / path.name) for path in (one, other)]
        arrays = [np.asarray(image.dataobj, np.float32) for image in images]
        yield Pair("hippocampus", *arrays, *labels, images[0].affine, images[1].affine)


def contrasts() -> Iterator[Pair]:
    """Two label maps of heads rendered in three random contrasts, both images alike, every second voxel of 1 mm."""
    for number, pair in enumerate(learned_registration.brain(_CONTRASTS)):
        volumes = pair.fixed, pair.moving, pair.fixed_labels, pair.moving_labels
        arrays = [np.asarray(volume.array, np.float32)[::2, ::2, ::2] for volume in volumes]
        affines = [volume.affine.matrix @ np.diag([2, 2, 2, 1]) for volume in volumes[:2]]
        yield Pair(f"contrast {number + 1}", *arrays, *affines)


DATA = {"brain": brain, "lung": lung, "hippocampus": hippocampus, "contrasts": contrasts}


def _array(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj, np.float32)


def _tissue(image: np.ndarray) -> np.ndarray:
    inside = image > _FOREGROUND
    classes = np.digitize(image, threshold_multiotsu(image[inside], 3)) + 1
    return np.where(inside, classes, 0).astype(np.float32)


def remapped(image: np.ndarray, how: str) -> np.ndarray:
    """Other intensities for the same anatomy; what is empty stays empty."""
    if how == "none":
        return image
    top = np.percentile(image, 99.5)
    inside, x = image > _FOREGROUND * top, np.clip(image / top, 0, 1)
    other = 1.05 - x if how == "invert" else 0.1 + 4 * x * (1 - x)
    return np.where(inside, other * top, 0).astype(np.float32)


def prepare(pair: Pair, folder: Path, how: str) -> None:
    """Write what a method needs."""
    places = np.einsum("ab,bijk->aijk", pair.moving_affine[:3, :3], np.indices(pair.moving.shape, np.float32))
    places += _FAR + pair.moving_affine[:3, 3].reshape(3, 1, 1, 1)
    volumes = {"moving": pair.moving, "labels": pair.moving_labels}
    volumes.update({f"place_{axis}": place for axis, place in enumerate(places)})
    _write(folder / "fixed.nii.gz", remapped(pair.fixed, how), pair.affine)
    for name, array in volumes.items():
        _write(folder / f"{name}.nii.gz", array, pair.moving_affine)


def _write(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    image = nibabel.Nifti1Image(array.astype(np.float32), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nibabel.save(image, path)


def ours(name: str, folder: Path) -> float:
    """Register with a preset in this process; writes the same files as a peer does, returns CPU seconds."""
    import torch

    from voxelsmith.core.progress import run_job
    from voxelsmith.io import read, read_labels, write
    from voxelsmith.register.pipeline import register
    from voxelsmith.register.presets import preset
    from voxelsmith.register.request import RegistrationRequest

    torch.set_num_threads(1)
    fixed, moving = read(folder / "fixed.nii.gz"), read(folder / "moving.nii.gz")
    began = time.process_time()
    found = run_job(register(RegistrationRequest(fixed, moving, settings=preset(name, fixed))))
    seconds = time.process_time() - began
    for carried in CARRIED:
        path, target = folder / f"{carried}.nii.gz", folder / f"warped_{carried}.nii.gz"
        volume = read_labels(path) if carried == "labels" else read(path)
        how = "nearest" if carried == "labels" else "linear"
        write(found.transform.pull_image(volume, fixed.affine, fixed.grid, how), target)
    return seconds


def identity(folder: Path) -> float:
    """Carry everything over as the headers say."""
    from voxelsmith.core.resample import resample_to
    from voxelsmith.io import read, read_labels, write

    fixed = read(folder / "fixed.nii.gz")
    for carried in CARRIED:
        path = folder / f"{carried}.nii.gz"
        volume = read_labels(path) if carried == "labels" else read(path)
        write(resample_to(volume, fixed.affine, fixed.grid), folder / f"warped_{carried}.nii.gz")
    return 0.0


def run(method: str, folder: Path, peers_python: str | None) -> tuple[float, float]:
    """Run a method in a process of its own; CPU seconds of the registration and the process's peak memory in MiB."""
    here = Path(__file__).resolve()
    if method in METHODS:
        command = [peers_python or sys.executable, str(here.with_name("registration_peers.py")), method, str(folder)]
    else:
        command = [sys.executable, str(here), "--one", method, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **_ONE_THREAD}, check=False)
    if done.returncode:
        raise RuntimeError(f"{method} failed ({done.returncode}): {done.stderr.strip().splitlines()[-1:]}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return answer["seconds"], answer["mebibytes"]


def judged(pair: Pair, folder: Path) -> dict[str, float]:
    """Figures of a method's files."""
    warped = np.rint(_array(folder / "warped_labels.nii.gz"))
    places = np.stack([_array(folder / f"warped_place_{axis}.nii.gz") for axis in range(3)])
    # Beyond the moving image there are zeros, and next to it mixtures with them.
    counted = np.all(places > _FAR / 2, axis=0)
    places = np.where(counted, places - _FAR, 0)
    back = np.linalg.inv(pair.affine)
    index = np.einsum("ab,bijk->aijk", back[:3, :3], places) + back[:3, 3].reshape(3, 1, 1, 1)
    determinant = jacobian_determinant(index - np.indices(pair.fixed.shape))
    counted = ndimage.binary_erosion(counted, np.ones((3, 3, 3)), iterations=2)
    counted &= pair.fixed > np.percentile(pair.fixed, 99.5) * _FOREGROUND
    spacing = np.linalg.norm(pair.affine[:3, :3], axis=0)
    values = [v for v in np.unique(pair.fixed_labels) if v and (pair.moving_labels == v).any()]
    return {
        "dice": float(np.mean([dice(pair.fixed_labels == v, warped == v) for v in values])),
        "hd95": float(np.mean([hd95(pair.fixed_labels == v, warped == v, spacing) for v in values])),
        "folds": 100 * folding_share(determinant[counted]),
        "sdlogj": sdlogj(determinant[counted]),
    }


def main() -> None:
    """Run everything and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=list(DATA))
    parser.add_argument("--methods", nargs="*", choices=["identity", *OURS, *METHODS])
    parser.add_argument("--pairs", type=int, default=None, help="only the first few pairs of each set")
    parser.add_argument("--remap", default="none", choices=["none", "invert", "fold"])
    parser.add_argument("--peers-python", help="run the peers with this Python")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        method, folder = arguments.one[0], Path(arguments.one[1])
        seconds = identity(folder) if method == "identity" else ours(method, folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "mebibytes": peak}))
        return
    peers = [*METHODS] if arguments.peers_python else []
    methods = arguments.methods or ["identity", *OURS, *peers]
    for name in arguments.data:
        pairs = list(DATA[name]())[: arguments.pairs]
        print(f"\n{name}, {len(pairs)} pairs, fixed intensities: {arguments.remap}\n")
        print(
            "| method | set | Dice | HD95 mm | folds % | SDlogJ | CPU s | peak MiB |\n|---|---|---|---|---|---|---|---|"
        )
        for method in methods:
            compare(method, pairs, arguments)


def compare(method: str, pairs: list[Pair], arguments: argparse.Namespace) -> None:
    """Print the rows of a method: the means over the pairs of each group."""
    rows: dict[str, list[list[float]]] = {}
    for pair in pairs:
        with tempfile.TemporaryDirectory() as name:
            prepare(pair, Path(name), arguments.remap)
            try:
                seconds, peak = run(method, Path(name), arguments.peers_python)
            except RuntimeError as error:
                print(f"| {method} | {pair.group} | {error} |", flush=True)
                continue
            figures = judged(pair, Path(name))
        rows.setdefault(pair.group, []).append([*figures.values(), seconds, peak])
    for group, found in rows.items():
        d, h, f, s, cpu, peak = np.mean(found, axis=0)
        print(f"| {method} | {group} | {d:.4f} | {h:.2f} | {f:.4f} | {s:.2f} | {cpu:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
