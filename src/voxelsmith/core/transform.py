"""Transform: what a registration returns, an affine map after an optional displacement field.

Owns the pair that every registration here and in ANTs comes down to: the point ``x`` of the fixed world belongs to
``M (x + u(x))`` of the moving world, all in RAS millimetres. Composing and inverting such pairs gives such pairs again,
so a chain of any length stays one matrix and one field. As with a
:class:`~voxelsmith.core.displacement.DisplacementField`, points are pushed from fixed to moving and images are pulled
from moving to fixed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from voxelsmith.core import sampling
from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.errors import GeometryError
from voxelsmith.core.inversion import Residual
from voxelsmith.core.pull import Interpolation, V, pull
from voxelsmith.core.sampling import Block, Grid


@dataclasses.dataclass(frozen=True, eq=False)
class Transform:
    """An affine map after an optional displacement field, from the fixed world to the moving world.

    Parameters
    ----------
    matrix : array_like, shape (4, 4)
        RAS millimetres to RAS millimetres; kept in float64, read-only.
    field
        Displacements on the fixed grid, applied before the matrix; None if the matrix is all.

    Raises
    ------
    GeometryError
        If the matrix is not an invertible, finite, affine 4x4 matrix.
    """

    matrix: FloatArray = dataclasses.field(default_factory=lambda: np.eye(4))
    field: DisplacementField | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", Affine(self.matrix).matrix)

    def push_points(self, points: npt.ArrayLike) -> FloatArray:
        """Move points of the fixed world to where they lie in the moving world (RAS millimetres, shape (..., 3))."""
        return Affine(self.matrix).apply(self.field.push_points(points) if self.field else points)

    def push_shapes(self, shapes: Sequence[npt.ArrayLike]) -> list[FloatArray]:
        """Move shapes, each given by its vertices (N, 3); edges between vertices stay straight."""
        return [self.push_points(shape) for shape in shapes]

    def push_grid(self, affine: Affine, grid: Grid) -> Iterator[tuple[Block, FloatArray]]:
        """Where the voxels of a grid land in the moving world: (block, RAS millimetres of shape (i, j, K, 3))."""
        moved = self.field.push_grid(affine, grid) if self.field else sampling.voxel_positions(affine, grid)
        matrix = Affine(self.matrix)
        for block, position in moved:
            yield block, matrix.apply(position)

    def pull_image(
        self,
        moving: V,
        affine: Affine | None = None,
        grid: Grid | None = None,
        interpolation: Interpolation = "linear",
        fill: float = 0,
    ) -> V:
        """Resample a moving volume onto a grid of the fixed world, by default that of the field.

        See :func:`voxelsmith.core.pull.pull`; labels keep their values whatever the interpolation is.

        Raises
        ------
        GeometryError
            If there is no field and no grid is given.
        """
        affine, grid = self._target(affine, grid)
        return pull(moving, self.push_grid(affine, grid), affine, grid, interpolation, fill)

    def as_field(self, affine: Affine | None = None, grid: Grid | None = None) -> DisplacementField:
        """Matrix and field as one field on a grid of the fixed world, by default that of the field.

        Raises
        ------
        GeometryError
            If there is no field and no grid is given.
        """
        affine, grid = self._target(affine, grid)
        array = np.empty((*grid, 3), np.float32)
        starts = sampling.voxel_positions(affine, grid)
        for (block, start), (_, end) in zip(starts, self.push_grid(affine, grid), strict=True):
            array[block] = end - start
        return DisplacementField(array, affine)

    def then(self, following: Transform) -> Transform:
        """Compose: points are pushed by this transform first, by ``following`` second.

        The field of the result lies on this transform's grid; if only ``following`` has a field, on that field's grid
        carried into this transform's world, where no interpolation is needed.
        """
        matrix = following.matrix @ self.matrix
        if following.field is None:
            return Transform(matrix, self.field)
        back = Affine(self.matrix).inverse()
        turn = back.matrix[:3, :3].T
        if self.field is None:
            carried = following.field.array @ turn.astype(np.float32)
            return Transform(matrix, DisplacementField(carried, back @ following.field.affine))
        array = np.empty_like(self.field.array)
        for block, position in self.push_grid(self.field.affine, self.field.grid):
            array[block] = self.field.array[block] + following.field.at(position) @ turn
        return Transform(matrix, DisplacementField(array, self.field.affine))

    def inverse(
        self,
        affine: Affine | None = None,
        grid: Grid | None = None,
        tolerance: float | None = None,
        max_iterations: int = 50,
    ) -> tuple[Transform, Residual]:
        """The transform that pushes points from the moving world back to the fixed one.

        Parameters
        ----------
        affine, grid
            Where to sample its field: a grid of the moving world, usually that of the moving image; by default the
            field's own grid, carried there by the matrix.
        tolerance, max_iterations
            As for :meth:`DisplacementField.inverse`.

        Returns
        -------
        Transform, Residual
            The inverse, and by how much it fails to return, in millimetres before the matrix is applied.
        """
        back = Affine(self.matrix).inverse()
        if self.field is None:
            return Transform(back.matrix), Residual(0.0, 0.0, 1.0)
        start = None if affine is None else back @ affine
        backward, residual = self.field.inverse(start, grid, tolerance, max_iterations)
        carried = Transform(back.matrix).then(Transform(field=backward))
        if affine is not None and carried.field is not None:
            carried = Transform(back.matrix, DisplacementField(carried.field.array, affine))
        return carried, residual

    def _target(self, affine: Affine | None, grid: Grid | None) -> tuple[Affine, Grid]:
        """The grid that was asked for, else the field's."""
        if affine is not None and grid is not None:
            return affine, grid
        if affine is not None or grid is not None or self.field is None:
            raise GeometryError(
                "A transform is sampled on its own field's grid or on one that is given: pass both the affine and the "
                "shape of the fixed image."
            )
        return self.field.affine, self.field.grid
