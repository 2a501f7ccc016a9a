"""Brain tumours: what the generators, the fused network and its parts reach on patients that they were not trained on.

    python benchmarks/tumour.py transition [--weights cmf-2]
    python benchmarks/tumour.py fusion [--weights cmf-2] [--networks NAME=FILE_OR_RUN ...]
    python benchmarks/tumour.py subsets [--weights cmf-4]
    python benchmarks/tumour.py corrections [--weights cmf-2] [--minutes 5]

``transition`` prints the mean absolute error in the brain of generated sequences, beside copying the other sequence
and a regression by its intensity (the median for each of 100 intensities, over the patients of the training).
``fusion`` prints Dice of WT, TC and ET, beside a bare threshold of the FLAIR as it was published; networks of one
NAME are seeds, of which mean and spread (standard deviation) are told. ``subsets`` prints Dice for each subset of
four sequences. ``corrections`` prints Dice before and after a network has learned from one patient, as the Tumour
dock does it, on that patient and on the other. The patients are glioma_2mod's pat0003 and pat0004 (expert labels),
and that of glioma_4mod (silver labels: the fusion of five other models).
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from cases import data_folder
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.core.regions import REGIONS, convention, depth_of, region_masks
from voxelsmith.io import read, read_labels, write
from voxelsmith.models.crossmodality import (
    MODALITIES,
    TWO,
    WINDOW,
    Architecture,
    Branch,
    CrossModalityNet,
    probabilities,
)
from voxelsmith.models.device import uses_bfloat16
from voxelsmith.segment.crossmodality import load_network
from voxelsmith.segment.tumour.engine import run
from voxelsmith.segment.tumour.request import TumourRequest, TumourSettings
from voxelsmith.segment.tumour.sliding import slide
from voxelsmith.train.crossmodality_data import Case
from voxelsmith.train.tumour_corrections import WRITTEN_AS, learn
from voxelsmith.train.tumour_folder import CaseFiles, tumour_folder

JUDGES = ("pat0003", "pat0004")
_THRESHOLD = 1.8
_INTENSITIES = np.linspace(-5, 5, 101)
_MULTIPLE = Architecture().multiple

Array = npt.NDArray[Any]


def patients() -> tuple[list[Case], list[Case]]:
    """Those of the training and those that judge, with T1c and FLAIR."""
    found = tumour_folder(data_folder() / "glioma_2mod", TWO, labelled_as="brats2013", validate=JUDGES)
    train, judges = ([files.read() for files in part] for part in (found.train, found.judges))
    return train, judges


def four_sequences() -> Case:
    """The patient with all four sequences."""
    folder = data_folder() / "glioma_4mod"
    images = tuple((name, folder / f"{name}.nii.gz") for name in MODALITIES)
    labels = folder / "labels_silver.nii.gz"
    return CaseFiles(folder.name, images, labels, None, convention("brats2018"), MODALITIES).read()


@torch.no_grad()
def windowed(answer: Callable[[Array], Array], x: Array, outputs: int) -> Array:
    """Overlapping windows of a volume (C, X, Y, Z), laid as in a tumour run; in bfloat16 where the processor has it."""
    with torch.autocast("cpu", torch.bfloat16, enabled=uses_bfloat16("auto", torch.device("cpu"))):
        return run_job(slide(x, answer, WINDOW, _MULTIPLE, TumourSettings().overlap, outputs))


def answered(network: CrossModalityNet, case: Case, present: Sequence[bool] | None = None) -> Array:
    """Depths of the nested regions that the network finds with the sequences that are present."""
    available = case.available if present is None else np.array(present)
    known = torch.from_numpy(available)[None]

    def answer(window: Array) -> Array:
        return probabilities(network(torch.from_numpy(window)[None], known).logits)[0].numpy()

    x = np.where(available[:, None, None, None], case.x, np.float32(0))
    return depth_of(windowed(answer, x, len(REGIONS)) * case.x.any(0) > 0.5)


def scores(case: Case, depth: Array) -> list[float]:
    """Dice of WT, TC and ET; 1 where both are empty."""
    return [dice(truth, found) for truth, found in zip(region_masks(case.depth), region_masks(depth), strict=True)]


def transition(weights: str) -> None:
    """Print errors of generated sequences."""
    network = load_network(weights)
    train, judges = patients()
    brains = [case.x[:, case.x.any(0)] for case in train]
    print("| from | to | patient | copying | regression | generator | below copying |", "|---" * 7 + "|", sep="\n")
    sums = np.zeros(3)
    for source, target in ((0, 1), (1, 0)):
        curve = _curve(*(np.concatenate([brain[n] for brain in brains]) for n in (source, target)))
        for case in judges:
            inside = case.x.any(0)
            made = windowed(partial(_made, network.generators[source]), case.x[source : source + 1], 1)[0]
            a, b = case.x[source][inside], case.x[target][inside]
            errors = np.array([np.abs(b - other).mean() for other in (a, curve[_bin(a)], made[inside])])
            sums += errors
            print(
                f"| {TWO[source]} | {TWO[target]} | {case.name} | {_cells(errors)} | {1 - errors[2] / errors[0]:.0%} |"
            )
    print(f"| mean | | | {_cells(sums / 2 / len(judges))} | {1 - sums[2] / sums[0]:.0%} |")


def _made(generator: Branch, window: Array) -> Array:
    x = torch.from_numpy(window)[None]
    made: Array = generator(x, (x != 0).float())[0][0].numpy()
    return made


def _curve(source: Array, target: Array) -> Array:
    """Median of the target for each intensity of the source."""
    bins = _bin(source)
    return np.array([np.median(target[bins == n]) if np.any(bins == n) else 0.0 for n in range(len(_INTENSITIES) + 1)])


def _bin(values: Array) -> Array:
    return np.digitize(values, _INTENSITIES)


def fusion(weights: str | None, networks: Sequence[str]) -> None:
    """Print Dice of networks and of the threshold; of ``weights`` as delivered, too, if any are named."""
    _, judges = patients()
    head = " | ".join(f"{case.name} {region}" for case in judges for region in REGIONS)
    print(f"| method | {head} | mean WT | mean TC | mean ET |", "|---" * (4 + 3 * len(judges)) + "|", sep="\n")
    rows: dict[str, list[Array]] = {"FLAIR above 1.8, largest piece": [np.stack([_threshold(case) for case in judges])]}
    if weights is not None:
        rows[f"{weights}, as `voxelsmith tumour` gives it"] = [np.stack([_delivered(weights, case) for case in judges])]
    for named in [*([] if weights is None else [f"{weights}, bare={weights}"]), *networks]:
        name, _, path = named.partition("=")
        network = load_network(path)
        rows.setdefault(name, []).append(np.array([scores(case, answered(network, case)) for case in judges]))
    for name, found in rows.items():
        dices = np.stack([np.concatenate([seed, seed.mean(0, keepdims=True)]).ravel() for seed in found])
        spread = [f" ± {s:.3f}" for s in dices.std(0)] if len(found) > 1 else [""] * dices.shape[1]
        cells = [f"{m:.3f}{s}" if np.isfinite(m) else "" for m, s in zip(dices.mean(0), spread, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _delivered(weights: str, case: Case) -> Array:
    """Dice of WT, TC and ET of a whole tumour run, from files to the grid of the files, cleaned up."""
    folder = data_folder() / "glioma_2mod" / case.name
    images = {name: read(folder / f"{name}.nii.gz") for name in TWO}
    settings = TumourSettings(model=weights, device="cpu")
    result = run_job(run(TumourRequest(images, read_labels(folder / "brain_mask.nii.gz"), settings)))
    truth = convention("brats2013").depth(np.asarray(read_labels(folder / "labels.nii.gz").array))
    masks = zip(region_masks(truth), region_masks(np.asarray(result.depth.array)), strict=True)
    return np.array([dice(*pair) for pair in masks])


def _threshold(case: Case) -> Array:
    """Dice of WT alone, of the published FLAIR intensities above a threshold, the largest piece of them."""
    folder = data_folder() / "glioma_2mod" / case.name
    image, truth = (np.asarray(read(folder / f"{name}.nii.gz").array) for name in ("flair", "labels"))
    return np.array([dice(truth > 0, _largest(image > _THRESHOLD)), np.nan, np.nan])


def _largest(mask: Array) -> Array:
    """The largest piece of a mask."""
    pieces, _ = ndimage.label(mask)
    largest: Array = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    return largest


def subsets(weights: str) -> None:
    """Print Dice for each subset of sequences."""
    network, case = load_network(weights), four_sequences()
    print("| sequences | synthetic | WT | TC | ET |", "|---" * 5 + "|", sep="\n")
    flair = case.x[MODALITIES.index("flair")]
    print(f"| flair, threshold | | {dice(case.depth > 0, _largest(flair > _THRESHOLD)):.3f} | | |")
    for count in range(len(MODALITIES), 0, -1):
        for chosen in combinations(MODALITIES, count):
            present = [name in chosen for name in MODALITIES]
            made = network.synthesises(torch.tensor([present]))[0].tolist()
            synthetic = ", ".join(name for name, one in zip(MODALITIES, made, strict=True) if one)
            print(
                f"| {', '.join(chosen)} | {synthetic} | {_cells(scores(case, answered(network, case, present)))} |",
                flush=True,
            )


def corrections(weights: str, minutes: float) -> None:
    """Print Dice before and after a network has learned from a patient."""
    _, judges = patients()
    print("| learned from | judged by | WT | TC | ET | WT after | TC after | ET after |", "|---" * 8 + "|", sep="\n")
    before = {case.name: scores(case, answered(load_network(weights), case)) for case in judges}
    for source in judges:
        with TemporaryDirectory() as folder:
            place = Path(folder)
            _put(source.name, place / "patients" / source.name)
            learned = run_job(learn(place / "patients", weights, place / "run", 60 * minutes))
            network = load_network(learned.folder)
        for case in judges:
            after = scores(case, answered(network, case))
            print(f"| {source.name} | {case.name} | {_cells(before[case.name])} | {_cells(after)} |", flush=True)


def _put(name: str, target: Path) -> None:
    """A patient as the dock leaves one to learn from."""
    source = data_folder() / "glioma_2mod" / name
    target.mkdir(parents=True)
    for file in (*TWO, "brain_mask"):
        shutil.copy(source / f"{file}.nii.gz", target)
    labels = read_labels(source / "labels.nii.gz")
    depth = convention("brats2013").depth(np.asarray(labels.array))
    write(labels.labels(convention(WRITTEN_AS).labels(depth)), target / "seg.nii.gz")


def _cells(values: Sequence[float] | Array) -> str:
    return " | ".join(f"{value:.3f}" for value in values)


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["transition", "fusion", "subsets", "corrections"])
    parser.add_argument("--weights", help="name, file or run folder (default: cmf-2; cmf-4 for subsets)")
    parser.add_argument("--networks", nargs="*", default=[], help="more networks for the table fusion, as NAME=PATH")
    parser.add_argument("--minutes", type=float, default=5, help="how long corrections are learned from")
    arguments = parser.parse_args()
    if arguments.table == "transition":
        transition(arguments.weights or "cmf-2")
    elif arguments.table == "fusion":
        fusion(arguments.weights or "cmf-2", arguments.networks)
    elif arguments.table == "corrections":
        corrections(arguments.weights or "cmf-2", arguments.minutes)
    else:
        subsets(arguments.weights or "cmf-4")


if __name__ == "__main__":
    main()
