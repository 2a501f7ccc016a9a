"""How good and how fast prompted segmentation is: the embedded network, the training-free engine, and a peer.

    python benchmarks/prompts.py [--cases held-out|untouched|development] [--group NAME] [--every N] [--out TABLE.md]

Each object gets its tight box, then five clicks at the centre of the largest error (``voxelsmith.segment.simulate``);
apart from that, one click alone. The peer is scikit-image's random walker with the same seeds on the same region at
full resolution: background outside the box and at negative clicks, object in the core of the box and at positive
clicks; it has no answer to a click alone. All run in one process on the same cores, one after the other.

The held-out cases are of patients that the network was not trained on. No parameter of the training-free engine was
chosen on the untouched cases; of the development cases, a third served the random search for its parameters.
"""

from __future__ import annotations

import argparse
import warnings
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from skimage.segmentation import random_walker

from cases import Case, development_cases, held_out, untouched
from voxelsmith.core.metrics import dice
from voxelsmith.core.prompts import Box, ObjectPrompts
from voxelsmith.segment.engine import Engine, PromptRequest, Segmentation, make_engine
from voxelsmith.segment.evidence import box_distance
from voxelsmith.segment.simulate import simulate
from voxelsmith.segment.training_free import TrainingFreeEngine, surroundings

CLICKS = 5
COLUMNS = ("box", "1 click", "2", "3 clicks", "4", "5 clicks", "click alone")
SHOWN = (0, 1, 3, 5, 6)
CORE = 0.35
WORSE = 0.02
# Not among the groups that the network was made for: nothing like them was trained on.
EXTRA_GROUPS = {"Lung lobes, MR"}


class ScikitImageWalker:
    """scikit-image's random walker behind the engine interface, at full resolution."""

    name = "skimage random_walker"
    title = "scikit-image random_walker"
    accepts = TrainingFreeEngine.accepts

    def segment(self, request: PromptRequest):
        """One request; yields nothing."""
        image, prompts = request.image, request.prompts
        box = prompts.boxes[0]
        region = surroundings(box, prompts, image.grid, TrainingFreeEngine().settings.margin)
        crop = np.asarray(image.array[region.slices]).astype(np.float32)
        mask = self._walk(crop, self._seeds(box, region, prompts), image.spacing)
        return Segmentation(request, region, mask, self.name)
        yield

    def _seeds(self, box: Box, region: Box, prompts: ObjectPrompts) -> npt.NDArray[np.uint8]:
        low = np.array(box.lo) - region.lo
        radius = np.array(box.shape) / 2
        distance, inside = box_distance(region.shape, low + radius - 0.5, radius)
        seeds = np.where(inside, 0, 2).astype(np.uint8)
        seeds[distance < CORE] = 1
        seeds[tuple((low + radius - 0.5).astype(int))] = 1
        for positive, value in ((True, 1), (False, 2)):
            seeds[tuple((prompts.seeds(positive) - region.lo).T)] = value
        return seeds

    def _walk(
        self, crop: npt.NDArray[np.float32], seeds: npt.NDArray[np.uint8], spacing: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return random_walker(crop, seeds, mode="cg_j", spacing=spacing / spacing.min(), tol=1e-3) == 1


@dataclass
class Record:
    """What one engine reached."""

    scores: dict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    seconds: list[float] = field(default_factory=list)
    first_seconds: list[float] = field(default_factory=list)
    steps: int = 0
    worse: int = 0
    clicks: int = 0
    obeyed: int = 0

    def add(self, engine: Engine | ScikitImageWalker, case: Case) -> None:
        """Prompt the engine with a case: a box and clicks, then a click alone."""
        dices: list[float] = []
        for answer in simulate(engine, case.image, case.truth, CLICKS):
            (self.seconds if dices else self.first_seconds).append(answer.seconds)
            mask = answer.segmentation.on_grid()
            dices.append(dice(case.truth, mask))
            for point in answer.segmentation.request.prompts.points:
                self.clicks += 1
                self.obeyed += bool(mask[point.voxel]) == point.positive
        self.steps += len(dices) - 1
        self.worse += int((np.diff(dices) < -WORSE).sum())
        dices += dices[-1:] * (CLICKS + 1 - len(dices))
        alone = np.nan
        if not isinstance(engine, ScikitImageWalker):
            first = next(simulate(engine, case.image, case.truth, 0, box=False))
            alone = dice(case.truth, first.segmentation.on_grid())
        self.scores[case.group].append([*dices, alone])

    def means(self, groups: Iterable[str]) -> npt.NDArray[np.float64]:
        """Mean over groups of the groups' means, for each column."""
        return np.mean([np.mean(self.scores[group], axis=0) for group in groups], axis=0)


def main() -> None:
    """Run and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", choices=["held-out", "untouched", "development"], default="held-out")
    parser.add_argument("--group", default="", help="one group of the held-out cases alone")
    parser.add_argument("--every", type=int, default=1, help="take every N-th case")
    parser.add_argument("--engines", nargs="*", default=["promptable", "training-free", "random_walker"])
    parser.add_argument("--out", type=Path, help="write the table here too")
    arguments = parser.parse_args()
    engines = [ScikitImageWalker() if n == "random_walker" else make_engine(n) for n in arguments.engines]
    records = {engine.title: Record() for engine in engines}
    cases = {"held-out": held_out, "untouched": untouched, "development": development_cases}[arguments.cases]
    for number, case in enumerate(held_out(arguments.group) if arguments.group else cases()):
        if number % arguments.every:
            continue
        for engine in engines:
            records[engine.title].add(engine, case)
        print(f"{case.group}: {case.name}", flush=True)
    lines = table(records)
    print("\n".join(lines))
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(records: dict[str, Record]) -> list[str]:
    """The Markdown tables: mean Dice per group and prompt, then seconds and how corrections fared."""
    groups = list(next(iter(records.values())).scores)
    counted = [group for group in groups if group not in EXTRA_GROUPS]
    heads = " | ".join(COLUMNS[s] for s in SHOWN)
    lines = [f"| group | cases | method | {heads} |", "|---|---|---|" + "---|" * len(SHOWN)]
    rows = [("Mean over groups", counted)] + [(group, [group]) for group in groups]
    for name, members in rows:
        for title, record in records.items():
            count = sum(len(record.scores[group]) for group in members)
            figures = (record.means(members)[s] for s in SHOWN)
            shown = " | ".join("" if np.isnan(f) else f"{f:.3f}" for f in figures)
            lines.append(f"| {name} | {count} | {title} | {shown} |")
    lines += [
        "",
        "| method | box, median s | click, median s | click, 95 % | clicks that cost over 0.02 | clicks obeyed |",
    ]
    lines.append("|---|---|---|---|---|---|")
    for title, record in records.items():
        middle = [np.median(record.first_seconds), np.median(record.seconds), np.percentile(record.seconds, 95)]
        worse, obeyed = record.worse / max(record.steps, 1), record.obeyed / max(record.clicks, 1)
        lines.append(f"| {title} | " + " | ".join(f"{v:.3f}" for v in middle) + f" | {worse:.1%} | {obeyed:.1%} |")
    return lines


if __name__ == "__main__":
    main()
