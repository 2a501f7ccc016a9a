"""Networks trained on episodes beside what needs no such training: encoders for prototypes, and SE-Net or FiLM.

The data are in the folder that VOXELSMITH_DATA names; src/voxelsmith/train/fewshot_split.toml lists what was trained
on, and no query below is of a patient that was. Hippocampi, whose structures the training knows from other patients,
and sarcomas (the four patients of the test) are of kinds that it has seen; lungs and abdominal CT are not.

encoders: mean Dice of prototypes, the tasks and rows of benchmarks/fewshot_across.py, one shot.

episodes: mean Dice of single slices of the test patients by one annotated slice, real labels, nothing known of places:
of another patient where the group has one, mostly, else of the same; "untrained" is the encoder before training.

conditional: one organ at a time, its range of slices known, on the pixels that all methods share. within: one CT
supports itself with a few slices of the organ, evenly spaced, which then do not count; across: one CT supports another
with three, at 1/6, 3/6 and 5/6 of the range. copy: the mask of the support slice as it is.

    python benchmarks/fewshot_trained.py encoders --trained RUN_DIR [--data SET...] [--rows ROW...] [--cases N]
    python benchmarks/fewshot_trained.py episodes --trained RUN_DIR... [--cases N] [--side PIXELS]
    python benchmarks/fewshot_trained.py conditional --trained RUN_DIR...
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cases import data_folder
from fewshot_across import DATA, Remembered, Task, rows
from voxelsmith.core.metrics import dice
from voxelsmith.core.support import SupportExample
from voxelsmith.io import read, read_labels
from voxelsmith.models.prototype_encoder import PrototypeEncoder
from voxelsmith.segment.common_grid import Sliced, common_pixel, sliced_example, slicing_axis
from voxelsmith.segment.encoders import EfficientNetEncoder, unit_range
from voxelsmith.segment.episodic import TrainedEncoder, conditioned, image_net_start, load_network
from voxelsmith.segment.features import Encoder, HandMadeEncoder
from voxelsmith.segment.slice_matching import chunks, range_of
from voxelsmith.train.entry import Entry
from voxelsmith.train.episodes import EpisodeSet
from voxelsmith.train.fewshot import SPLIT, FewShotRecipe, settings
from voxelsmith.train.split import entries

_ROWS = ["global", "local", "local + position (slices)", "chunks, local"]
_ORGANS = {"liver": (5, 5), "spleen": (1, 1), "right kidney": (2, 2), "left kidney": (3, 3), "stomach": (6, 6)}
"""Numbers in ct_abdomen and in ct_upper_abdomen."""

_UNTRAINED: dict[str, Encoder] = {"hand-made": HandMadeEncoder(), "efficientnet-lite0": EfficientNetEncoder("cpu")}

Segment = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def unseen(name: str, count: int) -> Iterator[Task]:
    """The one-shot tasks of a set whose query was not trained on."""
    trained = {e.image for e in entries(data_folder(), SPLIT) if e.use != "test"}
    for task in DATA[name](1, 1000):
        if count and not any(path is not None and _shows(path, task) for path in trained):
            count -= 1
            yield task


def _shows(path: Path, task: Task) -> bool:
    return path.parent.name + "/" + path.name == task.query.name


def compare_encoders(trained: list[Path], untrained: list[str], data: list[str], names: list[str], cases: int) -> None:
    """Print one table for each set."""
    encoders: dict[str, Encoder] = {name: _UNTRAINED[name] for name in untrained}
    encoders |= {f"trained {p.name}": TrainedEncoder(load_network(p, "prototype"), str(p), "cpu") for p in trained}
    for name in data:
        found: dict[tuple[str, str], list[float]] = {}
        tasks = list(unseen(name, cases))
        for task in tasks:
            values = [v for v in task.truth.values() if any((s.array == v).any() for _, s in task.support)]
            truth = np.asarray(task.truth.array)
            for title, encoder in encoders.items():
                methods = rows(Remembered(encoder))
                for row in names:
                    labels = methods[row](task)
                    score = float(np.mean([dice(truth == v, labels == v) for v in values]))
                    found.setdefault((row, title), []).append(score)
                    print(f"{name} {task.query.name} {row} {title}: {score:.3f}", file=sys.stderr, flush=True)
        print(f"\n{name}, 1 shot, {len(tasks)} cases\n\n| row | " + " | ".join(encoders) + " |")
        print("|---" * (1 + len(encoders)) + "|")
        for row in names:
            print(
                f"| {row} | " + " | ".join(f"{np.mean(found[row, title]):.3f}" for title in encoders) + " |", flush=True
            )


def compare_conditional(trained: list[Path]) -> None:
    """Print one table for each of the two settings."""
    networks = {p.name: load_network(p) for p in trained}
    methods: dict[str, Segment] = {"copy": _copied}
    for title, network in networks.items():
        methods[title] = lambda query, images, masks, network=network: conditioned(network, query, images, masks) > 0.5
    folder = data_folder()
    first, second = (
        SupportExample(read(folder / name / "image.nii.gz"), read_labels(folder / name / "labels.nii.gz"))
        for name in ("ct_abdomen", "ct_upper_abdomen")
    )
    settings = {
        "within ct_abdomen, 10 slices": (first, first, 0, 10),
        "within ct_upper_abdomen, 3 slices": (second, second, 1, 3),
        "across, ct_abdomen to ct_upper_abdomen, 3 slices": (second, first, 1, 3),
    }
    for title, (query, support, numbering, number) in settings.items():
        print(f"\n{title}\n\n| organ | " + " | ".join(methods) + " |\n" + "|---" * (1 + len(methods)) + "|")
        axis = slicing_axis(query.image, [support])
        pixel = common_pixel(query.image, [support], axis)
        sliced = [sliced_example(e, query.image, axis, pixel) for e in (query, support)]
        for organ, numbers in _ORGANS.items():
            truths = _organ(sliced[0], numbers[numbering]), _organ(sliced[1], numbers[0 if support is first else 1])
            if min(t.sum() for t in truths) < 1000:
                continue
            scores = [_by_chunks(sliced, truths, number, method, query is support) for method in methods.values()]
            print(f"| {organ} | " + " | ".join(f"{score:.3f}" for score in scores) + " |", flush=True)


def compare_episodes(trained: list[Path], count: int, side: int) -> None:
    """Print one table; structures in two CT have other numbers, so each supports itself."""
    import torch

    models = {"untrained": image_net_start().eval()} | {p.name: load_network(p) for p in trained}
    recipes: dict[str, FewShotRecipe] = {}
    sets: dict[str, list[Entry]] = {}
    for entry in entries(data_folder(), SPLIT):
        if entry.use == "test" and entry.image is not None and (entry.group != "Hippocampus" or _queried(entry)):
            alone = entry.group.startswith("Organs")
            sets.setdefault(entry.patient if alone else entry.group, []).append(entry)
    print(f"side {side}\n\n| group | " + " | ".join(models) + " |\n" + "|---" * (1 + len(models)) + "|")
    for name, listed in sets.items():
        drawn = EpisodeSet(listed, 0, side=side, batch=2, augmented=False)
        rng, found = np.random.default_rng(0), {title: [] for title in models}
        for _ in range(count // 2):
            support, annotation, query, truth = (torch.from_numpy(part) for part in drawn.episodes(rng, "real"))
            for title, model in models.items():
                method = "prototype" if isinstance(model, PrototypeEncoder) else "senet"
                recipes.setdefault(title, FewShotRecipe(settings(method), model, drawn, drawn))
                with torch.inference_mode():
                    answer = recipes[title].answer(support, annotation, query) > 0
                pairs = zip(truth.numpy() > 0.5, answer.numpy(), strict=True)
                found[title] += [float(dice(own, other)) for own, other in pairs]
        print(f"| {name} | " + " | ".join(f"{np.mean(values):.3f}" for values in found.values()) + " |", flush=True)


def _queried(entry: Entry) -> bool:
    return int(entry.patient.split("_")[1]) > 120


def _organ(source: Sliced, value: int) -> np.ndarray:
    return np.moveaxis(np.asarray(source.labels) == value, source.axis, 0)


def _by_chunks(
    sliced: list[Sliced], truths: tuple[np.ndarray, np.ndarray], number: int, segment: Segment, same: bool
) -> float:
    """Dice over the organ's range; slices that support are left out if query and support are one volume."""
    query, support = (np.moveaxis(unit_range(s.image), s.axis, 0) for s in sliced)
    parts = chunks(range_of(truths[0].any(axis=(1, 2))), range_of(truths[1].any(axis=(1, 2))), number)
    own, found = [], []
    for part, middle in parts:
        wanted = [n for n in part if not (same and n == middle)]
        if wanted:
            mask = truths[1][middle][None].astype(np.float32)
            found.append(segment(query[wanted], support[middle][None], mask))
            own.append(truths[0][wanted])
    return float(dice(np.concatenate(own), np.concatenate(found)))


def _copied(query: np.ndarray, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The mask of the support slice, brought to the shape of the query's slices."""
    import torch

    from voxelsmith.models.prototype import resized

    mask = resized(torch.from_numpy(masks)[:, None], query.shape[1:])[0, 0].numpy() > 0.5
    return np.broadcast_to(mask, query.shape)


def main() -> None:
    """Print the tables of one of the two comparisons."""
    import torch

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", choices=["encoders", "episodes", "conditional"])
    parser.add_argument("--trained", nargs="*", type=Path, default=[])
    parser.add_argument("--untrained", nargs="*", default=list(_UNTRAINED), choices=list(_UNTRAINED))
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=list(DATA))
    parser.add_argument("--rows", nargs="*", default=_ROWS)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--side", type=int, default=256)
    arguments = parser.parse_args()
    if arguments.comparison == "encoders":
        compare_encoders(arguments.trained, arguments.untrained, arguments.data, arguments.rows, arguments.cases)
    elif arguments.comparison == "episodes":
        compare_episodes(arguments.trained, arguments.cases, arguments.side)
    else:
        compare_conditional(arguments.trained)


if __name__ == "__main__":
    main()
