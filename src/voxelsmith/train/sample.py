"""Annotated: an image and the objects in it, the one thing that every generator returns and every trainer eats.

Owns that pair and the array types that the package speaks. Arrays are indexed ``[i, j, k]``; spacing is in millimetres
along these axes. There is no affine: a network sees a grid and a spacing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import GeometryError, InputError

Field: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.integer[Any]]
Mask: TypeAlias = npt.NDArray[np.bool_]
Vector: TypeAlias = npt.NDArray[np.float64]
Grid: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Annotated:
    """A volume whose objects are known.

    Parameters
    ----------
    image : array of float32, shape (I, J, K)
        Brightness in arbitrary units.
    labels : array of integers, shape (I, J, K)
        0 is background, whether it is empty or holds structures that nobody annotated.
    spacing : array of float, shape (3,)
        Voxel size along i, j and k in millimetres.
    name
        Where it came from.
    """

    image: Field
    labels: Labels
    spacing: Vector
    name: str = "sample"

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape != self.labels.shape:
            raise GeometryError(
                f"An annotated volume has an image and labels of one 3-D shape, got {self.image.shape} and "
                f"{self.labels.shape}; resample one of them first."
            )
        if self.labels.dtype.kind not in "iu":
            raise InputError(f"Labels are integers, got {self.labels.dtype}; round or threshold them first.")
        if np.shape(self.spacing) != (3,) or not np.all(np.asarray(self.spacing) > 0):
            raise GeometryError(
                f"Spacing is three positive millimetres, got {self.spacing!r}; take it from the affine."
            )

    @property
    def grid(self) -> Grid:
        """Number of voxels along i, j and k."""
        i, j, k = self.image.shape
        return i, j, k
