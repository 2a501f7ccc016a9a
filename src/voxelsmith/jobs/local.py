"""Running a job in this process and keeping a record of it.

Owns what a finished computation says of itself: its title, the fingerprint of the data it was computed from, and how
long it took. The command line prints this record; the result is bound to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from voxelsmith.core.progress import Job, Progress, run_job

T = TypeVar("T")


@dataclass(frozen=True)
class Finished(Generic[T]):
    """The result of a job with its record.

    Parameters
    ----------
    result
        What the job returned.
    title
        What was done, as a short phrase.
    fingerprint
        Hash of the data that went in (:meth:`voxelsmith.core.volume.Volume.fingerprint`).
    seconds
        Wall time.
    """

    result: T
    title: str
    fingerprint: str
    seconds: float


def run_here(
    job: Job[T], *, title: str, fingerprint: str = "", on_progress: Callable[[Progress], bool | None] | None = None
) -> Finished[T]:
    """Drive a job to its end in this thread; see :func:`voxelsmith.core.progress.run_job`."""
    started = time.perf_counter()
    result = run_job(job, on_progress)
    return Finished(result, title, fingerprint, time.perf_counter() - started)
