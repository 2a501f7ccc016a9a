"""Looks: a deformation as arrows and as a bent grid.

Owns where arrows start, how long they are, and how the lines of a regular grid run after a transform has moved them.
Everything is in voxel indices of the fixed grid, so that it can be drawn over the fixed image. Arrows and lines show
where places of the fixed image belong in the moving one, the direction in which a transform pushes points. They lie on
one slice of the grid, as that is what a screen shows, or all through it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.errors import InputError
from voxelsmith.core.sampling import Grid
from voxelsmith.core.transform import Transform

_PIECES = 4


@dataclass(frozen=True)
class Plane:
    """A slice of a grid: the array axis that it is normal to (0 i, 1 j, 2 k), and its index along it."""

    axis: int
    index: float


@dataclass(frozen=True, eq=False)
class Arrows:
    """Displacements at a few places.

    Parameters
    ----------
    starts, ends : ndarray, shape (N, 3)
        Voxel indices of the fixed grid, fractional.
    lengths : ndarray, shape (N,)
        In millimetres.
    """

    starts: FloatArray
    ends: FloatArray
    lengths: FloatArray


def arrows(transform: Transform, affine: Affine, grid: Grid, step: float, plane: Plane | None = None) -> Arrows:
    """Displacements at evenly spread places.

    Parameters
    ----------
    transform
        From the fixed world to the moving world.
    affine, grid
        Of the fixed image.
    step
        Distance between places in millimetres; at least a voxel is taken.
    plane
        The slice on which they start; None spreads them all through the grid.

    Raises
    ------
    InputError
        If the step is not positive.
    """
    ticks = _ticks(affine, grid, step, plane)
    starts = np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1).reshape(-1, 3)
    at = affine.apply(starts)
    to = transform.push_points(at)
    return Arrows(starts, affine.inverse().apply(to), np.linalg.norm(to - at, axis=1))


def grid_lines(
    transform: Transform, affine: Affine, grid: Grid, step: float, plane: Plane | None = None
) -> list[FloatArray]:
    """The lines of a regular grid after a transform has moved them.

    Parameters
    ----------
    transform, affine, grid, plane
        As for :func:`arrows`.
    step
        Distance between lines in millimetres; at least a voxel is taken.

    Returns
    -------
    list of ndarray, each of shape (N, 3)
        Polylines in voxel indices of the fixed grid, four pieces a step.
    """
    ticks = _ticks(affine, grid, step, plane)
    lines = []
    for along in range(3):
        if grid[along] == 1 or (plane is not None and plane.axis == along):
            continue
        pieces = max(1, int(np.ceil((grid[along] - 1) * affine.spacing[along] * _PIECES / step)))
        course = np.linspace(0, grid[along] - 1, pieces + 1)
        others = [axis for axis in range(3) if axis != along]
        for a in ticks[others[0]]:
            for b in ticks[others[1]]:
                line = np.empty((len(course), 3))
                line[:, along], line[:, others[0]], line[:, others[1]] = course, a, b
                lines.append(line)
    if not lines:
        return []
    moved = affine.inverse().apply(transform.push_points(affine.apply(np.concatenate(lines))))
    return np.split(moved, np.cumsum([len(line) for line in lines])[:-1])


def segments(lines: list[FloatArray]) -> FloatArray:
    """The pieces of polylines as pairs of start and end, shape (N, 2, 3)."""
    pieces = [np.stack([line[:-1], line[1:]], axis=1) for line in lines]
    return np.concatenate(pieces) if pieces else np.empty((0, 2, 3))


def step_for(affine: Affine, grid: Grid, across: int) -> float:
    """The step in millimetres of which ``across`` fit along the longest side of a grid."""
    return float((affine.spacing * grid).max()) / across


def deformation_of(transform: Transform) -> Transform:
    """A transform without its affine part, which would otherwise hide how unevenly it moves things."""
    return Transform(field=transform.field)


def _ticks(affine: Affine, grid: Grid, step: float, plane: Plane | None) -> list[FloatArray]:
    """Indices along i, j and k, a step apart and centred; only that of the plane along its normal."""
    if not step > 0:
        raise InputError(f"The distance between arrows or lines is positive, got {step} mm.")
    ticks = []
    for axis, (count, spacing) in enumerate(zip(grid, affine.spacing.tolist(), strict=True)):
        if plane is not None and plane.axis == axis:
            ticks.append(np.array([float(plane.index)]))
            continue
        apart = max(step / spacing, 1.0)
        number = int((count - 1) / apart)
        ticks.append((count - 1 - number * apart) / 2 + apart * np.arange(number + 1))
    return ticks
