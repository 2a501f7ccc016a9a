"""What each of several processes does in a test: train, be stopped and go on, and leave its weights.

Run as ``python ranks_script.py FOLDER`` with the environment that torchrun makes.
"""

import sys
from contextlib import closing
from pathlib import Path

import torch
from blobs import BlobRecipe

from voxelsmith.core.progress import run_job
from voxelsmith.train.loop import Settings, train
from voxelsmith.train.ranks import ranks

STEPS, STOPPED_AT = 4, 2


class WatchedRecipe(BlobRecipe):
    """Notes what it learns from, and has a part that its loss never asks."""

    def __init__(self):
        super().__init__()
        self.model.add_module("spare", torch.nn.Identity())
        self.model.spare.weight = torch.nn.Parameter(torch.ones(2))
        # As if each process had first weights of its own.
        with torch.no_grad():
            self.model[0].weight.add_(ranks().rank)
        self.seen = []

    def loss(self, sample, rng):
        self.seen.append(float(sample["image"].mean()))
        return super().loss(sample, rng)


def settings():
    return Settings(
        steps=STEPS, accumulate=2, validate_every=2, log_every=1, checkpoint_every=3, device="cpu", precision="float32"
    )


def main(folder):
    straight = WatchedRecipe()
    run_job(train(straight, settings(), folder / "straight"))
    halted = WatchedRecipe()
    # The first process alone is told to stop; the others have to notice.
    with closing(train(halted, settings(), folder / "halted")) as job:
        for progress in job:
            if progress.done == STOPPED_AT and ranks().first:
                break
    reached = progress.done
    resumed = WatchedRecipe()
    run_job(train(resumed, settings(), folder / "halted", resume=True))
    left = {
        "straight": straight.model.state_dict(),
        "resumed": resumed.model.state_dict(),
        "seen": straight.seen,
        "reached": reached,
    }
    torch.save(left, folder / f"rank{ranks().rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
