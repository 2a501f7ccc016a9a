"""Affine: how voxel indices become positions in space.

Owns the only representation of geometry in the project. An :class:`Affine` maps array indices ``(i, j, k)`` to RAS
millimetres (x to the patient's Right, y to Anterior, z to Superior), as nibabel does. ITK and DICOM speak LPS, whose x
and y run the other way; :func:`lps_to_ras` is the only place where the two meet.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import GeometryError

FloatArray: TypeAlias = npt.NDArray[np.float64]

_FLIP_XY = np.diag([-1.0, -1.0, 1.0, 1.0])
_CODES = (("L", "R"), ("P", "A"), ("I", "S"))


def lps_to_ras(matrix: npt.ArrayLike) -> FloatArray:
    """Turn a 4x4 index-to-LPS matrix into index-to-RAS, or back (the change is its own inverse)."""
    return _FLIP_XY @ np.asarray(matrix, dtype=np.float64)


class Affine:
    """An invertible map from voxel indices ``(i, j, k)`` to RAS millimetres.

    Parameters
    ----------
    matrix : array_like, shape (4, 4)
        Homogeneous matrix; copied, kept in float64, read-only.

    Raises
    ------
    GeometryError
        If the matrix is not 4x4, not finite, not affine, or flattens space.
    """

    __slots__ = ("_matrix",)

    def __init__(self, matrix: npt.ArrayLike) -> None:
        m = np.array(matrix, dtype=np.float64)
        if m.shape != (4, 4):
            raise GeometryError(f"An affine is a 4x4 matrix, got shape {m.shape}.")
        if not np.isfinite(m).all():
            raise GeometryError("An affine needs finite numbers, got NaN or infinity; check the header of the file.")
        if not np.array_equal(m[3], [0, 0, 0, 1]):
            raise GeometryError(f"The last row of an affine is 0 0 0 1, got {m[3].tolist()}.")
        lengths = np.linalg.norm(m[:3, :3], axis=0)
        if (lengths == 0).any() or abs(np.linalg.det(m[:3, :3] / np.where(lengths == 0, 1, lengths))) < 1e-6:
            raise GeometryError(
                f"The voxel axes must span three dimensions, got voxel sizes {lengths.tolist()} mm with directions "
                "that coincide or vanish; repair the header before opening the file."
            )
        m.flags.writeable = False
        self._matrix = m

    @classmethod
    def from_spacing(cls, spacing: npt.ArrayLike = (1.0, 1.0, 1.0), origin: npt.ArrayLike = (0.0, 0.0, 0.0)) -> Affine:
        """Axes along R, A and S with the given voxel size and position of the first voxel, in millimetres."""
        m = np.eye(4)
        m[:3, :3] = np.diag(np.broadcast_to(np.asarray(spacing, dtype=np.float64), (3,)))
        m[:3, 3] = origin
        return cls(m)

    @classmethod
    def from_lps(cls, matrix: npt.ArrayLike) -> Affine:
        """From a 4x4 index-to-LPS matrix as ITK and DICOM define it."""
        return cls(lps_to_ras(matrix))

    @property
    def matrix(self) -> FloatArray:
        """The 4x4 matrix, float64, read-only."""
        return self._matrix

    @property
    def lps(self) -> FloatArray:
        """The 4x4 matrix to LPS millimetres."""
        return lps_to_ras(self._matrix)

    @property
    def spacing(self) -> FloatArray:
        """Voxel size along i, j and k in millimetres, positive."""
        lengths: FloatArray = np.linalg.norm(self._matrix[:3, :3], axis=0)
        return lengths

    @property
    def origin(self) -> FloatArray:
        """RAS position of the centre of voxel (0, 0, 0), in millimetres."""
        return self._matrix[:3, 3].copy()

    @property
    def direction(self) -> FloatArray:
        """3x3 matrix whose columns are the unit directions of i, j and k in RAS."""
        return self._matrix[:3, :3] / self.spacing

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in cubic millimetres."""
        return float(abs(np.linalg.det(self._matrix[:3, :3])))

    @property
    def closest_axes(self) -> tuple[int, int, int]:
        """For i, j and k: the world axis (0 R, 1 A, 2 S) that each runs along most, every one used once."""
        cosines = np.abs(self.direction)
        permutations = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
        scores = [sum(cosines[world, voxel] for voxel, world in enumerate(p)) for p in permutations]
        return permutations[int(np.argmax(scores))]

    @property
    def axcodes(self) -> str:
        """Where i, j and k point, such as "RAS" or "PIR" (the closest anatomical axes)."""
        direction = self.direction
        return "".join(_CODES[world][int(direction[world, voxel] > 0)] for voxel, world in enumerate(self.closest_axes))

    @property
    def is_sheared(self) -> bool:
        """Whether the voxel axes depart from right angles (by more than a rounding error)."""
        direction = self.direction
        return not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4)

    def inverse(self) -> Affine:
        """The map from RAS millimetres to voxel indices."""
        m = np.linalg.inv(self._matrix)
        m[3] = (0, 0, 0, 1)
        return Affine(m)

    def __matmul__(self, other: Affine) -> Affine:
        """Compose: ``(a @ b).apply(x) == a.apply(b.apply(x))``."""
        return Affine(self._matrix @ other._matrix)

    def apply(self, points: npt.ArrayLike) -> FloatArray:
        """Map points of shape (..., 3)."""
        p = np.asarray(points, dtype=np.float64)
        if p.shape[-1:] != (3,):
            raise GeometryError(f"Points have three coordinates in their last axis, got shape {p.shape}.")
        return p @ self._matrix[:3, :3].T + self._matrix[:3, 3]

    def shifted(self, index: npt.ArrayLike) -> Affine:
        """The affine of a crop that starts at voxel ``index``."""
        m = self._matrix.copy()
        m[:3, 3] = self.apply(index)
        return Affine(m)

    def scaled(self, factors: npt.ArrayLike) -> Affine:
        """The affine of a grid that covers the same box with voxels ``factors`` times as large."""
        f = np.broadcast_to(np.asarray(factors, dtype=np.float64), (3,))
        m = self._matrix.copy()
        m[:3, :3] = m[:3, :3] * f
        m[:3, 3] = self.apply((f - 1) / 2)
        return Affine(m)

    def allclose(self, other: Affine, tolerance_mm: float = 1e-3) -> bool:
        """Whether both put every voxel of a 1000-voxel cube within ``tolerance_mm`` of each other."""
        corners = np.array(np.meshgrid([0, 1000], [0, 1000], [0, 1000])).reshape(3, -1).T
        return bool(np.abs(self.apply(corners) - other.apply(corners)).max() <= tolerance_mm)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Affine) and np.array_equal(self._matrix, other._matrix)

    def __hash__(self) -> int:
        return hash((self._matrix + 0.0).tobytes())

    def __repr__(self) -> str:
        size = " x ".join(f"{s:g}" for s in self.spacing)
        return f"Affine({self.axcodes}, {size} mm, origin {np.round(self.origin, 3).tolist()})"
