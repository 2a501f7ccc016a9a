"""Which size of the promptable network: its cost, and the validation Dice of each candidate at equal training.

    VOXELSMITH_DATA=... python benchmarks/candidates.py [--steps 1000] [--seed 0] [--only NUMBER ...]

Each candidate is trained by the recipe of the shipped network, on the same samples, for the same number of steps, from
random weights, and validated by it: mean Dice over the validation set after the first prompt, and after one and two
clicks more. Costs are those of one pass over 64 x 64 x 64 voxels on one thread.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from voxelsmith.core.progress import run_job
from voxelsmith.models.device import uses_bfloat16
from voxelsmith.models.promptable import CHANNELS, Architecture, PromptableNet
from voxelsmith.train.loop import train
from voxelsmith.train.promptable import recipe, settings

CANDIDATES = {
    "half-resolution stem, 16 to 96 channels (shipped)": Architecture(),
    "half-resolution stem, 8 to 64 channels": Architecture((8, 16, 32, 64)),
    "half-resolution stem, 24 to 128 channels": Architecture((24, 48, 96, 128), detail=8),
}


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="*", default=range(len(CANDIDATES)))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | parameters | GFLOP | pass, ms | training pass, ms | box or click | 1 more | 2 more | minutes |")
    print("|---|---|---|---|---|---|---|---|---|")
    for number in arguments.only:
        name, architecture = list(CANDIDATES.items())[number]
        began = time.perf_counter()
        measures = trained(architecture, arguments.steps, arguments.seed)
        dice = " | ".join(f"{measures[key]:.3f}" for key in ("dice0", "dice1", "dice2"))
        minutes = (time.perf_counter() - began) / 60
        print(f"| {name} | {cost(architecture)} | {dice} | {minutes:.0f} |", flush=True)
    print(f"\nThe guess that all of them correct: {measures['guess']:.3f}.")


def cost(architecture) -> str:
    """Parameters, operations and times, as cells of the table."""
    half = uses_bfloat16("auto", torch.device("cpu"))
    x = torch.rand(1, len(CHANNELS), 64, 64, 64)
    model = PromptableNet(architecture).to(memory_format=torch.channels_last_3d)
    # In bfloat16, as float32 goes to oneDNN by a way that torch does not count.
    with FlopCounterMode(display=False) as counter, torch.autocast("cpu", dtype=torch.bfloat16):
        model(x)
    forward, training = [], []
    for _ in range(6):
        began = time.perf_counter()
        with torch.inference_mode():
            model(x)
        forward.append(time.perf_counter() - began)
        began = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            y = model(x)
        y.mean().backward()
        training.append(time.perf_counter() - began)
    size = sum(p.numel() for p in model.parameters()) / 1e6
    operations = counter.get_total_flops() / 1e9
    return f"{size:.1f} M | {operations:.1f} | {1e3 * np.median(forward):.0f} | {1e3 * np.median(training):.0f}"


def trained(architecture, steps, seed) -> dict[str, float]:
    """Validation measures after so many steps."""
    job = recipe(Path(os.environ["VOXELSMITH_DATA"]), seed, architecture)
    with TemporaryDirectory() as folder:
        history = run_job(train(job, settings(steps=steps, validate_every=steps, seed=seed), Path(folder)))
    return history.rows[-1].validation


if __name__ == "__main__":
    main()
