"""Trainings that end as a test wants them to; importable in a process of their own."""

import os
import signal

from voxelsmith.io import atomic
from voxelsmith.train.history import CHECKPOINT
from voxelsmith.train.tvunet import run


def killed_while_it_saves(request, number, inbox):
    """A training that is killed when a checkpoint is written but has not taken the place of the one before."""
    replace, written = os.replace, []

    def put(source, target):
        if str(target).endswith(CHECKPOINT):
            written.append(target)
            if len(written) == number:
                os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    atomic.os.replace = put
    return run(request, inbox)
