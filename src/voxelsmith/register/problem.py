"""Problem: what a deformation is to be found for, and what was found.

Owns the two records at either side of the engines that deform. Both volumes lie on one grid here: the moving one has
been carried onto the fixed grid by the affine map before. Displacements are in voxels of that grid and have the
direction of the project: the place p of the fixed volume belongs to p + u(p) of the moving one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import GeometryError, InputError

Float: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Problem:
    """Two images on one grid, and what else is known of them.

    Parameters
    ----------
    fixed, moving : ndarray, shape (I, J, K)
        Intensities of about 0 to 1, float32; the moving image as resampled onto the fixed grid.
    spacing
        Voxel size along i, j and k in millimetres.
    fixed_mask, moving_mask : ndarray, shape (I, J, K)
        Where voxels count, or None for everywhere.
    fixed_labels, moving_labels : ndarray of integers, shape (I, J, K)
        The same structures in both, by value; 0 is background. Both or neither.
    fixed_points, moving_points : ndarray, shape (N, 3)
        Corresponding places, in voxels of the grid. Both or neither.
    start : ndarray, shape (3, I, J, K)
        The displacement to begin with, in voxels; None begins with none.

    Raises
    ------
    GeometryError
        When arrays are not on one grid, or the spacing is unusable.
    InputError
        When an image is not finite, or constant where it counts; when labels or points come without partners.
    """

    fixed: Float
    moving: Float
    spacing: tuple[float, float, float]
    fixed_mask: npt.NDArray[Any] | None = None
    moving_mask: npt.NDArray[Any] | None = None
    fixed_labels: npt.NDArray[np.integer[Any]] | None = None
    moving_labels: npt.NDArray[np.integer[Any]] | None = None
    fixed_points: npt.NDArray[np.floating[Any]] | None = None
    moving_points: npt.NDArray[np.floating[Any]] | None = None
    start: Float | None = None

    def __post_init__(self) -> None:
        grid = self.fixed.shape
        if self.fixed.ndim != 3 or not self.fixed.size:
            raise GeometryError(f"Images to deform have shape (I, J, K), got {grid}.")
        if len(self.spacing) != 3 or not all(0 < size < np.inf for size in self.spacing):
            raise GeometryError(f"The spacing is three positive numbers in millimetres, got {self.spacing}.")
        for name in ("moving", "fixed_mask", "moving_mask", "fixed_labels", "moving_labels"):
            array = getattr(self, name)
            if array is not None and array.shape != grid:
                shown = name.replace("_", " ")
                raise GeometryError(f"The {shown} lies on the grid {grid}, got {array.shape}; resample it onto that.")
        if self.start is not None and self.start.shape != (3, *grid):
            raise GeometryError(f"A displacement to begin with has shape {(3, *grid)}, got {self.start.shape}.")
        for image, mask, name in (
            (self.fixed, self.fixed_mask, "fixed"),
            (self.moving, self.moving_mask, "moving"),
        ):
            _require_contrast(image, mask, name)
        for kind in ("labels", "points"):
            if (getattr(self, f"fixed_{kind}") is None) != (getattr(self, f"moving_{kind}") is None):
                raise InputError(f"The {kind} of one image come with those of the other; give both or neither.")
        if self.fixed_points is not None and self.moving_points is not None:
            shapes = self.fixed_points.shape, self.moving_points.shape
            if shapes[0] != shapes[1] or shapes[0][1:] != (3,):
                raise InputError(f"Points come in pairs of shape (N, 3), got {shapes[0]} and {shapes[1]}.")

    @property
    def grid(self) -> tuple[int, int, int]:
        """Number of voxels along i, j and k."""
        i, j, k = self.fixed.shape
        return int(i), int(j), int(k)


@dataclass(frozen=True)
class Iteration:
    """What one step saw: by how much the grid was shrunk, its number on that level, and the similarity.

    The similarity is higher the better the images match.
    """

    shrink: int
    number: int
    similarity: float


@dataclass(frozen=True, eq=False)
class Deformation:
    """A displacement that was found.

    Parameters
    ----------
    displacement : ndarray, shape (3, I, J, K)
        In voxels of the fixed grid, float32; component c along array axis c.
    history
        Every step, in order.
    inverse : ndarray, shape (3, I, J, K)
        From the moving image back to the fixed one, in voxels of the same grid; None unless it was asked for.
    """

    displacement: Float
    history: tuple[Iteration, ...] = ()
    inverse: Float | None = None


def _require_contrast(image: Float, mask: npt.NDArray[Any] | None, name: str) -> None:
    counted = image if mask is None else image[np.asarray(mask) > 0]
    if not counted.size:
        raise InputError(f"The mask of the {name} image is empty; draw where voxels count, or leave it out.")
    low, high = float(counted.min()), float(counted.max())
    if not np.isfinite([low, high]).all():
        raise InputError(f"The {name} image has NaN or infinity; replace those voxels.")
    if low == high:
        raise InputError(f"The {name} image is constant ({low:g}) where it counts; there is nothing to match.")
