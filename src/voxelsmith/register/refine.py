"""Improving a linear map on one level of resolution.

Owns the parameters and the steps. A map is changed by a shift and by the exponential of a small matrix about the middle
of what counts, so that it never turns into a mirror image, and every parameter moves voxels by about one millimetre.
Steps are those of L-BFGS with a line search.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from voxelsmith.core.affine import FloatArray
from voxelsmith.core.progress import Progress
from voxelsmith.register.affine_level import Level

Model: TypeAlias = Literal["rigid", "affine"]

# In voxels of the level: after two steps that are this short the search is over.
_SHORT = 0.002
_PATIENCE = 2


def refine(
    level: Level, matrix: FloatArray, model: Model, steps: int, progress: Progress
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
        How many at most.
    progress
        Reported after every step.

    Returns
    -------
    ndarray of shape (4, 4), list of float
        The map, and how alike the images were before the first step and after each; higher is better.
    """
    move = _Move(level.positions, model)
    base = torch.from_numpy(np.array(matrix))
    parameters = torch.zeros(move.count, dtype=torch.float64, requires_grad=True)
    first = level.loss(base @ move(parameters))
    (slope,) = torch.autograd.grad(first, parameters)
    similarities: list[float] = []
    # With slopes of one in all, the first step is about as long as a voxel.
    scale = float(slope.abs().sum()) / level.spacing
    if scale == 0:
        return matrix, [-first.item()]
    optimiser = torch.optim.LBFGS([parameters], max_iter=1, max_eval=8, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss: Tensor = level.loss(base @ move(parameters)) / scale
        torch.autograd.backward(loss)
        return loss

    short = 0
    for _ in range(steps):
        before = parameters.detach().clone()
        with _one_thread():
            step: Callable[[Callable[[], Tensor]], Tensor] = optimiser.step
            similarities.append(-scale * step(closure).item())
        yield progress
        moved = float((parameters.detach() - before).abs().max()) / level.spacing
        short = short + 1 if moved < _SHORT else 0
        if short == _PATIENCE:
            break
    with torch.no_grad():
        found = base @ move(parameters)
        return found.numpy(), [*similarities, -level.loss(found).item()]


@contextmanager
def _one_thread() -> Iterator[None]:
    """The pieces of work are so small here that threads of torch would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Move:
    """From parameters to a 4x4 matrix near the identity."""

    def __init__(self, positions: FloatArray, model: Model) -> None:
        middle = positions.mean(axis=0)
        radius = float(np.sqrt(((positions - middle) ** 2).sum(axis=1).mean()))
        self._basis = torch.from_numpy(_generators(model) / max(radius, np.finfo(np.float64).tiny))
        self._there, self._back = (torch.eye(4, dtype=torch.float64) for _ in range(2))
        self._there[:3, 3], self._back[:3, 3] = torch.from_numpy(middle), torch.from_numpy(-middle)
        self._last = torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)

    @property
    def count(self) -> int:
        """How many parameters there are."""
        return 3 + len(self._basis)

    def __call__(self, parameters: Tensor) -> Tensor:
        linear = torch.linalg.matrix_exp(torch.einsum("n,nij->ij", parameters[3:], self._basis))
        top = torch.cat([linear, parameters[:3, None]], dim=1)
        moved: Tensor = self._there @ torch.cat([top, self._last]) @ self._back
        return moved


def _generators(model: Model) -> FloatArray:
    """What a map may do beside shifting, as 3x3 matrices of unit length: the three turns, or everything."""
    if model == "affine":
        return np.eye(9).reshape(9, 3, 3)
    turns = np.zeros((3, 3, 3))
    for n in range(3):
        turns[n, (n + 1) % 3, (n + 2) % 3], turns[n, (n + 2) % 3, (n + 1) % 3] = -np.sqrt(0.5), np.sqrt(0.5)
    return turns
