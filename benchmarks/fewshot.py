"""From a few painted slices of a volume to the rest of it: our engine beside other ways.

    python benchmarks/fewshot.py [--cases reported|chosen-on] [--slices 5] [--at ends|middles] [--every N] [--out FILE]

Of each object some evenly spaced slices of its range along the body's axis are painted, from its first slice to its
last ("ends") or in the middle of equal parts of the range ("middles"); the figure is the Dice coefficient over the
other slices of the range. The settings of the engine were chosen on the "chosen-on" cases, not on the reported ones.
Beside it stand shape interpolation without the image, and scikit-learn's random forest on the same features and the
position, learned from the same painted slices of the same region. napari-convpaint downloads the weights of its
features when it runs, so it was not run. Seconds are processor time; benchmarks/fewshot_speed.py has the waiting.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cases import Case, ct_organs, data_folder, gliomas, sarcomas
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.io import read, read_labels
from voxelsmith.segment.canvas import Canvas
from voxelsmith.segment.interpolation import interpolate, signed_distance
from voxelsmith.segment.painted import paint
from voxelsmith.segment.same_volume import SameVolumeEngine, SameVolumeRequest, SameVolumeSettings

Mask = npt.NDArray[np.bool_]
OURS, SHAPES, FOREST = "Voxelsmith, same volume", "Shape interpolation", "Random forest, same features"
TREES = 100


def reported() -> Iterator[Case]:
    """The cases that the tables show."""
    yield from ct_organs(3000)
    yield from gliomas()
    for name, truth in (("t1w", "t1w_seg-manual"), ("t2", "t2_cord")):
        folder = data_folder() / "spinal_cord"
        mask = read_labels(folder / f"{truth}.nii.gz").mask()
        yield Case("Spinal cord, MR", name, read(folder / f"{name}.nii.gz"), mask)


def chosen_on() -> Iterator[Case]:
    """The cases that the settings were chosen on."""
    for name, least in (("ct_upper_abdomen", 3000), ("mr_abdomen", 1500)):
        folder = data_folder() / name
        image, labels = read(folder / "image.nii.gz"), read_labels(folder / "labels.nii.gz")
        for value in labels.values():
            if (mask := labels.mask(value)).sum() > least:
                yield Case(name, str(value), image, mask)
    for path in sorted((data_folder() / "hippocampus" / "images").glob("*.nii.gz"))[::16]:
        image, labels = read(path), read_labels(data_folder() / "hippocampus" / "labels" / path.name)
        for value in (1, 2):
            yield Case("hippocampus", f"{path.name[:15]} {value}", image, labels.mask(value))
    yield from list(sarcomas())[::4]


def spaced(first: int, last: int, count: int, at: str) -> list[int]:
    """Evenly spaced slices of a range."""
    share = np.linspace(0, 1, count) if at == "ends" else (np.arange(count) + 0.5) / count
    length = last - first if at == "ends" else last - first + 1
    offset = 0.0 if at == "ends" else -0.5
    return sorted({round(first + offset + x * length) for x in share.tolist()})


class Timed:
    """Seconds of processor time to the first preview and in all."""

    def __init__(self) -> None:
        self.started = time.process_time()
        self.first: float | None = None
        self.refined: float | None = None

    def __call__(self, progress: object) -> None:
        partial = getattr(progress, "partial", None)
        if partial is None:
            return
        passed = time.process_time() - self.started
        if self.first is None:
            self.first = passed
        if partial.refined and self.refined is None:
            self.refined = passed


def ours(request: SameVolumeRequest) -> tuple[Mask, list[float]]:
    """The engine; seconds to the first preview, to the refined one, and in all."""
    timed = Timed()
    proposal = run_job(SameVolumeEngine().propose(request), timed)
    seconds = time.process_time() - timed.started
    return np.asarray(proposal.labels.array) == 1, [timed.first or seconds, timed.refined or seconds, seconds]


def shapes(request: SameVolumeRequest) -> tuple[Mask, list[float]]:
    """Signed distances blended between painted slices."""
    started = time.process_time()
    painted = paint(request.image, request.support, request.axis)
    spacing = [request.image.spacing[painted.axis], *np.delete(request.image.spacing, painted.axis)]
    distances = {row: signed_distance(painted.labels[row] == 1, spacing[1:]) for row in painted.complete[0]}
    inside = interpolate(distances, range(len(painted.labels)), spacing[0]) > 0
    mask = np.zeros(request.image.grid, dtype=bool)
    mask[painted.box.slices] = painted.to_volume(inside)
    return mask, [time.process_time() - started] * 3


def forest(request: SameVolumeRequest) -> tuple[Mask, list[float]]:
    """A random forest on the engine's features and the position, over the engine's region."""
    from sklearn.ensemble import RandomForestClassifier

    started = time.process_time()
    painted = paint(request.image, request.support, request.axis)
    canvas = Canvas(request.image, painted, request.settings.canvas)
    count = len(canvas.known)
    features = SameVolumeEngine().encoder.features(canvas.crop, range(count), painted.axis)
    place = np.stack(np.meshgrid(*(np.linspace(0, 1, n) for n in canvas.known.shape), indexing="ij"))
    table = np.concatenate([features, place.astype(np.float16)])
    rng = np.random.default_rng(0)
    rows = np.flatnonzero(canvas.known)
    rows = rng.choice(rows, min(len(rows), request.settings.classifier.voxels), replace=False)
    flat = table.reshape(len(table), -1)
    model = RandomForestClassifier(TREES, min_samples_leaf=2, random_state=0, n_jobs=-1)
    model.fit(flat[:, rows].T.astype(np.float32), canvas.target.ravel()[rows])
    likely = np.stack([model.predict_proba(table[:, row].reshape(len(table), -1).T)[:, 1] for row in range(count)])
    fine = canvas.at_full_resolution(likely.reshape(canvas.known.shape).astype(np.float32)) > 0.5
    mask = np.zeros(request.image.grid, dtype=bool)
    mask[painted.box.slices] = painted.to_volume(fine)
    return mask, [time.process_time() - started] * 3


METHODS: dict[str, Callable[[SameVolumeRequest], tuple[Mask, list[float]]]] = {
    OURS: ours,
    SHAPES: shapes,
    FOREST: forest,
}


def run(case: Case, count: int, at: str, methods: list[str]) -> dict[str, tuple[float, list[float]]] | None:
    """Dice over the slices that were not painted, and seconds, for each method; None if too few are left."""
    axis = case.image.affine.closest_axes.index(2)
    filled = np.flatnonzero(case.truth.any(axis=tuple(a for a in range(3) if a != axis)))
    painted = spaced(int(filled[0]), int(filled[-1]), count, at)
    rest = [s for s in range(int(filled[0]), int(filled[-1]) + 1) if s not in painted]
    if len(rest) < 3:
        return None
    labels = case.image.labels(case.truth.astype(np.uint8))
    example = SupportExample(case.image, labels, axis, tuple(painted), frozenset({1}))
    view = min(rest, key=lambda s: abs(s - filled.mean()))
    request = SameVolumeRequest(case.image, SupportSet().add(example), view, settings=SameVolumeSettings())
    out = {}
    for name in methods:
        mask, seconds = METHODS[name](request)
        out[name] = dice(np.take(case.truth, rest, axis), np.take(mask, rest, axis)), seconds
    return out


def table(scores: dict[str, dict[str, list[tuple[float, list[float]]]]]) -> list[str]:
    """Mean Dice per group and method; then seconds."""
    groups = list(next(iter(scores.values())))
    lines = ["| method | " + " | ".join(f"{g} ({len(scores[OURS][g])})" for g in groups) + " | mean of groups |"]
    lines.append("|---" * (len(groups) + 2) + "|")
    for method, found in scores.items():
        means = [float(np.mean([d for d, _ in found[g]])) for g in groups]
        lines.append(f"| {method} | " + " | ".join(f"{m:.3f}" for m in means) + f" | {np.mean(means):.3f} |")
    lines += [
        "",
        "| method | first look, CPU s (most) | refined view, CPU s (median, most) | all, CPU s (median, most) |",
        "|---" * 4 + "|",
    ]
    for method, found in scores.items():
        seconds = np.array([s for g in groups for _, s in found[g]])
        middle, most = np.median(seconds, axis=0), seconds.max(axis=0)
        lines.append(f"| {method} | {most[0]:.2f} | {middle[1]:.2f}, {most[1]:.2f} | {middle[2]:.2f}, {most[2]:.2f} |")
    return lines


def main() -> None:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", choices=["reported", "chosen-on"], default="reported")
    parser.add_argument("--slices", type=int, default=5, help="how many slices are painted")
    parser.add_argument("--at", choices=["ends", "middles"], default="ends", help="where they lie")
    parser.add_argument("--every", type=int, default=1, help="take every N-th case")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--out", type=Path, help="write the tables here too")
    arguments = parser.parse_args()
    scores: dict[str, dict[str, list[tuple[float, list[float]]]]] = {m: defaultdict(list) for m in arguments.methods}
    cases = reported() if arguments.cases == "reported" else chosen_on()
    for number, case in enumerate(cases):
        found = None if number % arguments.every else run(case, arguments.slices, arguments.at, arguments.methods)
        if found is None:
            continue
        for method, result in found.items():
            scores[method][case.group].append(result)
        print(
            f"{case.group}: {case.name} " + " ".join(f"{d:.3f} ({s[-1]:.1f} s)" for d, s in found.values()), flush=True
        )
    lines = table(scores)
    print("\n".join(lines))
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
