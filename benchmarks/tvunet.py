"""TV-Unet after a short training on five painted slices: what the total variation changes.

    python benchmarks/tvunet.py [--seconds 60 | --steps 300] [--seeds 5] [--cases ct glioma sarcoma]
                                [--weights 0 0.03] [--out FILE]

Five evenly spaced slices of the range of the objects along the body's axis are painted. Dice is taken over the other
slices of the range, class by class, and averaged; so are components and holes (in slices) of the answer, which the
truth has too. Mean and standard deviation over the seeds. On a machine that is busy with other things, compare weights
at an equal number of steps, not seconds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cases import data_folder
from voxelsmith.core.connectivity import betti, holes_by_slice
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import read, read_labels
from voxelsmith.segment.trained import apply
from voxelsmith.train.tvunet import TrainingRequest, run, settings, trained_model

SLICES = 5
_ORGANS = {5: "liver", 1: "spleen", 2: "kidney, right", 3: "kidney, left"}


@dataclass(frozen=True, eq=False)
class Task:
    """An image with all of its labels."""

    name: str
    image: Volume
    labels: LabelVolume


def tasks(chosen: list[str]) -> Iterator[Task]:
    """The volumes to train on, one each."""
    if "ct" in chosen:
        folder = data_folder() / "ct_abdomen"
        labels = read_labels(folder / "labels.nii.gz")
        kept = np.where(np.isin(labels.array, list(_ORGANS)), labels.array, 0)
        image = read(folder / "image.nii.gz")
        image = Volume(np.asarray(image.array).astype(np.int16), image.affine, "ct")
        yield Task("CT abdomen, 4 organs", image, image.labels(kept.astype(np.uint8), names=_ORGANS))
    if "glioma" in chosen:
        folder = sorted((data_folder() / "glioma_2mod").iterdir())[0]
        image = read(folder / "flair.nii.gz")
        mask = read_labels(folder / "labels.nii.gz").mask()
        yield Task("Glioma, whole tumour, FLAIR", image, image.labels(mask.astype(np.uint8)))
    if "sarcoma" in chosen:
        folder = sorted((data_folder() / "sarcoma_ct_pet_mr").iterdir())[0]
        image = read(folder / "MR_T1_image.nii.gz")
        mask = read_labels(folder / "MR_T1_mask.nii.gz").mask()
        yield Task("Sarcoma, MR T1", image, image.labels(mask.astype(np.uint8)))


def measure(task: Task, weight: float, limit: dict[str, float], seed: int) -> dict[str, float]:
    """Train, apply, and compare over the slices that were not painted."""
    axis = task.image.affine.closest_axes.index(2)
    truth = np.asarray(task.labels.array)
    filled = np.flatnonzero(truth.any(axis=tuple(a for a in range(3) if a != axis)))
    first, last = int(filled[0]), int(filled[-1])
    painted = sorted({round(first + (last - first) * (n + 0.5) / SLICES) for n in range(SLICES)})
    rest = [n for n in range(first, last + 1) if n not in painted]
    support = SupportSet().add(SupportExample(task.image, task.labels, axis, tuple(painted)))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        chosen = settings(variation=weight, seed=seed, spare=False, device="cpu", **limit)
        done = run_job(run(TrainingRequest(support, out, chosen)))
        answer = np.asarray(run_job(apply(trained_model(out), task.image, "cpu")).labels.array)
    inner = np.take(answer, range(first, last + 1), axis)
    overlaps = [dice(np.take(truth, rest, axis) == v, np.take(answer, rest, axis) == v) for v in support.values]
    return {
        "dice": float(np.mean(overlaps)),
        **_topology(inner, support.values, axis),
        "steps": float(done.history.step),
    }


def _topology(labels: npt.NDArray[np.integer], values: tuple[int, ...], axis: int) -> dict[str, float]:
    """Means over the classes."""
    masks = [labels == value for value in values]
    return {
        "components": float(np.mean([betti(mask).components for mask in masks])),
        "holes": float(np.mean([holes_by_slice(mask, axis) for mask in masks])),
    }


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="time of each training")
    parser.add_argument("--steps", type=int, help="steps of each training, in place of its time")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cases", nargs="*", default=["ct", "glioma", "sarcoma"], choices=["ct", "glioma", "sarcoma"])
    parser.add_argument("--weights", nargs="*", type=float, default=[0.0, settings().variation])
    parser.add_argument("--out", type=Path, help="write the table here too")
    arguments = parser.parse_args()
    limit = {"max_seconds": arguments.seconds} if arguments.steps is None else {"steps": arguments.steps}
    columns = ("dice", "components", "holes", "steps")
    lines = ["| data | variation | Dice | components | holes in slices | steps |", "|---" * 6 + "|"]
    for task in tasks(arguments.cases):
        axis = task.image.affine.closest_axes.index(2)
        own = _topology(np.asarray(task.labels.array), tuple(task.labels.values()), axis)
        lines.append(f"| {task.name} | truth | 1 | {own['components']:.1f} | {own['holes']:.1f} | |")
        for weight in arguments.weights:
            found = []
            for seed in range(arguments.seeds):
                found.append(measure(task, weight, limit, seed))
                print(f"{task.name}, variation {weight:g}, seed {seed}: {found[-1]}", flush=True)
            cells = []
            for column in columns:
                values = np.array([row[column] for row in found])
                digits = 3 if column == "dice" else 1
                cells.append(f"{values.mean():.{digits}f} ± {values.std():.{digits}f}")
            lines.append(f"| {task.name} | {weight:g} | {' | '.join(cells)} |")
    print("\n".join(lines))
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
