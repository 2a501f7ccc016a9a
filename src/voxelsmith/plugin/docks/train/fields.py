"""Fields: which settings of a training the dock offers, and how they become settings.

Owns their names for people, and the presets. What is not changed follows the preset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from voxelsmith.plugin.docks.train.form import Field
from voxelsmith.train import diffusion_settings
from voxelsmith.train.tvunet_settings import TVUnetSettings, paper_literal, settings

MINUTES = "minutes"

MAIN = (
    Field(
        "dims",
        "&Dimension",
        "What the network sees: a slice, a slice with its neighbours, or a block",
        {"2d": "2-D, slices", "2.5d": "2.5-D, slices with neighbours", "3d": "3-D, blocks"},
    ),
    Field(
        "width",
        "&Width",
        "Channels of the finest level; wider is slower and may be better",
        {None: "automatic", 16: "16", 32: "32", 64: "64, as published"},
    ),
    Field(
        "variation",
        "T&V weight",
        "How much ragged borders and specks cost (total variation); 0 for a plain U-Net",
        None,
        0.0,
        1.0,
        0.01,
        3,
        "none",
    ),
    Field(
        MINUTES,
        "Stop after",
        "Minutes after which the training stops by itself; it can be resumed",
        None,
        0.0,
        600.0,
        1.0,
        1,
        "the last step",
    ),
)
"""Fields that are always shown."""

MORE = (
    Field("steps", "Steps", "Updates of the network; the learning rate falls along them", None, 1, 1_000_000, 100),
    Field("learning_rate", "Learning rate", "The highest one", None, 0.0, 1.0, 0.0005, 5),
    Field("batch", "Batch", "Patches in an update", None, 1, 256, 1),
    Field("patch", "Patch", "Pixels along the sides of a patch, a multiple of 16", None, 32, 512, 16),
    Field("depth", "Depth", "Slices in a block of 3-D", None, 1, 256, 4),
    Field("neighbours", "Neighbours", "Slices on each side that are seen in 2.5-D", None, 1, 8, 1),
    Field("overlap", "Dice weight", "Weight of the Dice loss beside the cross-entropy", None, 0.0, 10.0, 0.1),
    Field("variation_wait", "TV waits", "Steps before the total variation counts", None, 0, 100_000, 10),
    Field("edge", "TV spares edges", "How much variation is allowed at edges of the image", None, 0.0, 100.0, 0.5),
    Field("centre_line", "Tubes", "Weight of the centre-line Dice loss, for vessels", None, 0.0, 10.0, 0.1),
    Field("boundary", "Borders", "Weight of the boundary loss, for small lesions", None, 0.0, 10.0, 0.1),
    Field("augmented", "Change samples at random", "Turn, scale and shade the patches a little"),
    Field(
        "flips",
        "Flips",
        "Along which axes of a slice patches may be flipped; anatomy seldom allows any",
        {(): "none", (0,): "rows", (1,): "columns", (0, 1): "both"},
    ),
    Field("coordinates", "Tell where a voxel lies", "Good for this volume alone, bad for others"),
    Field("spare", "Keep slices to judge by", "With four annotated slices or more, some are not learned from"),
    Field("seed", "Seed", "Fixes everything random", None, 0, 1_000_000, 1),
    Field(
        "device",
        "Device",
        "Where to compute",
        {"auto": "automatic", "cpu": "processor", "cuda": "NVIDIA GPU", "mps": "Apple GPU"},
    ),
)
"""Fields behind the fold."""


@dataclass(frozen=True)
class Preset:
    """A choice of all settings.

    Parameters
    ----------
    title
        What people read.
    make
        Settings with some of them changed.
    """

    title: str
    make: Callable[..., TVUnetSettings]


PRESETS = (
    Preset("Usual", settings),
    Preset("As published", paper_literal),
    Preset("Diffusion, experimental", diffusion_settings.settings),
)


def values(preset: Preset, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values of all fields by key."""
    shown = asdict(preset.make())
    shown[MINUTES] = (shown["max_seconds"] or 0) / 60
    return shown | dict(changes)


def settings_for(preset: Preset, changes: Mapping[str, Any]) -> TVUnetSettings:
    """The settings of a preset with some fields changed.

    Raises
    ------
    InputError
        If a value is outside its range.
    """
    given = dict(changes)
    if MINUTES in given:
        given["max_seconds"] = 60 * given.pop(MINUTES) or None
    return preset.make(**given)
