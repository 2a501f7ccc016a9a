"""How good and how fast prompted segmentation is, beside scikit-image's random walker.

    python benchmarks/prompts.py [--cases untouched|development] [--every N] [--out TABLE.md]

Each object gets its tight box, then five clicks at the centre of the largest error (``voxelsmith.segment.simulate``).
The peer gets the same seeds on the same region at full resolution: background outside the box and at negative clicks,
object in the core of the box and at positive clicks. Both run in one process on the same cores, one after the other.
No parameter of the engine was chosen on the untouched cases. Of the development cases, a third served the random search
for its parameters; the position prior and a few last choices looked at more of them.
"""

from __future__ import annotations

import argparse
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from skimage.segmentation import random_walker

from cases import Case, development_cases, untouched
from voxelsmith.core.metrics import dice
from voxelsmith.core.prompts import Box, ObjectPrompts
from voxelsmith.segment.engine import PromptRequest, Segmentation
from voxelsmith.segment.evidence import box_distance
from voxelsmith.segment.simulate import simulate
from voxelsmith.segment.training_free import TrainingFreeEngine, surroundings

STEPS = ("box", "1 click", "2", "3 clicks", "4", "5 clicks")
SHOWN = (0, 1, 3, 5)
CORE = 0.35
TUNED_EVERY = 3


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


def prompt(engine: TrainingFreeEngine | ScikitImageWalker, case: Case, clicks: int) -> tuple[list[float], list[float]]:
    """Dice after each prompt (the last repeated when nothing is left to correct) and seconds per prompt."""
    scores, seconds = [], []
    for answer in simulate(engine, case.image, case.truth, clicks):
        seconds.append(answer.seconds)
        scores.append(dice(case.truth, answer.segmentation.on_grid()))
    return scores + scores[-1:] * (clicks + 1 - len(scores)), seconds


def main() -> None:
    """Run and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", choices=["untouched", "development"], default="untouched")
    parser.add_argument("--every", type=int, default=1, help="take every N-th case")
    parser.add_argument("--clicks", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the table here too")
    arguments = parser.parse_args()
    engines = (TrainingFreeEngine(), ScikitImageWalker())
    scores: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    seconds: dict[str, list[float]] = defaultdict(list)
    cases = untouched() if arguments.cases == "untouched" else development_cases()
    for number, case in enumerate(cases):
        if number % arguments.every:
            continue
        share = "All, in the random search" if number % TUNED_EVERY == 0 else "All, not in the random search"
        groups = ["All", case.group] if arguments.cases == "untouched" else ["All", share, case.group]
        for engine in engines:
            dices, times = prompt(engine, case, arguments.clicks)
            for group in groups:
                scores[group][engine.title].append(dices)
            seconds[engine.title] += times
        print(f"{case.group} {case.name}", flush=True)
    lines = table(scores, seconds)
    print("\n".join(lines))
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(scores: dict[str, dict[str, list[list[float]]]], seconds: dict[str, list[float]]) -> list[str]:
    """The Markdown table: mean Dice per group and prompt, then seconds."""
    heads = " | ".join(STEPS[s] for s in SHOWN)
    lines = [f"| group | cases | method | {heads} |", "|---|---|---|" + "---|" * len(SHOWN)]
    for group, methods in scores.items():
        for method, rows in methods.items():
            mean = np.mean(rows, axis=0)
            lines.append(f"| {group} | {len(rows)} | {method} | " + " | ".join(f"{mean[s]:.3f}" for s in SHOWN) + " |")
    ours, theirs = (np.array(v) for v in seconds.values())
    lines += ["", "| method | median s | 95 % | mean |", "|---|---|---|---|"]
    for method, values in seconds.items():
        figures = np.median(values), np.percentile(values, 95), np.mean(values)
        lines.append(f"| {method} | " + " | ".join(f"{v:.3f}" for v in figures) + " |")
    lines += ["", f"Total time: the peer takes {theirs.sum() / ours.sum():.1f} times as long."]
    return lines


if __name__ == "__main__":
    main()
