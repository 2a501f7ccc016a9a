"""A job as a part of a longer one: its progress goes from one count to another of the whole."""

from __future__ import annotations

from typing import TypeVar

from voxelsmith.core.progress import Job, Progress

T = TypeVar("T")


def part(job: Job[T], begin: int, end: int, total: int) -> Job[T]:
    """Run a job whose progress covers the counts from ``begin`` to ``end`` of ``total``."""
    try:
        while True:
            progress = next(job)
            done = begin + int((progress.fraction or 0.0) * (end - begin))
            yield Progress(done, total, progress.message)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        job.close()
