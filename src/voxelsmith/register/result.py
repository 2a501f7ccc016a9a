"""What a registration gives.

Owns the frozen result, which names the request and the data that it was computed from, the numbers that come with it,
and the previews on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.inversion import Residual
from voxelsmith.core.pull import V
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.register.request import RegistrationRequest

Compared: TypeAlias = Literal["correlation", "mutual information"]


@dataclass(frozen=True)
class Step:
    """One entry of the history.

    Parameters
    ----------
    stage
        "affine" or "deformation".
    level
        Of the affine part its number, 0 being the coarsest; of the deformation by how much the grid was shrunk.
    number
        Which step.
    similarity
        How alike the images were then, in the measure of that stage; higher is better.
    """

    stage: Literal["affine", "deformation"]
    level: int
    number: int
    similarity: float


@dataclass(frozen=True)
class Change:
    """A measure of one label, before and after."""

    before: float
    after: float


@dataclass(frozen=True, eq=False)
class Measures:
    """What a registration achieved.

    Parameters
    ----------
    similarity
        What tells how alike the images are: "correlation" (-1 to 1) or "mutual information" (nats).
    similarity_before, similarity_affine, similarity_after
        With the volumes as their headers say, after the affine part, and in the end; NaN where they do not overlap.
    dice, hd95_mm
        By label, if both volumes have labels: Dice, 0 to 1, and the 95th percentile of the Hausdorff distance on the
        fixed grid, infinite where nothing of the moving label is left on it.
    tre_before_mm, tre_after_mm
        Distances of the landmarks to their partners, in the moving world; empty without landmarks.
    folding_share
        Share of voxels where the deformation folds, 0 to 1; None for an affine map.
    sdlogj, sdlogj_learn2reg
        How uneven the deformation is, as :mod:`voxelsmith.core.jacobian` defines both; None for an affine map.
    inverse_consistency_mm
        Mean distance by which places fail to return when they are moved forth, and back by the inverse that was found
        along with the deformation; None if none was.
    """

    similarity: Compared
    similarity_before: float
    similarity_affine: float
    similarity_after: float
    dice: Mapping[int, Change]
    hd95_mm: Mapping[int, Change] = field(default_factory=dict)
    tre_before_mm: tuple[float, ...] = ()
    tre_after_mm: tuple[float, ...] = ()
    folding_share: float | None = None
    sdlogj: float | None = None
    sdlogj_learn2reg: float | None = None
    inverse_consistency_mm: float | None = None

    def as_record(self) -> dict[str, Any]:
        """The measures as they go into a report."""
        record: dict[str, Any] = {
            "similarity": self.similarity,
            "similarity_before": self.similarity_before,
            "similarity_affine": self.similarity_affine,
            "similarity_after": self.similarity_after,
        }
        for name in ("dice", "hd95_mm"):
            if by_label := getattr(self, name):
                record[name] = {label: {"before": c.before, "after": c.after} for label, c in by_label.items()}
        if self.tre_after_mm:
            record["tre_before_mm"], record["tre_after_mm"] = list(self.tre_before_mm), list(self.tre_after_mm)
        for name in ("folding_share", "sdlogj", "sdlogj_learn2reg", "inverse_consistency_mm"):
            if (value := getattr(self, name)) is not None:
                record[name] = value
        return record


@dataclass(frozen=True, eq=False)
class Preview:
    """How far a registration has come: the transform so far, and what is known until then.

    Parameters
    ----------
    request, transform, history, start, notes
        As of the :class:`RegistrationResult`.
    """

    request: RegistrationRequest
    transform: Transform
    history: tuple[Step, ...]
    start: str = ""
    notes: tuple[str, ...] = ()

    def warped(self) -> Volume:
        """The moving image on the fixed grid; beyond it lies 0, or its least value if that is negative."""
        return warp(self.transform, self.request.moving, self.request.fixed)


@dataclass(frozen=True, eq=False)
class RegistrationResult:
    """A finished registration.

    Parameters
    ----------
    request
        What was asked.
    fingerprints
        Hashes of the fixed and of the moving volume (:meth:`~voxelsmith.core.volume.Volume.fingerprint`).
    transform
        From the fixed world to the moving world.
    found_inverse
        From the moving image, as the affine map lays it on the fixed grid, back to the fixed one; None unless the
        registration was symmetric.
    warped
        The moving image on the fixed grid.
    measures
        How good it is.
    start
        What the affine search that won began with.
    notes
        What the user should know, a sentence each.
    history
        Every step, in order.
    """

    request: RegistrationRequest
    fingerprints: tuple[str, str]
    transform: Transform
    found_inverse: DisplacementField | None
    warped: Volume
    measures: Measures
    start: str
    notes: tuple[str, ...]
    history: tuple[Step, ...]

    def warp(self, moving: V) -> V:
        """Anything that lies in the moving world, on the fixed grid; labels stay labels."""
        return warp(self.transform, moving, self.request.fixed)

    def warped_labels(self) -> LabelVolume | None:
        """The moving labels on the fixed grid, if there are any."""
        labels = self.request.moving_labels
        return None if labels is None else self.warp(labels)

    def inverse(self) -> tuple[Transform, Residual]:
        """The transform back, on the moving image's grid, and by how much it fails to return."""
        return self.transform.inverse(self.request.moving.affine, self.request.moving.grid)


def warp(transform: Transform, moving: V, fixed: Volume) -> V:
    """A volume of the moving world on the fixed grid; beyond it lies 0, or an image's least value if negative."""
    pulled = transform.pull_image(moving, fixed.affine, fixed.grid, fill=outside_value(moving))
    return replace(pulled, units=fixed.units)


def outside_value(moving: Volume) -> float:
    """What lies beyond a moving volume: 0, or an image's least finite value if that is negative."""
    if isinstance(moving, LabelVolume):
        return 0.0
    values = np.asarray(moving.array)
    return min(0.0, float(np.min(values, where=np.isfinite(values), initial=0)))
