"""How many training samples a second the data engine makes, and how many the network takes, one thread each.

    python benchmarks/data_engine.py [--samples 40]

Samples are those of ``voxelsmith.train.promptable`` with their first prompts; without VOXELSMITH_DATA only synthetic
shapes are made.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from voxelsmith.models.device import uses_bfloat16
from voxelsmith.train.promptable import recipe


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = os.environ.get("VOXELSMITH_DATA")
    trainer = recipe(Path(folder) if folder else None)
    episodes = samples(trainer, arguments.samples)
    network(trainer, episodes)


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


if __name__ == "__main__":
    main()
