"""What a running computation reports.

A long computation is a generator (:data:`Job`): it yields :class:`Progress` and returns its result. Each yield is a
chance to stop it. This module owns the vocabulary; :mod:`voxelsmith.jobs` runs the generators.
"""

from __future__ import annotations

from collections.abc import Generator
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


class Cancelled(Exception):  # noqa: N818 - an outcome, not an error
    """The user stopped the computation; nothing was changed."""


Job: TypeAlias = Generator[Progress, None, T]
