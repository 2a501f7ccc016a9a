"""Inverting a displacement field: find where a pushed point came from.

Owns the fixed-point iteration ``v <- v - s (v + u(y + v))``, whose rest ``v + u(y + v)`` is by how many millimetres
``y + v`` misses ``y`` when it is pushed. The step ``s`` is 1 and is halved, for each point alone, whenever the rest
would grow; so it converges wherever the field neither folds nor turns by a right angle, also where it stretches more
than twofold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import FloatArray


@dataclass(frozen=True)
class Residual:
    """By how much the points of an inverse fail to return, among those that came from inside the field's grid.

    Parameters
    ----------
    max_mm, mean_mm
        Largest and mean distance in millimetres; NaN if nothing came from inside.
    inside
        Share of the inverse's voxels that came from inside, 0 to 1.
    """

    max_mm: float
    mean_mm: float
    inside: float


class Tally:
    """Gathers a :class:`Residual` block by block."""

    def __init__(self) -> None:
        self._largest, self._sum, self._inside, self._all = 0.0, 0.0, 0, 0

    def add(self, distances: npt.NDArray[np.float64], voxels: int) -> None:
        """Count a block of ``voxels``, of which those inside missed by ``distances`` (mm)."""
        self._largest = max(self._largest, float(distances.max(initial=0)))
        self._sum += float(distances.sum())
        self._inside += distances.size
        self._all += voxels

    def residual(self) -> Residual:
        """What was gathered."""
        if not self._inside:
            return Residual(float("nan"), float("nan"), 0.0)
        return Residual(self._largest, self._sum / self._inside, self._inside / self._all)


def invert_at(
    displacement: Callable[[FloatArray], FloatArray], targets: FloatArray, tolerance: float, max_iterations: int
) -> tuple[FloatArray, FloatArray]:
    """Displacements that bring pushed points back.

    Parameters
    ----------
    displacement
        Gives the displacements of the forward field at points of shape (N, 3), all in RAS millimetres.
    targets : ndarray, shape (..., 3)
        Points of the moving world.
    tolerance
        Distance in millimetres at which a point has returned.
    max_iterations
        When to give up on the points that have not.

    Returns
    -------
    ndarray of shape (..., 3), ndarray of shape (...)
        The displacement of each target, and the distance by which it misses.
    """
    y = targets.reshape(-1, 3)
    v = -displacement(y)
    rest = v + displacement(y + v)
    miss = np.linalg.norm(rest, axis=1)
    step = np.ones(len(y))
    for _ in range(max_iterations):
        active = np.flatnonzero(miss > tolerance)
        if not active.size:
            break
        trial = v[active] - step[active, np.newaxis] * rest[active]
        trial_rest = trial + displacement(y[active] + trial)
        trial_miss = np.linalg.norm(trial_rest, axis=1)
        nearer = trial_miss < miss[active]
        step[active] = np.where(nearer, np.minimum(1, step[active] * 1.5), step[active] / 2)
        moved = active[nearer]
        v[moved], rest[moved], miss[moved] = trial[nearer], trial_rest[nearer], trial_miss[nearer]
    return v.reshape(targets.shape), miss.reshape(targets.shape[:-1])
