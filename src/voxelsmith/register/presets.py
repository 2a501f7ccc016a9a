"""Presets: settings by what is to be registered.

Owns the table that the dock, the command line and scripts offer. A preset may look at the fixed volume: a fast preview
of more than a million voxels leaves out full resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from voxelsmith.core.errors import InputError
from voxelsmith.core.volume import Volume
from voxelsmith.register.request import AffineSettings, AffineSimilarity, RegistrationSettings

if TYPE_CHECKING:
    from voxelsmith.register.criterion import SimilarityName

# Voxels.
_LARGE = 2**20
# On each level of a fast preview that goes to full resolution, and of one that stops before.
_FAST_STEPS, _COARSE_STEPS = 10, 15
# Across contrasts what draws places is noisier: as smooth at full resolution as before it, and levels end sooner.
_ACROSS = {
    "window": 5,
    "tolerance": 0.05,
    "step": 0.5,
    "field_sigma": 0.6,
    "detail_gradient_sigma": 1.5,
    "detail_field_sigma": 0.6,
}


@dataclass(frozen=True)
class Preset:
    """Settings with a name.

    Parameters
    ----------
    title, purpose
        What people read.
    make
        The settings for a fixed volume.
    """

    title: str
    purpose: str
    make: Callable[[Volume], RegistrationSettings]


def _same_modality(fixed: Volume) -> RegistrationSettings:
    return _settings("ncc")


def _cross_modality(fixed: Volume) -> RegistrationSettings:
    return _settings("mi", similarity="mind", **_ACROSS)


def _other_contrast(fixed: Volume) -> RegistrationSettings:
    return _settings("mind", similarity="remapped", **_ACROSS)


def _large_motion(fixed: Volume) -> RegistrationSettings:
    return _settings("ncc", convex=True)


def _fast(fixed: Volume) -> RegistrationSettings:
    shrinks = levels(fixed)
    if math.prod(fixed.grid) <= _LARGE:
        return _settings("ncc", shrinks=shrinks, iterations=_FAST_STEPS, fine_iterations=_FAST_STEPS)
    # Voxels twice as large: fewer of them make a window, and are smoothed over.
    return _settings(
        "ncc",
        shrinks=tuple(shrink for shrink in shrinks if shrink > 1),
        iterations=_COARSE_STEPS,
        window=5,
        step=0.8,
        gradient_sigma=1.0,
        field_sigma=0.4,
    )


def _settings(affine: AffineSimilarity, **deformable: Any) -> RegistrationSettings:
    from voxelsmith.register.deformable import DeformableSettings

    return RegistrationSettings(AffineSettings(similarity=affine), DeformableSettings(**deformable))


PRESETS: dict[str, Preset] = {
    "same-modality": Preset("Same modality", "two images of one kind, such as two T1-weighted brains", _same_modality),
    "cross-modality": Preset("Cross modality", "images of different kinds, such as CT and MR", _cross_modality),
    "other-contrast": Preset(
        "Other contrast", "images of one kind whose grey values are inverted or otherwise remapped", _other_contrast
    ),
    "large-motion": Preset("Large motion", "lungs or abdomens that moved by many voxels", _large_motion),
    "fast": Preset("Fast preview", "a first look at coarse resolution, images of one kind", _fast),
}
"""The presets by name, the usual one first."""


def preset(name: str, fixed: Volume) -> RegistrationSettings:
    """The settings of a preset for a fixed volume; InputError if there is none of that name."""
    if name not in PRESETS:
        raise InputError(f"A preset is {', '.join(PRESETS)}, got {name!r}.")
    return PRESETS[name].make(fixed)


def levels(fixed: Volume, similarity: SimilarityName = "lncc") -> tuple[int, ...]:
    """By how much each level of a deformation shrinks a volume if nothing else is asked, coarse to fine."""
    from voxelsmith.register.pyramid import default_shrinks, level_grid

    i, j, k = fixed.spacing.tolist()
    return default_shrinks(level_grid(fixed.grid, (i, j, k), 1), similarity)


def stopped_at(settings: RegistrationSettings, fixed: Volume, shrink: int) -> RegistrationSettings:
    """Settings whose deformation ends at a level; InputError if it shrinks nothing or the deformation is left out."""
    if settings.deformable is None or shrink < 1:
        raise InputError(
            f"The last level of a deformation shrinks the volume by 1 or more, got {shrink}; an affine registration "
            "has none."
        )
    usual = settings.deformable.shrinks or levels(fixed, settings.deformable.similarity)
    coarser = tuple(s for s in usual if s > shrink)
    return replace(settings, deformable=replace(settings.deformable, shrinks=(*coarser, shrink)))
