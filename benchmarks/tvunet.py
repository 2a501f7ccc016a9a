"""TV-Unet after a short training on five painted slices: what the total variation changes.

    python benchmarks/tvunet.py [--seconds 60 | --steps 300 | --steps ct=200 glioma=300 sarcoma=250] [--seeds 5]
                                [--cases ct glioma sarcoma] [--weights 0 0.03] [--alone] [--few-shot] [--out FILE]

Five evenly spaced slices of the range of the objects along the body's axis are painted. Dice is taken over the other
slices of the range, class by class, and averaged; so are components and holes (in slices) of the answer, which the
truth has too. Mean and standard deviation over the seeds. A training is planned as the dock plans it and broken off
when its time or its steps are over. It is applied as the dock applies it, with the shapes of the painted slices; with
``--alone`` the network's own answer is measured too. On a machine that is busy with other things, give steps, not
seconds. The few-shot engine for painted slices of the same volume, which has no seed, is measured on the same slices.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
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
from voxelsmith.segment.same_volume import SameVolumeEngine, SameVolumeRequest
from voxelsmith.segment.trained import apply
from voxelsmith.train.tvunet import TrainingRequest, run, settings, trained_model

CASES = ("ct", "glioma", "sarcoma")
COLUMNS = ("dice", "components", "holes", "steps")
SLICES = 5
_ORGANS = {5: "liver", 1: "spleen", 2: "kidney, right", 3: "kidney, left"}


@dataclass(frozen=True, eq=False)
class Task:
    """An image with all of its labels."""

    case: str
    name: str
    image: Volume
    labels: LabelVolume

    @property
    def axis(self) -> int:
        """The array axis along the body."""
        return self.image.affine.closest_axes.index(2)

    @property
    def span(self) -> range:
        """The slices from the first to the last that hold an object."""
        truth = np.asarray(self.labels.array)
        filled = np.flatnonzero(truth.any(axis=tuple(a for a in range(3) if a != self.axis)))
        return range(int(filled[0]), int(filled[-1]) + 1)

    @property
    def painted(self) -> tuple[int, ...]:
        """The slices to learn from."""
        first, last = self.span[0], self.span[-1]
        return tuple(sorted({round(first + (last - first) * (n + 0.5) / SLICES) for n in range(SLICES)}))

    @property
    def support(self) -> SupportSet:
        """What is learned from."""
        return SupportSet().add(SupportExample(self.image, self.labels, self.axis, self.painted))

    def score(self, answer: npt.NDArray[np.integer]) -> dict[str, float]:
        """Compare an answer with the truth over the slices that were not painted."""
        truth, values = np.asarray(self.labels.array), tuple(self.labels.values())
        rest = [n for n in self.span if n not in self.painted]
        overlaps = [dice(np.take(truth, rest, self.axis) == v, np.take(answer, rest, self.axis) == v) for v in values]
        return {"dice": float(np.mean(overlaps)), **_topology(np.take(answer, self.span, self.axis), values, self.axis)}


def tasks(chosen: list[str]) -> Iterator[Task]:
    """The volumes to train on, one each."""
    if "ct" in chosen:
        folder = data_folder() / "ct_abdomen"
        labels = read_labels(folder / "labels.nii.gz")
        kept = np.where(np.isin(labels.array, list(_ORGANS)), labels.array, 0)
        image = read(folder / "image.nii.gz")
        image = Volume(np.asarray(image.array).astype(np.int16), image.affine, "ct")
        yield Task("ct", "CT abdomen, 4 organs", image, image.labels(kept.astype(np.uint8), names=_ORGANS))
    if "glioma" in chosen:
        folder = sorted((data_folder() / "glioma_2mod").iterdir())[0]
        image = read(folder / "flair.nii.gz")
        mask = read_labels(folder / "labels.nii.gz").mask()
        yield Task("glioma", "Glioma, whole tumour, FLAIR", image, image.labels(mask.astype(np.uint8)))
    if "sarcoma" in chosen:
        folder = sorted((data_folder() / "sarcoma_ct_pet_mr").iterdir())[0]
        image = read(folder / "MR_T1_image.nii.gz")
        mask = read_labels(folder / "MR_T1_mask.nii.gz").mask()
        yield Task("sarcoma", "Sarcoma, MR T1", image, image.labels(mask.astype(np.uint8)))


def trained(
    task: Task, weight: float, seed: int, seconds: float | None, steps: int | None, ways: dict[str, bool]
) -> dict[str, dict[str, float]]:
    """Train for a time or for some steps, and apply in some ways, with the shapes of painted slices or without."""
    chosen = settings(variation=weight, seed=seed, spare=False, device="cpu", max_seconds=seconds)
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        with closing(run(TrainingRequest(task.support, out, chosen))) as job:
            for progress in job:
                done = progress.done
                if done == steps:
                    break
        model = trained_model(out)
    found = {}
    for way, told in ways.items():
        answer = run_job(apply(model, task.image, "cpu", task.support.examples if told else ())).labels.array
        found[way] = {**task.score(np.asarray(answer)), "steps": float(done)}
    return found


def few_shot(task: Task) -> dict[str, float]:
    """The engine that learns from the same slices within seconds."""
    answer = run_job(SameVolumeEngine().propose(SameVolumeRequest(task.image, task.support, axis=task.axis)))
    return task.score(np.asarray(answer.labels.array))


def _topology(labels: npt.NDArray[np.integer], values: tuple[int, ...], axis: int) -> dict[str, float]:
    """Means over the classes."""
    masks = [labels == value for value in values]
    return {
        "components": float(np.mean([betti(mask).components for mask in masks])),
        "holes": float(np.mean([holes_by_slice(mask, axis) for mask in masks])),
    }


def row(*found: dict[str, float]) -> str:
    """Cells of a table: mean and, of several, standard deviation."""
    cells = []
    for column in COLUMNS:
        values, digits = np.array([one[column] for one in found if column in one]), 3 if column == "dice" else 1
        spread = f" ± {values.std():.{digits}f}" if len(values) > 1 and column != "steps" else ""
        cells.append(f"{values.mean():.{digits}f}{spread}" if len(values) else "")
    return " | ".join(cells)


def steps_by_case(words: list[str] | None) -> dict[str, int]:
    """Steps of each case, from one number for all or ``case=number`` for each."""
    given = [word.rpartition("=")[::2] for word in words or ()]
    try:
        return {name: int(number) for case, number in given for name in ([case] if case else CASES)}
    except ValueError:
        sys.exit(f"--steps takes a number, or case=number for each case, got {' '.join(words or ())}.")


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="time of each training")
    parser.add_argument("--steps", nargs="+", metavar="N | CASE=N", help="steps of each training, in place of its time")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--weights", nargs="*", type=float, default=[0.0, settings().variation])
    parser.add_argument("--alone", action="store_true", help="measure the network without painted shapes too")
    parser.add_argument("--few-shot", action="store_true", help="measure the few-shot engine too")
    parser.add_argument("--out", type=Path, help="write the table here too")
    arguments = parser.parse_args()
    steps = steps_by_case(arguments.steps)
    ways = {"network alone": False} if arguments.alone else {}
    ways["with painted shapes"] = True
    lines = ["| data | variation | Dice | components | holes in slices | steps |", "|---" * 6 + "|"]
    for task in tasks(arguments.cases):
        limit = steps.get(task.case)
        lines.append(f"| {task.name} | truth | {row(task.score(np.asarray(task.labels.array)))} |")
        if arguments.few_shot:
            lines.append(f"| {task.name} | few-shot engine | {row(few_shot(task))} |")
            print(lines[-1], flush=True)
        for weight in arguments.weights:
            found = []
            for seed in range(arguments.seeds):
                limited = arguments.seconds if limit is None else None
                found.append(trained(task, weight, seed, limited, limit, ways))
                print(f"{task.name}, variation {weight:g}, seed {seed}: {found[-1]}", flush=True)
            for way in ways:
                lines.append(f"| {task.name} | {weight:g}, {way} | {row(*(one[way] for one in found))} |")
    print("\n".join(lines))
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
