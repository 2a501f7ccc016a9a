"""Preflight: what is known of a registration before it runs.

Owns what the dock says about grids, overlap, levels and memory, and how the checks of
:mod:`voxelsmith.register.checks` get there as sentences. It runs as a job, as labels are searched for their values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from voxelsmith.core import sampling
from voxelsmith.core.errors import ResourceError, VoxelsmithError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.register.material import Material
from voxelsmith.plugin.docks.register.parameters import settings_for, values
from voxelsmith.plugin.docks.volumes.details import orientation
from voxelsmith.register.checks import check, level_that_fits, memory_at_hand, memory_needed
from voxelsmith.register.request import RegistrationRequest, RegistrationSettings

# Places along each axis at which overlap is looked for.
_PLACES = 24


@dataclass(frozen=True)
class Preflight:
    """What a registration would be like.

    Parameters
    ----------
    facts
        Rows of name and value.
    notes
        What the user should know, a sentence each.
    obstacle
        Why it cannot run, a sentence; empty if it can.
    coarser
        The finest level, by how much it shrinks the volumes, with which memory would be enough; 0 if it is enough
        already, or nothing helps.
    values
        All parameters, as :func:`~voxelsmith.plugin.docks.register.parameters.values` has them.
    """

    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    obstacle: str = ""
    coarser: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)


def preflight(material: Material, preset: str, changes: Mapping[str, Any]) -> Job[Preflight]:
    """Job that looks at a registration; what cannot work becomes the obstacle and no error.

    Parameters
    ----------
    material
        What it would be computed from.
    preset, changes
        How, as for :func:`~voxelsmith.plugin.docks.register.parameters.settings_for`.
    """
    yield Progress(0, 0, "Looking at the images")
    facts: list[tuple[str, str]] = []
    shown: dict[str, Any] = {}
    request: RegistrationRequest | None = None
    try:
        fixed, moving = (material.images[side].volume for side in ("fixed", "moving"))
        settings = settings_for(preset, changes, fixed)
        shown = values(settings)
        facts += [("Fixed", _grid(fixed)), ("Moving", _grid(moving))]
        request = material.request(settings)
        facts += [("Overlap", f"{overlap(fixed, moving):.0%} of the fixed grid"), ("Memory", _memory(request))]
        notes = (*material.notes, *check(request))
        _require_weights(settings)
        return Preflight(tuple(facts), notes, values=shown)
    except VoxelsmithError as error:
        coarser = level_that_fits(request) if isinstance(error, ResourceError) and request is not None else None
        return Preflight(tuple(facts), material.notes, str(error), coarser or 0, shown)


def _require_weights(settings: RegistrationSettings) -> None:
    """Raise FormatError or ModelUnavailableError if the network that a deformation is to start from cannot be read."""
    if settings.weights is not None:
        from voxelsmith.register.learned import load_network

        load_network(settings.weights)


def overlap(fixed: Volume, moving: Volume) -> float:
    """Share of the fixed grid over which the moving one lies by their headers, 0 to 1."""
    ends = [np.linspace(0, count - 1, min(count, _PLACES)) for count in fixed.grid]
    places = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    seen = moving.affine.inverse().apply(fixed.affine.apply(places))
    return float(1 - sampling.outside(moving.grid, seen).mean())


def _grid(volume: Volume) -> str:
    size = " × ".join(f"{s:.3g}" for s in volume.spacing)
    return f"{' × '.join(map(str, volume.grid))} of {size} mm, {orientation(volume.affine)}"


def _memory(request: RegistrationRequest) -> str:
    free = memory_at_hand()
    needed = f"about {memory_needed(request) / 2**30:.1f} GiB"
    return needed if free is None else f"{needed} of {free / 2**30:.1f} GiB free"
