"""What a running computation reports.

A long computation is a generator (:data:`Job`): it yields :class:`Progress` and returns its result. Each yield is a
chance to stop it. This module owns the vocabulary and the plain way to drive a job to its end in the calling thread;
napari, the command line and clusters drive the same generators.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """One report of a running computation.

    Parameters
    ----------
    done, total
        Steps finished and steps in all, in a unit of the job's own; ``total`` 0 means unknown.
    message
        What is being done, as a short phrase for the user.
    partial
        An early result that may be shown, or None.
    """

    done: int
    total: int
    message: str = ""
    partial: Any = None

    @property
    def fraction(self) -> float | None:
        """Share finished, 0 to 1, or None when the total is unknown."""
        return min(1.0, self.done / self.total) if self.total > 0 else None


class Cancelled(Exception):
    """The user stopped the computation; nothing was changed."""


Job: TypeAlias = Generator[Progress, None, T]


def run_job(job: Job[T], on_progress: Callable[[Progress], bool | None] | None = None) -> T:
    """Drive a job to its end in this thread.

    Parameters
    ----------
    job
        A generator that yields :class:`Progress` and returns its result.
    on_progress
        Called with each report; returning False stops the job.

    Returns
    -------
    T
        What the job returns.

    Raises
    ------
    Cancelled
        If ``on_progress`` returned False; the job was closed and could clean up.
    """
    try:
        while True:
            progress = next(job)
            if on_progress is not None and on_progress(progress) is False:
                raise Cancelled("Stopped by the user; nothing was changed.")
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        job.close()
