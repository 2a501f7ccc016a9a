"""The stream of samples from a dataset to the loop, built here or in processes of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from voxelsmith.core.errors import VoxelsmithError
from voxelsmith.train.ranks import Ranks
from voxelsmith.train.settings import Settings

# What the linear algebra of numpy reads when it is loaded.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Samples that each process builds ahead.
_AHEAD = 4
_ALONE = Ranks()


def stream(
    dataset: Dataset[Any], settings: Settings, step: int, device: torch.device, ranks: Ranks = _ALONE
) -> Iterator[Any]:
    """The samples of all steps from ``step`` on, one at a time and in order, whatever the number of workers.

    Workers are spawned, which is slower than a fork but safe beside Qt, CUDA and threads; each computes with one
    thread, and ends when the iterator is dropped. An error of the user reaches the loop as it was raised. Processes
    that train together take samples in turn.
    """
    workers, each = settings.workers, settings.accumulate * ranks.count
    loader = DataLoader(
        _ErrorsAsSamples(dataset),
        sampler=range(step * each + ranks.rank, settings.steps * each, ranks.count),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_leave_interrupts_to_the_loop,
        pin_memory=device.type == "cuda",
        # Of its own, because otherwise it draws from the global one.
        generator=torch.Generator().manual_seed(settings.seed),
    )
    with _one_thread_each():
        return map(_raise_errors, iter(loader))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started meanwhile do linear algebra in one thread; more would wait for each other."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ |= dict.fromkeys(_THREADS, "1")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _ErrorsAsSamples(Dataset[Any]):
    """Hands errors of the user over as samples; torch would put the traceback of the process into their sentence."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset

    def __getitem__(self, index: int) -> Any:
        try:
            return self._dataset[index]
        except VoxelsmithError as error:
            return error


def _raise_errors(sample: Any) -> Any:
    if isinstance(sample, VoxelsmithError):
        raise sample
    return sample


def _leave_interrupts_to_the_loop(worker: int) -> None:
    """Ctrl+C reaches the whole process group; only the loop answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
