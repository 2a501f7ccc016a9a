"""Runs: the trainings on the disk.

Owns what the dock writes beside a checkpoint so that a run can be listed and resumed without loading it, and the list
of the runs in a folder. A run that was started elsewhere has no such file; it is listed by its history.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from voxelsmith.core.errors import FormatError, ResourceError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.io.atomic import replacing
from voxelsmith.train.diffusion_settings import RECIPES
from voxelsmith.train.history import HISTORY, Row, read_history
from voxelsmith.train.tvunet_settings import TVUnetSettings

RECORD = "dock.json"


@dataclass(frozen=True)
class Run:
    """One training on the disk.

    Parameters
    ----------
    folder
        Its run folder.
    rows
        Its history.
    settings
        What it was begun with; None if it was started elsewhere.
    classes
        Label values that it learns, as far as is known.
    """

    folder: Path
    rows: tuple[Row, ...] = ()
    settings: TVUnetSettings | None = None
    classes: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        """What it is called."""
        return self.folder.name

    @property
    def step(self) -> int:
        """Steps that are known to be done."""
        return self.rows[-1].step if self.rows else 0

    @property
    def best(self) -> float | None:
        """The highest validation so far."""
        scores = [row.validation["score"] for row in self.rows if row.validation is not None]
        known = [score for score in scores if score == score]
        return max(known, default=None)

    @property
    def loss(self) -> float | None:
        """The latest loss."""
        told = [row.losses["loss"] for row in self.rows if "loss" in row.losses]
        return told[-1] if told else None

    @property
    def finished(self) -> bool:
        """Whether all planned steps are done."""
        return self.settings is not None and self.step >= self.settings.steps


def fresh_folder(parent: Path, title: str) -> Path:
    """A name for a run that is not taken, after what it is about."""
    stem = re.sub(r"[^\w.-]+", "-", title).strip("-.") or "run"
    number = 1
    while (parent / f"{stem}-{number}").exists():
        number += 1
    return parent / f"{stem}-{number}"


def write_record(folder: Path, settings: TVUnetSettings, about: Mapping[str, Any]) -> None:
    """Note beside a checkpoint how a run was begun; ResourceError if the disk refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"The run folder {folder} cannot be made ({error.strerror}); choose another folder for runs."
        ) from error
    with replacing(folder / RECORD) as temporary:
        record = {"recipe": settings.recipe, "settings": asdict(settings), **about}
        temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")


def read_run(folder: Path) -> Run:
    """What is known of a run.

    Raises
    ------
    FormatError
        If its history or its record is damaged.
    """
    rows = read_history(folder) if (folder / HISTORY).exists() else ()
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        kind = RECIPES[record.get("recipe", TVUnetSettings.recipe)]
        settings = kind(**{**record["settings"], "flips": tuple(record["settings"]["flips"])})
        return Run(folder, rows, settings, frozenset(record["classes"]))
    except FileNotFoundError:
        return Run(folder, rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{folder / RECORD} should tell how the run was begun, but it cannot be read; remove it to go on with the "
            "settings of the dock."
        ) from error


def look(parent: Path) -> Job[tuple[Run, ...]]:
    """Job that lists the runs in a folder, the latest first; damaged ones are left out."""
    yield Progress(0, 0, "Looking for runs")
    found: list[tuple[float, Run]] = []
    try:
        folders = [folder for folder in parent.iterdir() if (folder / HISTORY).exists() or (folder / RECORD).exists()]
    except OSError:
        return ()
    for number, folder in enumerate(folders):
        yield Progress(number, len(folders), "Looking for runs")
        try:
            found.append((folder.stat().st_mtime, read_run(folder)))
        except (FormatError, OSError):
            continue
    return tuple(run for _, run in sorted(found, key=lambda pair: pair[0], reverse=True))
