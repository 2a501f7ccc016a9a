"""How long a prompt takes and how much memory it needs on a 256 x 256 x 128 volume, without a window.

    python benchmarks/memory.py [--engine promptable] [--dtype int16]

A blob of random shape in noise, prompted by boxes and clicks, each session in a process of its own; the largest box is
the whole volume. Peak memory is that of the process above what it held after importing and one tiny prompt, as a
multiple of the volume, with the volume itself counted.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
from scipy import ndimage

from voxelsmith.core.affine import Affine
from voxelsmith.core.prompts import Box, Point, Prompt
from voxelsmith.core.volume import Volume
from voxelsmith.segment.engine import engine_names, make_engine
from voxelsmith.segment.session import PromptSession

GRID = (256, 256, 128)


def peak_bytes() -> int:
    """Peak resident size of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def make_image(dtype: str) -> np.ndarray:
    """Smooth noise with a bright irregular object of about a third of each extent, made in place."""
    rng = np.random.default_rng(0)
    out = np.empty(GRID, dtype=dtype)
    coarse = ndimage.zoom(rng.standard_normal([n // 16 for n in GRID]), 4, order=1)
    for i in range(GRID[0]):
        plane = ndimage.zoom(coarse[i // 4], 4, order=1)
        j, k = np.ogrid[: GRID[1], : GRID[2]]
        distance = ((i - 128) / 60) ** 2 + ((j - 128) / 50) ** 2 + ((k - 64) / 30) ** 2
        out[i] = 300 * (distance + 0.4 * plane < 1) + 60 * rng.standard_normal(plane.shape) + 40 * plane + 500
    return out


BOX = Box((64, 64, 32), (191, 191, 95))
SESSIONS: dict[str, list[Prompt]] = {
    "box, 25 % of each axis": [Box((96, 96, 48), (160, 160, 80))],
    "box, half of each axis": [BOX],
    "the same, then a positive click": [BOX, Point((128, 128, 64))],
    "the same, then a negative click": [BOX, Point((128, 128, 64)), Point((70, 70, 40), positive=False)],
    "box, the whole volume": [Box((0, 0, 0), (255, 255, 127))],
    "click alone": [Point((128, 128, 64))],
}


def measure(name: str, dtype: str, engine: str) -> None:
    """Print the table row of one session in this process."""
    warm = PromptSession(make_engine(engine))
    warm.set_image(Volume(np.random.default_rng(0).standard_normal((24, 24, 24)).astype(dtype)))
    warm.prompt(Box((6, 6, 6), (17, 17, 17)))
    warm.prompt(Point((11, 11, 11)))
    before = peak_bytes()
    image = Volume(make_image(dtype), Affine.from_spacing((1, 1, 1.5)))
    session = PromptSession(make_engine(engine))
    session.set_image(image)
    for prompt in SESSIONS[name]:
        started = time.perf_counter()
        session.prompt(prompt)
        seconds = time.perf_counter() - started
    print(f"| {name} | {seconds:.2f} | {(peak_bytes() - before) / image.array.nbytes:.2f} |")


def main() -> None:
    """Run every session in a process of its own and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default=engine_names()[0], choices=engine_names())
    parser.add_argument("--dtype", default="int16")
    parser.add_argument("--only", choices=SESSIONS)
    arguments = parser.parse_args()
    if arguments.only:
        measure(arguments.only, arguments.dtype, arguments.engine)
        return
    print("| session | seconds of its last prompt | peak memory, volumes |\n|---|---|---|", flush=True)
    for name in SESSIONS:
        options = ["--engine", arguments.engine, "--dtype", arguments.dtype, "--only", name]
        subprocess.run([sys.executable, __file__, *options], check=True)


if __name__ == "__main__":
    main()
