"""The state of a training on disk: whole or not at all, and loadable without running code.

Owns ``checkpoint.pt`` of a run folder and the weights that are taken from it. It holds no random states: the loop draws
everything from its seed and the step.
"""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.io.atomic import replacing
from voxelsmith.train.history import CHECKPOINT


@dataclass(frozen=True)
class Best:
    """The weights with the highest score of a validation so far."""

    score: float
    step: int
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A training between two steps.

    Parameters
    ----------
    step
        Steps done.
    model, optimiser
        Their states.
    weights
        The weights to use: the averaged ones, or the model's own if there is no average.
    best
        State of :class:`Best`; None before the first validation.
    settings, rows, tally
        :class:`~voxelsmith.train.settings.Settings`, rows of the history and sums since the last one, as plain
        dictionaries.
    seconds
        Computing time so far.
    non_finite
        Steps in a row, up to this one, whose loss was not finite.
    about
        What the recipe wants to travel along, as plain values: classes, voxel size, normalisation.
    """

    step: int
    model: dict[str, Tensor]
    optimiser: dict[str, Any]
    weights: dict[str, Tensor]
    best: dict[str, Any] | None
    settings: dict[str, Any]
    rows: list[dict[str, Any]]
    tally: dict[str, Any]
    seconds: float
    non_finite: int
    about: dict[str, Any] = field(default_factory=dict)


def has_checkpoint(folder: Path | str) -> bool:
    """Whether a training left its state in the folder."""
    return (Path(folder) / CHECKPOINT).exists()


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the state of a training; ResourceError if the disk refuses, and then the earlier state stays."""
    state = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}
    with replacing(folder / CHECKPOINT) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # The writer of torch fails once more when it closes a file that it could not write, and hides why.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load(folder: Path | str) -> Checkpoint:
    """Read the state of a training, onto the CPU.

    Raises
    ------
    InputError
        If the folder holds none.
    FormatError
        If it is damaged, or not what :func:`save` writes.
    """
    path = Path(folder) / CHECKPOINT
    if not path.is_file():
        raise InputError(f"{folder} holds no {CHECKPOINT}; choose the folder that a training wrote to.")
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise zipfile.BadZipFile("checksum")
        return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, ValueError, TypeError, KeyError, EOFError) as bad:
        raise FormatError(
            f"{path} is damaged or no checkpoint of a training; remove it to begin again, or train into another folder."
        ) from bad


def export(folder: Path | str, *, best: bool = False) -> dict[str, Tensor]:
    """The weights that a training in the folder has reached, as a state dict on the CPU.

    Parameters
    ----------
    folder
        Run folder of the training, finished or not.
    best
        Take the weights with the highest validation score instead of the last ones.

    Raises
    ------
    InputError
        If the folder holds no training, or the best weights are asked for before the first validation.
    FormatError
        If its state is damaged.
    """
    checkpoint = load(folder)
    if not best:
        return checkpoint.weights
    if checkpoint.best is None:
        raise InputError(f"The training in {folder} has not been validated yet; take its last weights or let it go on.")
    return Best(**checkpoint.best).weights
