"""Models: which networks the dock offers, and what is worth knowing of each.

Owns the choice that goes into the settings: the weights that ship, by name, or a file or a run folder of the user's.
What is told comes from the manifest of the weights, so the dock and the model card say the same.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from voxelsmith.segment.tumour.names import Modality
from voxelsmith.segment.tumour.network import FOUR, TWO
from voxelsmith.weights import entries

AUTO = "auto"
_TRAIN = "To train on your own copy of BraTS: voxelsmith train cmf FOLDER --out RUN_DIR, then choose that folder here."


def offered_models() -> dict[str, str]:
    """Title by name, the usual one first."""
    shipped = {entry.name: entry.title for entry in entries() if entry.name in (TWO, FOUR)}
    return {AUTO: "Automatic", **shipped}


def about(model: str | Path, available: Collection[Modality]) -> str:
    """What a user should know of a model, with these sequences, a few sentences.

    Parameters
    ----------
    model
        As :class:`~voxelsmith.segment.tumour.request.TumourSettings` takes it.
    available
        The sequences that are chosen.
    """
    if isinstance(model, Path):
        return f"Your own weights: {model}."
    name = weights_behind(model, available)
    entry = next((entry for entry in entries() if entry.name == name), None)
    if entry is None:
        return f"This version ships no weights for that. {_TRAIN}"
    title = f"{entry.title}. " if model == AUTO else ""
    return f"{title}{entry.good_at} Trained on: {entry.trained_on} {_TRAIN}"


def training_command(model: str | Path, available: Collection[Modality], folder: Path) -> str:
    """The command that goes on training a model with the patients in a folder."""
    start = weights_behind(model, available)
    sequences = " --sequences 2" if start == TWO else ""
    return f"voxelsmith train cmf {folder} --start {start}{sequences} --out RUN_DIR"


def weights_behind(model: str | Path, available: Collection[Modality]) -> str | Path:
    """The weights that a choice stands for with these sequences."""
    if model != AUTO:
        return model
    return TWO if set(available) <= {"t1c", "flair"} else FOUR
