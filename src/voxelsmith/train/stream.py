"""The stream of samples from a dataset to the loop, built here or in processes of their own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from voxelsmith.train.settings import Settings

# Samples that each process builds ahead.
_AHEAD = 4


def stream(dataset: Dataset[Any], settings: Settings, step: int, device: torch.device) -> Iterator[Any]:
    """The samples of all steps from ``step`` on, one at a time and in order, whatever the number of workers.

    The processes are spawned, which is slower than a fork but safe beside Qt, CUDA and threads; each computes with one
    thread, and ends when the iterator is dropped.
    """
    workers = settings.workers
    loader = DataLoader(
        dataset,
        sampler=range(step * settings.accumulate, settings.steps * settings.accumulate),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_leave_interrupts_to_the_loop,
        pin_memory=device.type == "cuda",
        # Of its own, because otherwise it draws from the global one.
        generator=torch.Generator().manual_seed(settings.seed),
    )
    return iter(loader)


def _leave_interrupts_to_the_loop(worker: int) -> None:
    """Ctrl+C reaches the whole process group; only the loop answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
