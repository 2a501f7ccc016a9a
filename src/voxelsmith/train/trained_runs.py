"""Trained runs: which networks the user has trained, and what each of them knows.

Owns the folders where runs lie, the description that a training leaves beside its checkpoint, and the list that docks
offer. A description is a few plain values, so the list is made without loading a network, or torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.io.atomic import replacing
from voxelsmith.segment.plan import Plan
from voxelsmith.train.history import CHECKPOINT

if TYPE_CHECKING:
    from voxelsmith.segment.trained import TrainedModel

HOME = "VOXELSMITH_RUNS"
DESCRIPTION = "model.json"
_VERSION = 1
_others: list[Path] = []
_DIMS = {"2d": "slices", "2.5d": "slices with neighbours", "3d": "blocks"}


@dataclass(frozen=True)
class TrainedRun:
    """A run folder with a network in it.

    Parameters
    ----------
    folder
        Where it lies.
    recipe
        What trained it, such as "tvunet".
    plan
        What the network sees: classes, voxel size, scale of brightness.
    changed
        When its checkpoint was written, in seconds since 1970; a network that was loaded before that is outdated.
    """

    folder: Path
    recipe: str
    plan: Plan
    changed: float

    @property
    def name(self) -> str:
        """What it is called."""
        return self.folder.name

    @property
    def modality(self) -> str:
        """What the numbers of its images mean, as far as the training could tell."""
        return "Hounsfield units" if self.plan.normalisation.low is not None else "relative brightness"

    @property
    def description(self) -> str:
        """Classes, scale of brightness, what it sees, and its voxels, in a line."""
        voxels = " x ".join(f"{size:.3g}" for size in self.plan.spacing)
        return f"{', '.join(self.plan.names)} · {self.modality} · {_DIMS[self.plan.dims]} of {voxels} mm voxels"


def home() -> Path:
    """The folder for runs that is proposed, ``VOXELSMITH_RUNS`` or one in the user's own; it need not exist."""
    named = os.environ.get(HOME)
    return Path(named).expanduser() if named else Path.home() / "voxelsmith-runs"


def write_description(folder: Path, about: Mapping[str, Any]) -> None:
    """Note beside a checkpoint what its network knows; ResourceError if the disk refuses.

    Parameters
    ----------
    folder
        The run folder.
    about
        What travels in the checkpoint; "recipe" and "plan" of it are noted.
    """
    record = {"version": _VERSION, "recipe": about["recipe"], "plan": about["plan"]}
    with replacing(folder / DESCRIPTION) as temporary:
        temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")


def read_trained_run(folder: Path | str) -> TrainedRun:
    """What is known of the network in a run folder.

    Raises
    ------
    InputError
        If the folder holds no checkpoint with a description.
    FormatError
        If the description is damaged, or of another version.
    """
    folder = Path(folder)
    try:
        changed = (folder / CHECKPOINT).stat().st_mtime
        text = (folder / DESCRIPTION).read_text(encoding="utf-8")
    except OSError:
        raise InputError(
            f"{folder} should be the folder of a run, with {CHECKPOINT} and {DESCRIPTION}, but it holds no such files; "
            "choose the folder that a training wrote to."
        ) from None
    try:
        record = json.loads(text)
        if record["version"] != _VERSION:
            raise ValueError(record["version"])
        return TrainedRun(folder.resolve(), str(record["recipe"]), Plan.from_record(record["plan"]), changed)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{folder / DESCRIPTION} should tell what the network knows, but it is damaged or of another version; "
            "resume the training, which writes it anew."
        ) from error


def look_also_in(folder: Path) -> None:
    """Look for trained networks in one more folder of runs, as long as this process lives."""
    if folder not in _others:
        _others.append(folder)


def trained_runs(parent: Path | None = None) -> tuple[TrainedRun, ...]:
    """The trained networks in a folder of runs; the latest first, damaged ones left out.

    Parameters
    ----------
    parent
        The folder; None for :func:`home` and those that :func:`look_also_in` was told.
    """
    found: dict[Path, TrainedRun] = {}
    for place in [home(), *_others] if parent is None else [parent]:
        with suppress(OSError):
            for folder in list(place.iterdir()):
                with suppress(InputError, FormatError):
                    run = read_trained_run(folder)
                    found[run.folder] = run
    return tuple(sorted(found.values(), key=lambda run: run.changed, reverse=True))


def load_model(folder: Path | str, *, best: bool = True) -> TrainedModel:
    """The network of a run folder; see :func:`voxelsmith.train.tvunet.trained_model`, which loads torch."""
    from voxelsmith.train.tvunet import trained_model

    return trained_model(folder, best=best)
