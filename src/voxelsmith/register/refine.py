"""Improving a linear map on one level of resolution.

Owns the parameters and the steps. A map is changed by a shift and by the exponential of a small matrix about the middle
of what counts, so that it never turns into a mirror image. Steps are those of Levenberg and Marquardt: towards the
minimum that slope and curvature promise, shorter where the last one did not keep its promise.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import numpy as np
import torch

from voxelsmith.core.affine import FloatArray
from voxelsmith.core.progress import Progress
from voxelsmith.register.affine_level import Expansion, Level

Model: TypeAlias = Literal["rigid", "affine"]

# So many steps in a row that made things worse end it too.
_FAILURES = 5
# By how much curvatures are raised at first, and what a step that makes things better or worse does to that.
_DAMPING, _BETTER, _WORSE = 0.01, 0.2, 5.0
_TINY = 1e-9


def refine(
    level: Level, matrix: FloatArray, model: Model, steps: int, short: float, progress: Progress
) -> Generator[Progress, None, tuple[FloatArray, list[float]]]:
    """Improve a map.

    Parameters
    ----------
    level
        The images.
    matrix : ndarray, shape (4, 4)
        From the fixed world to the moving world, RAS millimetres.
    model
        "rigid" turns and shifts it, "affine" scales and shears it too.
    steps
        How many at most, those that are taken back included.
    short
        The search is over after a step that moves places by less, in voxels of the level.
    progress
        Reported after every step.

    Returns
    -------
    ndarray of shape (4, 4), list of float
        The map, and how alike the images were before the first step and after each that helped; higher is better.
    """
    free = _freedom(model)
    with _one_thread():
        here = level.expansion(matrix)
    similarities, damping, failures = [-here.loss], _DAMPING, 0
    for _ in range(steps):
        if not here.slope.any():
            break
        step = _step(here, free, damping)
        tried = matrix @ _move(step, level)
        with _one_thread():
            there = level.expansion(tried)
        yield progress
        better = there.loss < here.loss
        damping *= _BETTER if better else _WORSE
        failures = 0 if better else failures + 1
        if better:
            matrix, here = tried, there
            similarities.append(-here.loss)
        if np.abs(step).max() < short * level.spacing or failures == _FAILURES:
            break
    return matrix, similarities


@contextmanager
def _one_thread() -> Iterator[None]:
    """The pieces of work are so small here that threads of torch would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _freedom(model: Model) -> FloatArray:
    """The directions in which the twelve numbers of a step may go, as columns: with the three turns, or everything."""
    if model == "affine":
        return np.eye(12)
    free = np.zeros((12, 6))
    free[:3, :3] = np.eye(3)
    for n in range(3):
        turn = np.zeros((3, 3))
        turn[n, (n + 1) % 3], turn[(n + 1) % 3, n] = -np.sqrt(0.5), np.sqrt(0.5)
        free[3:, 3 + n] = turn.ravel()
    return free


def _step(here: Expansion, free: FloatArray, damping: float) -> FloatArray:
    """The step (12,) to where slope and curvature promise the minimum."""
    curvature = free.T @ here.curvature @ free
    raised = np.diag(damping * np.diag(curvature) + _TINY * (np.trace(curvature) + _TINY))
    step: FloatArray = -free @ np.linalg.solve(curvature + raised, free.T @ here.slope)
    return step


def _move(step: FloatArray, level: Level) -> FloatArray:
    """A step as a 4x4 matrix near the identity."""
    moved = np.eye(4)
    moved[:3, :3] = torch.linalg.matrix_exp(torch.from_numpy(step[3:].reshape(3, 3) / level.radius)).numpy()
    moved[:3, 3] = level.middle + step[:3] - moved[:3, :3] @ level.middle
    return moved
