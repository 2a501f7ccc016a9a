"""Random fields: smooth noise of a given scale, and the regions that several such fields compete for.

Owns the raw material of shapes, textures, bias fields and deformations. Scales are in millimetres, so that features are
as large along thick slices as within them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from voxelsmith.train.sample import Field, Grid
from voxelsmith.train.separable import apply_axes, spline_matrix


def smooth_noise(rng: np.random.Generator, grid: Grid, spacing: npt.ArrayLike, scale: float) -> Field:
    """Gaussian noise of unit variance that changes over about ``scale`` millimetres.

    Parameters
    ----------
    rng
        Where the randomness comes from.
    grid
        Shape (I, J, K) of the result.
    spacing
        Voxel size in millimetres; along an axis where it exceeds ``scale`` the noise is white.
    scale
        Distance between independent values in millimetres.
    """
    steps = scale / np.asarray(spacing, dtype=np.float64)
    matrices = [
        spline_matrix(count, step, rng.uniform()) if step > 1 else None
        for count, step in zip(grid, steps.tolist(), strict=True)
    ]
    knots = [count if matrix is None else matrix.shape[1] for count, matrix in zip(grid, matrices, strict=True)]
    return apply_axes(rng.standard_normal(knots, dtype=np.float32), matrices)


def noise_regions(
    rng: np.random.Generator, grid: Grid, spacing: npt.ArrayLike, count: int, scale: float
) -> npt.NDArray[np.int16]:
    """Divide a grid into regions 0 to ``count`` - 1: each voxel goes to the strongest of so many noise fields."""
    best = smooth_noise(rng, grid, spacing, scale)
    winner = np.zeros(grid, dtype=np.int16)
    for index in range(1, count):
        field = smooth_noise(rng, grid, spacing, scale)
        np.copyto(winner, np.int16(index), where=field > best)
        np.maximum(best, field, out=best)
    return winner
