"""Pairs folder: a folder of images with labels that a training learns from, beside annotated slices or without any.

Owns which folder is chosen, and what is said of it before a training begins. All of its files are read once to be sure
of them, and read again when they are learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QObject

from voxelsmith.core.progress import Job
from voxelsmith.plugin.docks.train.data_part import DataPart
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.train.pairs import read_pairs

_JOB = "pairs"
_TOLD = 8


@dataclass(frozen=True)
class PairsReport:
    """What lies in a folder of pairs.

    Parameters
    ----------
    learned, judging
        Numbers of volumes.
    classes
        Label value to name.
    finest, coarsest
        Voxel sizes in millimetres, of each axis the smallest and the largest.
    """

    learned: int
    judging: int
    classes: Mapping[int, str]
    finest: tuple[float, ...]
    coarsest: tuple[float, ...]

    @property
    def sentence(self) -> str:
        """For the user."""
        told = [f"{value} {name}" for value, name in self.classes.items()]
        more = f" and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
        names = ", ".join(told[:_TOLD]) + more
        sizes = [" x ".join(f"{size:.3g}" for size in sizes) for sizes in (self.finest, self.coarsest)]
        voxels = " to ".join(dict.fromkeys(sizes))
        judges = f"{self.judging} more judge" if self.judging else "none is kept apart to judge by"
        return f"{self.learned} volumes to learn from, {judges}. Classes: {names}. Voxels of {voxels} mm."


def examine(folder: Path) -> Job[PairsReport]:
    """Job that reads a folder of pairs and says what is in it; see :func:`~voxelsmith.train.pairs.read_pairs`."""
    pairs = yield from read_pairs(folder)
    examples = pairs.support.examples
    sizes = np.array([example.image.spacing for example in (*examples, *pairs.judges)])
    finest, coarsest = (tuple(float(size) for size in ends) for ends in (sizes.min(axis=0), sizes.max(axis=0)))
    return PairsReport(len(examples), len(pairs.judges), pairs.support.names, finest, coarsest)


class PairsFolder:
    """Decides which folder of pairs is learned from.

    Parameters
    ----------
    part
        Where it is chosen and told of.
    viewer : napari.components.ViewerModel
    parent
        The dock.
    on_change
        Called when another folder is learned from, or none any more.

    Attributes
    ----------
    folder : Path or None
        What is learned from; a folder that cannot be read never is.
    classes : dict
        Label value to name, of that folder.
    """

    def __init__(self, part: DataPart, viewer: Any, parent: QObject, on_change: Callable[[], None]) -> None:
        self._part, self._on_change = part, on_change
        self._runner = JobRunner(viewer, parent)
        self.folder: Path | None = None
        self.classes: dict[int, str] = {}
        part.pairs_chosen.connect(self.choose)
        part.pairs_dropped.connect(self.drop)
        part.set_pairs(None)

    def close(self) -> None:
        """Stop looking."""
        self._runner.shutdown()

    def choose(self, folder: Path) -> None:
        """Learn from a folder, if what lies in it can be learned from."""
        self.drop()
        self._part.set_pairs(folder, "Reading…")

        def take(report: PairsReport) -> None:
            self.folder, self.classes = folder, dict(report.classes)
            self._part.set_pairs(folder, report.sentence)
            self._on_change()

        self._runner.start(
            lambda: examine(folder),
            title="Reading pairs",
            key=_JOB,
            on_result=take,
            on_error=lambda error: self._part.set_pairs(None, str(error).splitlines()[0]),
            on_cancelled=lambda: self._part.set_pairs(None),
        )

    def drop(self) -> None:
        """Learn from no folder."""
        self._runner.cancel(_JOB)
        before, self.folder, self.classes = self.folder, None, {}
        self._part.set_pairs(None)
        if before is not None:
            self._on_change()
