"""How many training samples a second the data engine makes, and how many the network takes, one thread each.

    python benchmarks/data_engine.py [--samples 40] [--candidates]

Samples are those of ``voxelsmith.train.promptable`` with their first prompts; without VOXELSMITH_DATA only synthetic
shapes are made. With ``--candidates``, the cost of networks of other sizes is printed too: floating-point operations of
one pass over 64 x 64 x 64 voxels, and milliseconds for it.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from voxelsmith.models.device import uses_bfloat16
from voxelsmith.models.promptable import CHANNELS, Architecture, PromptableNet
from voxelsmith.train.promptable import recipe

CANDIDATES = {
    "half-resolution stem, 16 to 96 channels (shipped)": Architecture(),
    "half-resolution stem, 24 to 128 channels": Architecture((24, 48, 96, 128), detail=8),
    "half-resolution stem, 32 to 160 channels": Architecture((32, 64, 128, 160), detail=8),
    "full resolution, 8 to 128 channels": Architecture((8, 32, 64, 128), stem=1),
}


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--candidates", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = os.environ.get("VOXELSMITH_DATA")
    trainer = recipe(Path(folder) if folder else None)
    episodes = samples(trainer, arguments.samples)
    network(trainer, episodes)
    if arguments.candidates:
        candidates()


def samples(trainer, count):
    """Time the sources; returns episodes of all kinds."""
    print("| source | median ms a sample | mean |\n|---|---|---|")
    for source in trainer.dataset.sources:
        seconds = []
        for index in range(count + 5):
            rng = np.random.default_rng(index)
            began = time.perf_counter()
            trainer.dataset.episode(rng, source)
            seconds.append(time.perf_counter() - began)
        # The first ones read files.
        print(f"| {source} | {1e3 * np.median(seconds[5:]):.0f} | {1e3 * np.mean(seconds[5:]):.0f} |", flush=True)
    began = time.perf_counter()
    episodes = [trainer.dataset[index] for index in range(count)]
    print(f"\nAs trained on: {count / (time.perf_counter() - began):.1f} samples a second.\n")
    return episodes


def network(trainer, episodes) -> None:
    """Time the loss and its gradient over episodes."""
    trainer.model.to(memory_format=torch.channels_last_3d)
    half = uses_bfloat16("auto", torch.device("cpu"))
    began = time.perf_counter()
    for index, episode in enumerate(episodes):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            terms = trainer.loss(episode, np.random.default_rng(index))
        terms["loss"].backward()
    precision = "bfloat16" if half else "float32"
    rate = len(episodes) / (time.perf_counter() - began)
    print(f"Network, forward and backward, {precision}: {rate:.1f} samples a second.\n")


def candidates() -> None:
    """Cost of networks of several sizes."""
    print("| network | parameters | GFLOP a pass | float32, ms | training pass, ms |\n|---|---|---|---|---|")
    half = uses_bfloat16("auto", torch.device("cpu"))
    x = torch.rand(1, len(CHANNELS), 64, 64, 64)
    for name, architecture in CANDIDATES.items():
        model = PromptableNet(architecture).to(memory_format=torch.channels_last_3d)
        with FlopCounterMode(display=False) as counter:
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
        cost = counter.get_total_flops() / 1e9
        figures = f"{1e3 * np.median(forward):.0f} | {1e3 * np.median(training):.0f}"
        print(f"| {name} | {size:.1f} M | {cost:.1f} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
