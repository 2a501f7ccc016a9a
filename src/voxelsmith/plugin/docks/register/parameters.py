"""Parameters: the settings of a registration as a flat table that people can change.

Owns which settings the dock offers, how they are called, and how a preset with a few changes becomes settings again.
What is not changed follows the preset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from voxelsmith.core.volume import Volume
from voxelsmith.register.presets import preset, stopped_at
from voxelsmith.register.request import RegistrationSettings


@dataclass(frozen=True)
class Parameter:
    """One setting.

    Parameters
    ----------
    key
        Its name.
    title, tip
        What people read.
    options
        What can be chosen: value to title. Without any it is a number, a yes or no, or a file.
    low, high, step
        Range of a number, and by how much it changes at a click; a whole number if all three are.
    deforms
        Whether it is about the deformation, and means nothing without one.
    files
        Of a file: which ones a dialog shows, as Qt writes it.
    """

    key: str
    title: str
    tip: str
    options: Mapping[Any, str] | None = None
    low: float = 0
    high: float = 0
    step: float = 0
    deforms: bool = True
    files: str = ""


PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "model",
        "Affine part",
        "Rigid turns and shifts, affine scales and shears too; none keeps the start",
        {"affine": "affine", "rigid": "rigid", "none": "none"},
        deforms=False,
    ),
    Parameter(
        "start",
        "Start",
        "Where the search begins; automatic tries them all, and landmarks if there are three or more",
        {
            "auto": "automatic",
            "header": "positions in the files",
            "centres": "centres of the grids",
            "moments": "centres of brightness",
            "landmarks": "landmarks",
        },
        deforms=False,
    ),
    Parameter(
        "affine_similarity",
        "Affine similarity",
        "What the affine part makes large",
        {"ncc": "correlation", "mi": "mutual information", "mind": "MIND"},
        deforms=False,
    ),
    Parameter("deform", "Deform", "Find a deformation after the affine part", deforms=False),
    Parameter(
        "similarity",
        "Similarity",
        "What the deformation makes large; MIND and mutual information compare images of different kinds",
        {
            "lncc": "local correlation",
            "remapped": "local correlation of remapped grey values",
            "mse": "equal grey values",
            "mind": "MIND",
            "mi": "mutual information",
        },
    ),
    Parameter("window", "Window", "Edge of the windows of the local correlation, voxels of each level", None, 3, 15, 2),
    Parameter(
        "finest",
        "Finest level",
        "The resolution at which the deformation ends; a coarser one takes less time and memory",
        {0: "by size", 1: "full", 2: "1/2", 4: "1/4", 8: "1/8"},
    ),
    Parameter("iterations", "Steps", "At most so many on a level", None, 0, 1000, 10),
    Parameter("fine_iterations", "Fine steps", "At most so many on the level of full resolution", None, 0, 1000, 5),
    Parameter("step", "Step", "The longest step, in voxels of the level", None, 0.05, 1.0, 0.05),
    Parameter("gradient_sigma", "Smooth steps", "How smooth each step is; voxels of the level", None, 0.0, 10.0, 0.1),
    Parameter("field_sigma", "Smooth field", "How smooth the whole is; voxels of the level", None, 0.0, 10.0, 0.05),
    Parameter(
        "detail_gradient_sigma",
        "Smooth detail steps",
        "How smooth each step is at full resolution after two levels or more; voxels",
        None,
        0.0,
        10.0,
        0.1,
    ),
    Parameter(
        "detail_field_sigma",
        "Smooth detail field",
        "How smooth the whole is at full resolution after two levels or more; voxels",
        None,
        0.0,
        10.0,
        0.05,
    ),
    Parameter("convex", "Large motion", "Look for large motion first, on a coarse grid"),
    Parameter(
        "weights",
        "H-ViT weights",
        "What the deformation starts from: the answer of a network, from its file of weights or the run folder of its "
        "training; empty is none",
        files="Weights (*.safetensors)",
    ),
    Parameter(
        "symmetric", "Symmetric", "Let both images move, half-way each, and find the inverse too; twice the time"
    ),
    Parameter("label_weight", "Labels count", "How much labels guide; 0 only compares them", None, 0.0, 10.0, 0.1),
    Parameter("landmark_weight", "Points count", "How much landmarks guide; 0 only compares", None, 0.0, 10.0, 0.1),
    Parameter(
        "device",
        "Device",
        "Where the deformation is computed",
        {"auto": "automatic", "cpu": "processor", "cuda": "NVIDIA GPU", "mps": "Apple GPU"},
        deforms=False,
    ),
)
"""The settings that are offered, in their order."""

_AFFINE = {"model": "model", "start": "start", "affine_similarity": "similarity"}
_DEFORMABLE = {p.key for p in PARAMETERS if p.deforms} - {"finest", "weights"}


def values(settings: RegistrationSettings) -> dict[str, Any]:
    """The values of all parameters by key; those of the deformation are the usual ones if it is left out."""
    from voxelsmith.register.deformable import DeformableSettings

    deformable = settings.deformable or DeformableSettings()
    affine = {key: getattr(settings.affine, name) for key, name in _AFFINE.items()}
    return affine | {
        "deform": settings.deformable is not None,
        "device": settings.device,
        "finest": deformable.shrinks[-1] if deformable.shrinks else 0,
        "weights": settings.weights,
        **{key: getattr(deformable, key) for key in _DEFORMABLE},
    }


def settings_for(name: str, changes: Mapping[str, Any], fixed: Volume) -> RegistrationSettings:
    """The settings of a preset with some parameters changed.

    Parameters
    ----------
    name
        Of the preset.
    changes
        Values by key.
    fixed
        The fixed volume, whose size decides about levels.

    Raises
    ------
    InputError
        If a value is outside its range.
    """
    from voxelsmith.register.deformable import DeformableSettings

    settings = preset(name, fixed)
    affine = replace(settings.affine, **{name: changes[key] for key, name in _AFFINE.items() if key in changes})
    settings = replace(settings, affine=affine, device=changes.get("device", settings.device))
    if not changes.get("deform", settings.deformable is not None):
        return replace(settings, deformable=None)
    own: dict[str, Any] = {key: value for key, value in changes.items() if key in _DEFORMABLE}
    if "finest" in changes:
        own["shrinks"] = ()
    deformable = replace(settings.deformable or DeformableSettings(), **own)
    settings = replace(settings, deformable=deformable, weights=changes.get("weights"))
    finest = changes.get("finest")
    return stopped_at(settings, fixed, finest) if finest else settings
