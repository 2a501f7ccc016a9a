"""How much memory a registration of 160 x 192 x 224 voxels needs, preset by preset.

    python benchmarks/registration_memory.py [--presets same-modality ...] [--steps 2]

Two images of smooth noise that fill the whole grid, each preset in a process of its own on one thread. The peak is that
of the process, with the libraries and both volumes in it; beside it what the process held before the volumes were made,
after one tiny registration. Each level takes only a few steps: the peak does not grow with them.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from voxelsmith.core.progress import run_job
from voxelsmith.core.volume import Volume
from voxelsmith.register.pipeline import register
from voxelsmith.register.presets import PRESETS, preset
from voxelsmith.register.request import RegistrationRequest

GRID = (160, 192, 224)
_TINY = (20, 24, 28)
_GIB = 2**30


def peak_bytes() -> int:
    """Peak resident size of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def noise(grid: tuple[int, int, int], seed: int) -> Volume:
    """Smooth noise, float32, interpolated from a coarse grid plane by plane so that making it takes little memory."""
    coarse = np.random.default_rng(seed).standard_normal([n // 4 for n in grid]).astype(np.float32)
    out = np.empty(grid, np.float32)
    for i in range(grid[0]):
        out[i] = ndimage.zoom(coarse[min(i // 4, len(coarse) - 1)], 4, order=1)
    return Volume(out)


def once(name: str, grid: tuple[int, int, int], steps: int) -> None:
    """Register two images with a preset, a few steps a level."""
    fixed, moving = noise(grid, 0), noise(grid, 0)
    moving.array[...] = ndimage.shift(moving.array, (1, 0, -1), order=1, mode="nearest")
    settings = preset(name, fixed)
    if settings.deformable is not None:
        few = replace(settings.deformable, iterations=steps, fine_iterations=steps)
        settings = replace(settings, deformable=few)
    run_job(register(RegistrationRequest(fixed, moving, settings=settings)))


def main() -> None:
    """Run every preset in a process of its own and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--only", choices=PRESETS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        torch.set_num_threads(1)
        once(arguments.only, _TINY, arguments.steps)
        before = peak_bytes()
        once(arguments.only, GRID, arguments.steps)
        print(f"| `{arguments.only}` | {peak_bytes() / _GIB:.2f} | {before / _GIB:.2f} |")
        return
    print("| preset | peak GiB | before, GiB |\n|---|---|---|", flush=True)
    for name in arguments.presets:
        command = [sys.executable, __file__, "--only", name, "--steps", str(arguments.steps)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
