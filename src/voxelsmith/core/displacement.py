"""DisplacementField: how every point of the fixed world moves into the moving world.

Owns the one direction of the project. The field ``u`` lies on the grid of the fixed image and holds RAS millimetres:
the point ``x`` of the fixed world belongs to ``x + u(x)`` of the moving world. So it *pushes points* from fixed to
moving and *pulls images* from moving to fixed; for the other way round, invert it. Between voxels it is trilinear,
beyond the grid the displacement of the nearest border voxel holds, and along axes of length 1 it is constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from voxelsmith.core import inversion, sampling
from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.jacobian import jacobian_determinant
from voxelsmith.core.pull import Interpolation, V, pull
from voxelsmith.core.sampling import Block, Grid

_POINTS_AT_ONCE = 1 << 15


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """Displacements in RAS millimetres on the grid of the fixed image.

    Parameters
    ----------
    array : ndarray, shape (I, J, K, 3)
        Component c is the shift along R, A or S; kept as contiguous float32, copied only if it is not.
    affine
        The fixed image's map from ``(i, j, k)`` to RAS millimetres.

    Raises
    ------
    InputError
        If the shape is another one, an axis is empty, or a displacement is not finite.
    """

    array: npt.NDArray[np.float32]
    affine: Affine

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or self.array.shape[3] != 3 or 0 in self.array.shape:
            raise InputError(f"A displacement field has shape (I, J, K, 3), got {tuple(self.array.shape)}.")
        array = np.ascontiguousarray(self.array, dtype=np.float32)
        if not all(np.isfinite(array[block]).all() for block in sampling.blocks(array.shape[:3])):
            raise InputError("A displacement field holds finite numbers, but this one has NaN or infinity.")
        object.__setattr__(self, "array", array)

    @classmethod
    def zeros(cls, affine: Affine, grid: Grid) -> DisplacementField:
        """The field that moves nothing."""
        return cls(np.zeros((*grid, 3), np.float32), affine)

    @classmethod
    def from_voxels(cls, array: npt.NDArray[np.floating], affine: Affine) -> DisplacementField:
        """From displacements in voxels of the grid, component c along array axis c, shape (I, J, K, 3)."""
        if array.ndim != 4 or array.shape[3] != 3:
            raise InputError(f"A displacement field has shape (I, J, K, 3), got {tuple(array.shape)}.")
        return cls(np.asarray(array, np.float32) @ affine.matrix[:3, :3].T.astype(np.float32), affine)

    def in_voxels(self) -> npt.NDArray[np.float32]:
        """The displacements in voxels of the grid, component c along array axis c, shape (I, J, K, 3)."""
        voxels: npt.NDArray[np.float32] = self.array @ self.affine.inverse().matrix[:3, :3].T.astype(np.float32)
        return voxels

    @property
    def grid(self) -> Grid:
        """Number of voxels along i, j and k."""
        i, j, k = self.array.shape[:3]
        return int(i), int(j), int(k)

    def at(self, points: npt.ArrayLike) -> FloatArray:
        """Displacements at points of the fixed world (RAS millimetres, shape (..., 3)).

        Raises
        ------
        InputError
            If a coordinate is not finite.
        """
        index = self.affine.inverse().apply(points)
        if not np.isfinite(index).all():
            raise InputError("Points have finite coordinates, got NaN or infinity; remove those points.")
        flat = index.reshape(-1, 3)
        out = np.empty_like(flat)
        for start in range(0, len(flat), _POINTS_AT_ONCE):
            part = slice(start, start + _POINTS_AT_ONCE)
            out[part] = sampling.linear(self.array, flat[part])
        return out.reshape(index.shape)

    def push_points(self, points: npt.ArrayLike) -> FloatArray:
        """Move points of the fixed world to where they lie in the moving world (RAS millimetres, shape (..., 3))."""
        return np.asarray(points, dtype=np.float64) + self.at(points)

    def push_shapes(self, shapes: Sequence[npt.ArrayLike]) -> list[FloatArray]:
        """Move shapes, each given by its vertices (N, 3); edges between vertices stay straight."""
        return [self.push_points(shape) for shape in shapes]

    def push_grid(self, affine: Affine, grid: Grid) -> Iterator[tuple[Block, FloatArray]]:
        """Where the voxels of a grid land in the moving world: (block, RAS millimetres of shape (i, j, K, 3))."""
        own = self._is_on(affine, grid)
        for block, position in sampling.voxel_positions(affine, grid):
            yield block, position + (self.array[block] if own else self.at(position))

    def pull_image(self, moving: V, interpolation: Interpolation = "linear", fill: float = 0) -> V:
        """Resample a moving volume onto the grid of this field, and so onto the fixed image.

        See :func:`voxelsmith.core.pull.pull`; labels keep their values whatever the interpolation is.
        """
        return pull(moving, self.push_grid(self.affine, self.grid), self.affine, self.grid, interpolation, fill)

    def resampled(self, affine: Affine, grid: Grid) -> DisplacementField:
        """The same displacements on another grid of the fixed world; a coarser one is not smoothed first."""
        if self._is_on(affine, grid):
            return DisplacementField(self.array, affine)
        array = np.empty((*grid, 3), np.float32)
        for block, position in sampling.voxel_positions(affine, grid):
            array[block] = self.at(position)
        return DisplacementField(array, affine)

    def then(self, following: DisplacementField) -> DisplacementField:
        """Compose: points are pushed by this field first, by ``following`` second; on this field's grid."""
        array = np.empty_like(self.array)
        for block, position in self.push_grid(self.affine, self.grid):
            array[block] = self.array[block] + following.at(position)
        return DisplacementField(array, self.affine)

    def inverse(
        self,
        affine: Affine | None = None,
        grid: Grid | None = None,
        tolerance: float | None = None,
        max_iterations: int = 50,
    ) -> tuple[DisplacementField, inversion.Residual]:
        """The field that pushes points back, by damped fixed-point iteration.

        Parameters
        ----------
        affine, grid
            Where to sample it, in the moving world; by default on this field's own grid.
        tolerance
            Iterate until every voxel returns to within this many millimetres; by default 1 % of the smallest voxel.
        max_iterations
            When to give up; where the field folds there is no inverse.

        Returns
        -------
        DisplacementField, Residual
            The inverse, and by how much its voxels fail to return.
        """
        if (affine is None) != (grid is None):
            raise GeometryError("The inverse is sampled on a grid: give both its affine and its shape, or neither.")
        target, shape = affine or self.affine, grid or self.grid
        goal = 0.01 * float(self.affine.spacing.min()) if tolerance is None else tolerance
        if not goal > 0:
            raise InputError(f"The tolerance of an inversion is positive, got {goal} mm.")
        array = np.empty((*shape, 3), np.float32)
        tally = inversion.Tally()
        for block, position in sampling.voxel_positions(target, shape):
            array[block], error = inversion.invert_at(self.at, position, goal, max_iterations)
            home = self.affine.inverse().apply(position + array[block])
            tally.add(error[~sampling.outside(self.grid, home)], error.size)
        return DisplacementField(array, target), tally.residual()

    def jacobian_determinant(self) -> npt.NDArray[np.float32]:
        """By which factor the field changes volumes at each voxel, shape (I, J, K); 0 and below where it folds.

        :mod:`voxelsmith.core.jacobian` defines it, and draws the folding share and both kinds of SDlogJ from it, or
        from ``determinant[mask]``.
        """
        out = np.empty(self.grid, np.float32)
        per_mm = self.affine.inverse().matrix[:3, :3].T
        for start, stop in sampling.slabs(self.grid):
            before = max(start - 1, 0)
            voxels = self.array[before : stop + 1] @ per_mm
            out[start:stop] = jacobian_determinant(np.moveaxis(voxels, -1, 0))[start - before :][: stop - start]
        return out

    def _is_on(self, affine: Affine, grid: Grid) -> bool:
        """Whether a grid is this field's own."""
        same = self.affine == affine or np.allclose((self.affine.inverse() @ affine).matrix, np.eye(4), atol=1e-6)
        return self.grid == tuple(grid) and bool(same)
