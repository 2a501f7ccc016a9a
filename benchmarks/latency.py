"""How long one waits for an answer on a CT of 512 x 512 x 200 voxels, and how much memory that takes.

    python benchmarks/latency.py [--engines promptable training-free random_walker] [--clicks 10] [--device auto]

Each engine runs in a process of its own, on an organ-sized object in noise: a box, then clicks at the centre of the
largest error. The first prompt counts everything from making the engine on: importing torch, loading and checking the
weights. Peak memory is that of the process above what it held after importing, less the volume. scikit-image's random
walker works on the box at full resolution, with the seeds of ``benchmarks/prompts.py``.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
from scipy import ndimage

from prompts import ScikitImageWalker
from voxelsmith.core.affine import Affine
from voxelsmith.core.metrics import dice
from voxelsmith.core.volume import Volume
from voxelsmith.segment.engine import engine_info, make_engine
from voxelsmith.segment.simulate import simulate

GRID = (512, 512, 200)
SPACING = (0.8, 0.8, 1.5)
CENTRE, RADII = (300, 230, 100), (105, 85, 45)


def make_case() -> tuple[Volume, np.ndarray]:
    """Soft tissue in noise with a slightly brighter object of uneven surface, int16 as CT is."""
    rng = np.random.default_rng(0)
    image, truth = np.empty(GRID, dtype=np.int16), np.empty(GRID, dtype=bool)
    waves = ndimage.zoom(rng.standard_normal([n // 25 for n in GRID]), 5, order=1)
    for i in range(GRID[0]):
        plane = ndimage.zoom(waves[min(i // 5, len(waves) - 1)], np.divide(GRID[1:], waves.shape[1:]), order=1)
        j, k = np.ogrid[: GRID[1], : GRID[2]]
        offset = [((x - c) / r) ** 2 for x, c, r in zip((i, j, k), CENTRE, RADII, strict=True)]
        truth[i] = offset[0] + offset[1] + offset[2] + 0.5 * plane < 1
        image[i] = 40 + 60 * truth[i] + 25 * plane + 30 * rng.standard_normal(plane.shape)
    return Volume(image, Affine.from_spacing(SPACING)), truth


def measure(name: str, clicks: int, device: str) -> None:
    """Print the table row of one engine in this process."""
    image, truth = make_case()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    engine = ScikitImageWalker() if name == "random_walker" else make_engine(engine_info(name).name, device)
    making = time.perf_counter() - started
    answers = list(simulate(engine, image, truth, clicks))
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    seconds = [answer.seconds for answer in answers]
    found = [dice(truth, answer.segmentation.on_grid()) for answer in answers]
    row = [making + seconds[0], float(np.median(seconds[1:])), max(seconds[1:])]
    shown = " | ".join(f"{value:.2f}" for value in row)
    print(f"| {engine.title} | {shown} | {peak:.0f} | {found[0]:.3f} | {found[-1]:.3f} |", flush=True)


def main() -> None:
    """Run every engine in a process of its own and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="*", default=["promptable", "training-free", "random_walker"])
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", help="measure one engine in this process")
    arguments = parser.parse_args()
    if arguments.only:
        measure(arguments.only, arguments.clicks, arguments.device)
        return
    print(
        "| method | first prompt, s | click, median s | click, longest s | peak, MiB | Dice, box | Dice, last click |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    rest = ["--clicks", str(arguments.clicks), "--device", arguments.device]
    for name in arguments.engines:
        subprocess.run([sys.executable, __file__, "--only", name, *rest], check=True)


if __name__ == "__main__":
    main()
