"""Few-shot across volumes: annotated volumes segment another one. What each ingredient adds, beside simple baselines.

The data are in the folder that VOXELSMITH_DATA names; no network was trained on any of them but the ImageNet encoder,
which has seen photographs only. Figures are mean Dice over classes and cases. Hippocampus: support from patients 001 to
120, test patients 121 to 200, their two parts, 20 cases. Lung lobes: every ordered pair of three MR. Sarcomas: CT, the
tumours of different patients, in files cut around them. Abdomen: one CT supports another, silver labels. Modalities: a
CT supports an MR of the abdomen, and the reverse, silver labels.

A registration that fails counts as an empty answer.

Rows. copy: labels of the most similar support (correlation, centres on each other) as they are. affine: labels of all
supports by their rough place, an affine registration or the best shift where that is more alike. deformable: the same
with deformations. global, local: prototypes without places. + position: local prototypes with the position prior,
placed by matching slices, by the rough place (automatic: where it cannot be trusted, by the centres of the images and
with a wide prior) and by deformable registration.
Where places tell little, automatic prototypes have a rival in the labels as they lie, and the one that explains the
support better is taken. chunks: local prototypes and the literature's protocol, which knows the range of each organ.
rule: the answer of the engine that the automatic rule chooses; only if the rows of all engines that it chose are there.

    python benchmarks/fewshot_across.py [--data SET...] [--rows ROW...] [--shots 1 5]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cases import data_folder
from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.core.resample import resample_to
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import read, read_labels
from voxelsmith.segment import across_volumes, chunk_protocol, fewshot, propagation
from voxelsmith.segment.across_volumes import AcrossRequest, AcrossSettings
from voxelsmith.segment.encoders import EfficientNetEncoder, unit_range
from voxelsmith.segment.features import Encoder, HalfArray, HandMadeEncoder
from voxelsmith.segment.propagation import PropagationRequest
from voxelsmith.segment.proposal import PROPAGATION, PROTOTYPES

_SAME_ORGANS = {1: 1, 5: 5, 6: 6, 52: 7, 63: 8, 64: 9, 20: 57, 32: 23, 86: 100, 87: 101}
"""Spleen, liver, stomach, aorta, inferior vena cava, portal vein, colon, T12 and both autochthonous muscles: what has
more than 3000 voxels in the upper abdomen and is in the other CT too, by its number there."""

_BOTH_MODALITIES = (1, 5, 6)
"""Spleen, liver and stomach, which both have, by the same numbers."""

DEFORMABLE, AUTOMATIC_PROTOTYPES, RULE = "deformable, same-modality", "local + position (automatic)", "rule"
_ROW_OF = {PROPAGATION: DEFORMABLE, PROTOTYPES: AUTOMATIC_PROTOTYPES}

Pair = tuple[Volume, LabelVolume]


@dataclass(eq=False)
class Task:
    """A query with its truth, and what supports it."""

    query: Volume
    truth: LabelVolume
    support: list[Pair]

    def support_set(self) -> SupportSet:
        """The support as the engines take it."""
        found = SupportSet()
        for image, labels in self.support:
            found = found.add(SupportExample(image, labels, provenance=image.name))
        return found


def _pair(image: Path, labels: Path) -> Pair:
    volume = read(image)
    return Volume(np.asarray(volume.array), volume.affine, image.parent.name + "/" + image.name), read_labels(labels)


def hippocampus(shots: int, count: int) -> Iterator[Task]:
    """Test patients in the order of their numbers; the support moves on by one patient a case."""
    paths = sorted((data_folder() / "hippocampus" / "images").glob("*.nii.gz"))
    number = {path: int(path.name.split("_")[1][:3]) for path in paths}
    support = [p for p in paths if number[p] <= 120]
    tests = [p for p in paths if 120 < number[p] <= 200]
    step = max(1, len(tests) // 20)
    for n, path in enumerate(tests[::step][:20][:count]):
        chosen = [support[(3 * n + 14 * k) % len(support)] for k in range(shots)]
        pairs = [_pair(p, p.parents[1] / "labels" / p.name) for p in (path, *chosen)]
        yield Task(*pairs[0], pairs[1:])


def lung(shots: int, count: int) -> Iterator[Task]:
    """One shot: every ordered pair; two shots: both others."""
    folder = data_folder() / "lung_mr"
    pairs = [_pair(folder / f"{n}_image.nii.gz", folder / f"{n}_lobes.nii.gz") for n in ("0004", "0006", "0007")]
    tasks = []
    for n, query in enumerate(pairs):
        others = [p for m, p in enumerate(pairs) if m != n]
        tasks += [Task(*query, [other]) for other in others] if shots == 1 else [Task(*query, others)]
    yield from tasks[:count]


def sarcoma(shots: int, count: int) -> Iterator[Task]:
    """Each patient, by the next ones."""
    patients = sorted((data_folder() / "sarcoma_ct_pet_mr").iterdir())
    pairs = [_pair(p / "CT_image.nii.gz", p / "CT_mask.nii.gz") for p in patients]
    pairs = [(image, image.labels((np.asarray(mask.array) > 0).astype(np.uint8))) for image, mask in pairs]
    for n, query in enumerate(pairs[:count]):
        yield Task(*query, [pairs[(n + 1 + k) % len(pairs)] for k in range(shots)])


def abdomen(shots: int, count: int) -> Iterator[Task]:
    """One CT from T11 to the thigh supports twenty slices of the upper abdomen of another patient."""
    whole = _pair(data_folder() / "ct_abdomen" / "image.nii.gz", data_folder() / "ct_abdomen" / "labels.nii.gz")
    part = _pair(*(data_folder() / "ct_upper_abdomen" / f"{n}.nii.gz" for n in ("image", "labels")))
    labels, truth = np.zeros(whole[0].grid, np.uint8), np.zeros(part[0].grid, np.uint8)
    for value, other in _SAME_ORGANS.items():
        labels[np.asarray(whole[1].array) == other] = value
        truth[np.asarray(part[1].array) == value] = value
    yield from [Task(part[0], part[0].labels(truth), [(whole[0], whole[0].labels(labels))])][:count]


def modalities(shots: int, count: int) -> Iterator[Task]:
    """A CT of the upper abdomen supports the MR of another patient, by the organs that both have, and the reverse."""
    names = ("mr_abdomen", "ct_upper_abdomen")
    pairs = [_pair(*(data_folder() / name / f"{n}.nii.gz" for n in ("image", "labels"))) for name in names]
    both = [
        (image, image.labels(np.where(np.isin(labels.array, _BOTH_MODALITIES), labels.array, 0).astype(np.uint8)))
        for image, labels in pairs
    ]
    yield from [Task(*both[0], [both[1]]), Task(*both[1], [both[0]])][:count]


DATA: dict[str, Callable[[int, int], Iterator[Task]]] = {
    "hippocampus": hippocampus,
    "lung": lung,
    "sarcoma": sarcoma,
    "abdomen": abdomen,
    "modalities": modalities,
}


class Remembered:
    """An encoder that keeps what it has computed, as all rows of the table need the same features."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self.name = encoder, encoder.name
        self._known: dict[tuple[str, int, int], HalfArray] = {}

    def features(self, volume: Volume, slices: Sequence[int], axis: int = 2) -> HalfArray:
        """As the encoder's own."""
        out = []
        for n in slices:
            key = f"{volume.name} {volume.grid}", n, axis
            if key not in self._known:
                self._known[key] = self._encoder.features(volume, [n], axis)
            out.append(self._known[key])
        return np.concatenate(out, axis=1)

    def forget(self) -> None:
        """Make room for another query."""
        self._known.clear()


def copied(task: Task) -> np.ndarray:
    """Labels of the support that looks most like the query when their centres lie on each other."""
    best, found = -np.inf, np.zeros(task.query.grid)
    middle = (np.array(task.query.grid) - 1) / 2
    for image, labels in task.support:
        there = image.affine.apply((np.array(image.grid) - 1) / 2)
        shift = np.eye(4)
        shift[:3, 3] = there - task.query.affine.apply(middle)
        target = Affine(shift) @ task.query.affine
        laid = resample_to(Volume(np.asarray(image.array, np.float32), image.affine), target, task.query.grid)
        alike = np.corrcoef(unit_range(laid).ravel(), unit_range(task.query).ravel())[0, 1]
        if alike > best:
            best, found = alike, np.asarray(resample_to(labels, target, task.query.grid).array)
    return found


def carried(task: Task, **options: Any) -> np.ndarray:
    """Labels by registration."""
    request = PropagationRequest(task.query, task.support_set(), **options)
    try:
        return np.asarray(run_job(propagation.propose(request)).labels.array)
    except InputError as error:
        print(error, file=sys.stderr)
        return np.zeros(task.query.grid, np.uint8)


def prototyped(task: Task, encoder: Encoder, **options: Any) -> np.ndarray:
    """Labels by prototypes."""
    request = AcrossRequest(task.query, task.support_set(), encoder, settings=AcrossSettings(**options))
    return np.asarray(run_job(across_volumes.propose(request)).labels.array)


def chunked(task: Task, encoder: Encoder) -> np.ndarray:
    """Labels by the literature's protocol, with the first support."""
    example = SupportExample(*task.support[0])
    return run_job(chunk_protocol.evaluate(task.query, task.truth, example, encoder))


def rows(encoder: Encoder) -> dict[str, Callable[[Task], np.ndarray]]:
    """The methods by their names in the table."""
    return {
        "copy": copied,
        "affine": lambda t: carried(t, deformable=False),
        "deformable, fast": lambda t: carried(t, preset="fast"),
        DEFORMABLE: lambda t: carried(t, preset="same-modality"),
        "global": lambda t: prototyped(t, encoder, prototypes="global", position=False, alignment="slices"),
        "local": lambda t: prototyped(t, encoder, position=False, alignment="slices"),
        "local + position (slices)": lambda t: prototyped(t, encoder, alignment="slices"),
        "local + position (affine)": lambda t: prototyped(t, encoder, alignment="affine"),
        AUTOMATIC_PROTOTYPES: lambda t: prototyped(t, encoder),
        "local + position (deformable)": lambda t: prototyped(t, encoder, alignment="deformable"),
        "chunks, local": lambda t: chunked(t, encoder),
    }


def main() -> None:
    """Print one table for each set and number of shots."""
    import torch

    torch.set_num_threads(1)
    encoders: dict[str, Encoder] = {"efficientnet": EfficientNetEncoder("cpu"), "hand-made": HandMadeEncoder()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=list(DATA))
    parser.add_argument("--shots", nargs="*", type=int, default=[1])
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--encoder", default="efficientnet", choices=list(encoders))
    parser.add_argument("--rows", nargs="*", default=None)
    arguments = parser.parse_args()
    encoder = Remembered(encoders[arguments.encoder])
    methods = {n: m for n, m in rows(encoder).items() if not arguments.rows or n in arguments.rows}
    for name in arguments.data:
        for shots in arguments.shots:
            found: dict[str, list[tuple[float, float]]] = {method: [] for method in methods}
            answers: list[tuple[float, float]] = []
            for task in DATA[name](shots, arguments.cases):
                for method, segment in methods.items():
                    began = time.process_time()
                    labels = segment(task)
                    seconds = time.process_time() - began
                    values = [v for v in task.truth.values() if any((s.array == v).any() for _, s in task.support)]
                    truth = np.asarray(task.truth.array)
                    found[method].append((float(np.mean([dice(truth == v, labels == v) for v in values])), seconds))
                    print(f"{name} {task.query.name} {method}: {found[method][-1][0]:.3f}", file=sys.stderr, flush=True)
                chosen = _ROW_OF[fewshot.choose(task.query, task.support_set()).engine]
                print(f"{name} {task.query.name} the rule chooses: {chosen}", file=sys.stderr, flush=True)
                if chosen in methods:
                    answers.append(found[chosen][-1])
                encoder.forget()
            cases = len(next(iter(found.values())))
            if len(answers) == cases:
                found[RULE] = answers
            print(f"\n{name}, {shots} shot{'s' * (shots > 1)}, {cases} cases, encoder {encoder.name}\n")
            print("| method | Dice | worst | CPU s |\n|---|---|---|---|")
            for method, results in found.items():
                overlaps, seconds_ = zip(*results, strict=True)
                print(f"| {method} | {np.mean(overlaps):.3f} | {min(overlaps):.3f} | {np.mean(seconds_):.1f} |")


if __name__ == "__main__":
    main()
