"""What a view costs in SegVol's training: computing time and memory, of the whole network and of the decoder alone.

    python benchmarks/segvol_training.py [--threads 1] [--device auto]

The network has the published size and random weights, the volume is made up: neither changes the cost. A view is drawn,
shown with its twelve sets of prompts, and its slopes are computed; the optimiser, which is not run, holds two numbers
more for each that learns. Each kind is measured in a process of its own, once. The time is that of the processor, on
CUDA that of the clock after a first view; the memory is the peak of the process, on CUDA that of torch.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from voxelsmith.models.device import pick_device
from voxelsmith.models.segvol import SegVolNet
from voxelsmith.train.entry import Entry
from voxelsmith.train.segvol import SegVolRecipe
from voxelsmith.train.segvol_views import SegVolViews


def scan(folder: Path) -> Entry:
    """A noisy volume with a bright block, and its labels."""
    labels = np.zeros((160, 160, 48), dtype=np.int16)
    labels[40:100, 50:110, 10:30] = 1
    image = np.random.default_rng(0).normal(100, 10, labels.shape) + 80 * labels
    for name, array in (("image", image.astype(np.float32)), ("labels", labels)):
        nib.save(nib.Nifti1Image(array, np.diag([1, 1, 2, 1])), folder / f"{name}.nii.gz")
    return Entry("train", "Block", "1", folder / "image.nii.gz", folder / "labels.nii.gz", names=((1, "block"),))


def measure(device: torch.device, decoder_only: bool) -> None:
    """Print the cost of a view."""
    with tempfile.TemporaryDirectory() as folder:
        model = SegVolNet(text=False).to(device)
        views = SegVolViews([scan(Path(folder))], model.architecture.view)
        words = {"block": np.ones(model.architecture.width, dtype=np.float32)}
        recipe = SegVolRecipe(model, views, views, words, {}, decoder_only=decoder_only)
        view, cuda = views[0], device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    for _ in range(2 if cuda else 1):
        started = clock()
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=cuda):
            loss = recipe.loss(view, np.random.default_rng(0))["loss"]
        loss.backward()
        loss.item()
    seconds = clock() - started
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{'decoder only' if decoder_only else 'all':>12}: {seconds:6.1f} s, {peak / 1e9:.1f} GB")


def main() -> None:
    """Measure in this process, or both kinds in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--kind", choices=["all", "decoder"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.kind:
        measure(pick_device(arguments.device), arguments.kind == "decoder")
        return
    for kind in ("all", "decoder"):
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--kind", kind], check=True)


if __name__ == "__main__":
    main()
