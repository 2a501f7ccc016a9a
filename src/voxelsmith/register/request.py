"""What a registration is asked to do: two volumes, what is known about them, and the settings.

Owns the frozen request that goes into :func:`voxelsmith.register.pipeline.register`. It holds the data as the user has
it; whether they can be registered is looked at by :mod:`voxelsmith.register.checks` before the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.errors import InputError
from voxelsmith.core.volume import LabelVolume, Volume

if TYPE_CHECKING:
    from voxelsmith.register.deformable import DeformableSettings

AffineModel: TypeAlias = Literal["none", "rigid", "affine"]
AffineSimilarity: TypeAlias = Literal["mi", "ncc", "mind"]
Start: TypeAlias = Literal["auto", "header", "centres", "moments", "landmarks"]


@dataclass(frozen=True)
class AffineSettings:
    """How the affine map is found.

    Parameters
    ----------
    model
        "rigid" turns and shifts, "affine" scales and shears too; "none" keeps the start.
    similarity
        What is made large: Mattes mutual information, normalised cross-correlation, or minus the difference of MIND.
    start
        Where the search begins: positions as in the "header", "centres" of the grids or "moments" of the intensities
        on each other, or the best map of the "landmarks"; "auto" tries them all.
    """

    model: AffineModel = "affine"
    similarity: AffineSimilarity = "ncc"
    start: Start = "auto"


@dataclass(frozen=True)
class RegistrationSettings:
    """How a registration is done.

    Parameters
    ----------
    affine
        The affine part.
    deformable
        The deformation after it; None leaves it out.
    device
        Where the deformation is computed: "auto", "cpu", "cuda" or "mps".
    weights
        What the deformation starts from: the answer of the network in this file or run folder of a training; None
        starts from the affine map alone.

    Raises
    ------
    InputError
        If there are weights, but no deformation.
    """

    affine: AffineSettings = field(default_factory=AffineSettings)
    deformable: DeformableSettings | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    weights: Path | None = None

    def __post_init__(self) -> None:
        if self.weights is not None and self.deformable is None:
            raise InputError("Weights are what a deformation starts from, but it is left out; drop one of the two.")


@dataclass(frozen=True, eq=False)
class RegistrationRequest:
    """Two volumes of which the moving one is to be brought onto the fixed one.

    Parameters
    ----------
    fixed, moving
        3-D images, each on a grid of its own.
    fixed_mask, moving_mask
        Where voxels count, each on the grid of its image or another grid of its world.
    fixed_labels, moving_labels
        The same structures in both, by value; they help the deformation if the settings say so, and are compared after.
    fixed_points, moving_points : array_like, shape (N, 3)
        Pairs of corresponding places in RAS millimetres, each of its own world.
    settings
        How it is done.
    initial : array_like, shape (4, 4)
        Where the affine search starts instead of what the settings say: from the fixed world to the moving world, RAS
        millimetres.

    Raises
    ------
    InputError
        If points do not come in pairs, have not three coordinates, or are not finite.
    GeometryError
        If the initial map is no affine 4x4 matrix.
    """

    fixed: Volume
    moving: Volume
    fixed_mask: LabelVolume | None = None
    moving_mask: LabelVolume | None = None
    fixed_labels: LabelVolume | None = None
    moving_labels: LabelVolume | None = None
    fixed_points: FloatArray | None = None
    moving_points: FloatArray | None = None
    settings: RegistrationSettings = field(default_factory=RegistrationSettings)
    initial: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.initial is not None:
            object.__setattr__(self, "initial", Affine(self.initial).matrix)
        if (self.fixed_points is None) != (self.moving_points is None):
            raise InputError("Landmarks come in pairs, but only one volume has them; give those of the other one too.")
        if self.fixed_points is None or self.moving_points is None:
            return
        fixed, moving = _points(self.fixed_points), _points(self.moving_points)
        if len(fixed) != len(moving):
            raise InputError(
                f"Landmarks come in pairs, but the fixed volume has {len(fixed)} and the moving one {len(moving)}; "
                "delete those without a partner."
            )
        object.__setattr__(self, "fixed_points", fixed)
        object.__setattr__(self, "moving_points", moving)


def _points(points: npt.ArrayLike) -> FloatArray:
    """Points as a read-only copy of shape (N, 3)."""
    p = np.array(points, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != 3:
        raise InputError(f"Landmarks have shape (N, 3), got {p.shape}.")
    if not np.isfinite(p).all():
        raise InputError("Landmarks are finite positions in millimetres, got NaN or infinity; correct or delete them.")
    p.flags.writeable = False
    return p
