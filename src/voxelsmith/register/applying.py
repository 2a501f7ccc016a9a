"""Applying: the work of a finished transform as jobs, piece by piece.

Owns how volumes and inverses of any size are computed in steps short enough to cancel, and how single places go
through a transform backwards, which needs no inverse on a grid.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.errors import InputError
from voxelsmith.core.inversion import Residual, invert_at
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.pull import Interpolation, V
from voxelsmith.core.sampling import Grid, slabs
from voxelsmith.core.transform import Transform
from voxelsmith.register.result import outside_value

_TOLERANCE = 0.001
_ITERATIONS = 100


def warp_job(
    transform: Transform, moving: V, affine: Affine, grid: Grid, interpolation: Interpolation = "linear"
) -> Job[V]:
    """Job that brings a volume of the moving world onto a grid of the fixed one.

    Parameters
    ----------
    transform
        From the fixed world to the moving world.
    moving
        An image, labels, a time series or a colour image; labels stay labels and bytes of colours stay bytes.
    affine, grid
        Where to.
    interpolation
        "linear" or "nearest"; see :func:`voxelsmith.core.pull.pull`.

    Returns
    -------
    Volume
        Of the same type; beyond ``moving`` lies 0, or an image's least value if that is negative.
    """
    yield Progress(0, grid[0], f"Reading {moving.name}")
    whole = replace(moving, array=np.asarray(moving.array))
    fill = outside_value(whole)
    parts = []
    for start, stop in slabs(grid):
        yield Progress(start, grid[0], f"Warping {moving.name}")
        part_grid = (stop - start, grid[1], grid[2])
        pulled = transform.pull_image(whole, affine.shifted((start, 0, 0)), part_grid, interpolation, fill)
        parts.append(_as_colours(pulled.array) if moving.is_colour and whole.array.dtype == np.uint8 else pulled.array)
    return replace(moving, array=np.concatenate(parts), affine=affine, history=(*moving.history, "warped"), metadata={})


def _as_colours(array: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.rint(array).astype(np.uint8)


def invert_job(transform: Transform, affine: Affine, grid: Grid) -> Job[tuple[Transform, Residual]]:
    """Job that inverts a transform; see :meth:`voxelsmith.core.transform.Transform.inverse`.

    Parameters
    ----------
    transform
        From the fixed world to the moving world.
    affine, grid
        The grid of the moving world on which the field of the inverse is sampled.

    Returns
    -------
    Transform, Residual
        From the moving world to the fixed one, and by how much it fails to return.
    """
    matrix = Affine(transform.matrix).inverse().matrix
    if transform.field is None:
        return Transform(matrix), Residual(0.0, 0.0, 1.0)
    array = np.empty((*grid, 3), np.float32)
    found: list[tuple[Residual, int]] = []
    for start, stop in slabs(grid):
        yield Progress(start, grid[0], "Inverting the transform")
        part, residual = transform.inverse(affine.shifted((start, 0, 0)), (stop - start, grid[1], grid[2]))
        if part.field is not None:
            array[start:stop] = part.field.array
        found.append((residual, stop - start))
    return Transform(matrix, DisplacementField(array, affine)), _together(found)


class Reversible:
    """A transform that remembers its inverse on the grid on which that was last asked for.

    Parameters
    ----------
    transform
        From the fixed world to the moving world.
    """

    def __init__(self, transform: Transform) -> None:
        self.transform = transform
        self._kept: tuple[Affine, Grid, tuple[Transform, Residual]] | None = None

    def inverse_job(self, affine: Affine, grid: Grid) -> Job[tuple[Transform, Residual]]:
        """Job that inverts the transform, as :func:`invert_job`, unless it has done so on this grid before."""
        if self._kept is not None and self._kept[:2] == (affine, grid):
            return self._kept[2]
        found = yield from invert_job(self.transform, affine, grid)
        self._kept = affine, grid, found
        return found


def pull_points(transform: Transform, points: npt.ArrayLike) -> FloatArray:
    """Move points of the moving world to where they lie in the fixed world: the way back of ``push_points``.

    Parameters
    ----------
    transform
        From the fixed world to the moving world.
    points : array_like, shape (..., 3)
        RAS millimetres.

    Raises
    ------
    InputError
        If a coordinate is not finite, or a point lies where the deformation folds, so that nothing leads there.
    """
    before = Affine(transform.matrix).inverse().apply(points)
    field = transform.field
    if field is None:
        return before
    tolerance = _TOLERANCE * float(field.affine.spacing.min())
    back, miss = invert_at(field.at, before, tolerance, _ITERATIONS)
    lost = int(np.count_nonzero(miss > 10 * tolerance))
    if lost:
        raise InputError(
            f"{lost} of {miss.size} points lie where the deformation folds, so that no place of the fixed image leads "
            "there; remove them, or register with a smoother deformation."
        )
    return before + back


def _together(found: list[tuple[Residual, int]]) -> Residual:
    """Residuals of slabs, each with its number of planes, as one."""
    planes = sum(count for _, count in found)
    weights = [residual.inside * count for residual, count in found]
    inside = sum(weights)
    if not inside:
        return Residual(float("nan"), float("nan"), 0.0)
    known = [(residual, weight) for (residual, _), weight in zip(found, weights, strict=True) if weight]
    mean = sum(residual.mean_mm * weight for residual, weight in known) / inside
    return Residual(max(residual.max_mm for residual, _ in known), mean, inside / planes)
