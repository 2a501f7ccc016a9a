"""Runs of ``voxelsmith train episodes``: which networks there are, found without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voxelsmith.core.errors import FormatError, ModelUnavailableError
from voxelsmith.segment.episodic import WEIGHTS, Method, method_of

_SERVES = {
    "prototype": "an encoder for prototypes of other volumes",
    "senet": "SE-Net, which annotated slices of other volumes condition",
    "film": "FiLM network, which annotated slices of other volumes condition",
}


@dataclass(frozen=True)
class EpisodicRun:
    """A run folder with a network that learned from episodes.

    Parameters
    ----------
    folder
        Where it lies.
    method
        What it is.
    """

    folder: Path
    method: Method

    @property
    def name(self) -> str:
        """What it is called."""
        return self.folder.name

    @property
    def description(self) -> str:
        """What it serves for, in a line."""
        return _SERVES[self.method]


def read_episodic_run(folder: Path | str) -> EpisodicRun:
    """What is known of the network in a run folder; raises as :func:`~voxelsmith.segment.episodic.load_network`."""
    folder = Path(folder)
    return EpisodicRun(folder.resolve(), method_of(folder))


def episodic_runs(parent: Path) -> tuple[EpisodicRun, ...]:
    """The networks in a folder of runs, the latest first; damaged ones, and those of other trainings, left out."""
    found = []
    try:
        files = [file for file in parent.glob(f"*/{WEIGHTS}") if file.is_file()]
    except OSError:
        return ()
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        try:
            found.append(read_episodic_run(file.parent))
        except (FormatError, ModelUnavailableError):
            continue
    return tuple(found)
