"""What a learned start adds to the fast preset: Dice, folds and CPU seconds on pairs that no training saw.

    python benchmarks/learned_registration.py --weights FILE_OR_RUN_DIR [--data brain hippocampus] [--pairs N]

The pairs are those of the test subjects of H-ViT's split: images rendered at 1 mm from the two label maps that were
held out, without what nobody annotates, both of a pair in one random contrast with noise of their own; and twenty pairs
of hippocampi. Every method begins with the same affine map, which is found before and not counted. Everything runs in
this process on one thread. Set VOXELSMITH_DATA to the folder of development data.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from cases import data_folder
from voxelsmith.core.jacobian import folding_share, sdlogj
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.register.pipeline import register
from voxelsmith.register.presets import preset
from voxelsmith.register.request import AffineSettings, RegistrationRequest, RegistrationSettings
from voxelsmith.train.anatomy import FREESURFER, compacted, renumbered
from voxelsmith.train.appearance import render
from voxelsmith.train.entry import Entry
from voxelsmith.train.hvit import SPLIT
from voxelsmith.train.registration_pairs import in_the_contrast_of
from voxelsmith.train.split import entries

_PAIRS = {"brain": 12, "hippocampus": 20}
_MARGIN = 6
_LEAST_VOXELS = 100


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images with labels."""

    fixed: Volume
    moving: Volume
    fixed_labels: LabelVolume
    moving_labels: LabelVolume


def brain(count: int) -> Iterator[Pair]:
    """The two label maps in both directions by turns, each time in another contrast."""
    maps = [_brain_map(entry) for entry in _test("Brain structures")]
    unannotated = list(FREESURFER.unannotated)
    for n in range(count):
        rng = np.random.default_rng(n)
        still, other = (maps[n % 2], maps[1 - n % 2])
        whole = renumbered(np.arange(1 + max(int(np.max(m.array)) for m in maps)), FREESURFER.aliases)
        whole[np.isin(whole, unannotated)] = 0
        labels = [whole[np.asarray(m.array)] for m in (still, other)]
        flat = np.concatenate([x.ravel() for x in labels])
        flat, classes = compacted(flat, renumbered(np.arange(int(flat.max()) + 1), FREESURFER.pairs))
        tissues = [part.reshape(x.shape) for part, x in zip(np.split(flat, [labels[0].size]), labels, strict=True)]
        size = np.ones(3)
        fixed = render(rng, tissues[0], size, classes=classes, air=True)
        moving = in_the_contrast_of(rng, fixed, tissues[0], tissues[1], size)
        yield Pair(
            Volume(fixed, still.affine, "fixed"),
            Volume(moving, other.affine, "moving"),
            LabelVolume(labels[0].astype(np.int16), still.affine),
            LabelVolume(labels[1].astype(np.int16), other.affine),
        )


def _brain_map(entry: Entry) -> LabelVolume:
    """A label map, cropped to the brain."""
    volume = entry.read_labels()
    labels = np.asarray(volume.array)
    shown = ~np.isin(labels, [0, *FREESURFER.unannotated])
    sides = [np.flatnonzero(shown.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    low = [max(0, int(side[0]) - _MARGIN) for side in sides]
    box = tuple(slice(start, int(side[-1]) + 1 + _MARGIN) for start, side in zip(low, sides, strict=True))
    return LabelVolume(labels[box].astype(np.int16), volume.affine.shifted(low), entry.name)


def hippocampus(count: int) -> Iterator[Pair]:
    """Subjects in the order of their numbers, the first with the second, the third with the fourth."""
    listed = _test("Hippocampus, MR")
    for still, other in list(zip(listed[::2], listed[1::2], strict=False))[:count]:
        labels = [LabelVolume(np.asarray(v.array), v.affine) for v in (still.read_labels(), other.read_labels())]
        yield Pair(still.read_image(), other.read_image(), *labels)


DATA = {"brain": brain, "hippocampus": hippocampus}


def _test(group: str) -> list[Entry]:
    return [entry for entry in entries(data_folder(), SPLIT) if entry.use == "test" and entry.group == group]


def methods(fixed: Volume, weights: Path) -> dict[str, RegistrationSettings]:
    """The settings that are compared, all but for the affine part."""
    fast = replace(preset("fast", fixed), device="cpu")
    deformable = fast.deformable
    whole = preset("same-modality", fixed).deformable
    longer = replace(deformable, iterations=3 * deformable.iterations, tolerance=deformable.tolerance / 3)
    return {
        "affine": replace(fast, deformable=None),
        "fast": fast,
        "fast, three times the steps": replace(fast, deformable=longer),
        "same-modality": replace(fast, deformable=whole),
        "same-modality, ten steps a level": replace(fast, deformable=replace(whole, iterations=10, fine_iterations=10)),
        "learned start, then fast": replace(fast, weights=weights),
        "learned start alone": replace(fast, weights=weights, deformable=replace(deformable, iterations=0)),
    }


def measured(pair: Pair, settings: RegistrationSettings, affine: np.ndarray) -> list[float]:
    """Dice, share of folds in percent, SDlogJ and CPU seconds of one registration."""
    settings = replace(settings, affine=AffineSettings(model="none"))
    began = time.process_time()
    found = run_job(register(RegistrationRequest(pair.fixed, pair.moving, settings=settings, initial=affine)))
    seconds = time.process_time() - began
    warped = np.asarray(found.warp(pair.moving_labels).array)
    reference = np.asarray(pair.fixed_labels.array)
    sizes = [np.bincount(np.asarray(x.array).ravel()) for x in (pair.fixed_labels, pair.moving_labels)]
    values = [v for v in range(1, min(map(len, sizes))) if min(sizes[0][v], sizes[1][v]) >= _LEAST_VOXELS]
    overlap = float(np.mean([dice(reference == v, warped == v) for v in values]))
    if found.transform.field is None:
        return [overlap, 0.0, 0.0, seconds]
    determinant = found.transform.field.jacobian_determinant()
    return [overlap, 100 * folding_share(determinant), sdlogj(determinant), seconds]


def main() -> None:
    """Run everything and print a Markdown table for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=list(DATA))
    parser.add_argument("--pairs", type=int, help="so many pairs of each set")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.data:
        rows: dict[str, list[list[float]]] = {}
        pairs = list(DATA[name](arguments.pairs or _PAIRS[name]))
        for pair in pairs:
            affine = replace(preset("fast", pair.fixed), deformable=None, device="cpu")
            start = run_job(register(RegistrationRequest(pair.fixed, pair.moving, settings=affine))).transform.matrix
            for method, settings in methods(pair.fixed, arguments.weights).items():
                rows.setdefault(method, []).append(measured(pair, settings, start))
        report(name, rows)


def report(name: str, rows: dict[str, list[list[float]]]) -> None:
    """Print means over the pairs, and in how many of them a method's Dice is above that of the preset."""
    base = np.array(rows["fast"])[:, 0]
    print(f"\n{name}, {len(base)} pairs\n")
    print("| method | Dice | better than fast | folds % | SDlogJ | CPU s |\n|---|---|---|---|---|---|")
    for method, found in rows.items():
        overlap, folds, uneven, seconds = np.mean(found, axis=0)
        better = int((np.array(found)[:, 0] > base).sum())
        print(f"| {method} | {overlap:.4f} | {better} | {folds:.4f} | {uneven:.2f} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
