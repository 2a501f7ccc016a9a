"""A start for large motion: every shift on a coarse grid is tried, then neighbours are made to agree.

Owns the coupled convex search (after Heinrich et al., WBIR 2014, and ConvexAdam, Siebert et al. 2021): the costs of all
shifts of all cells are known once; cells then choose the cheapest shift near a smooth field, and the field becomes the
smoothed choices, more and more strictly. The descriptors are MIND-SSC, whatever the similarity is.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from voxelsmith.models.warp import compose, pull
from voxelsmith.register.box import box_count, box_sum
from voxelsmith.register.mind import mind_ssc
from voxelsmith.register.problem import Problem
from voxelsmith.register.pyramid import carried, level_grid, shrunk, volume

# Cells are pooled from descriptors on a grid that is finer by this factor, and there are at most so many of them.
_POOL = 2
_MOST_CELLS = 2**15
# Shifts go up to so many cells along each axis.
_REACH = 4
# How much a cell's distance from the smooth field costs, against its match, in one round after the other.
_COUPLING = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_SMOOTHING = 3


@torch.no_grad()
def convex_start(problem: Problem, grid: Sequence[int], device: torch.device, start: Tensor) -> Tensor:
    """Find large motion.

    Parameters
    ----------
    problem
        The images on one grid; of masks, the fixed one counts.
    grid
        The grid (I, J, K) of the result, with the faces of the problem's.
    device
        Where it is computed.
    start
        A displacement on any such grid that is built on, shape (1, 3, i, j, k).

    Returns
    -------
    tensor, shape (1, 3, I, J, K)
        Displacement in voxels of ``grid``.
    """
    fine = _fine_grid(problem)
    fixed, moving = (shrunk(volume(image, device), fine) for image in (problem.fixed, problem.moving))
    begun = carried(start, fine)
    cells = [max(1, count // _POOL) for count in fine]
    a, b = (_pooled(mind_ssc(image), cells) for image in (fixed, pull(moving, begun)))
    weight = None if problem.fixed_mask is None else _pooled(shrunk(volume(problem.fixed_mask, device), fine), cells)
    found = carried(coupled_convex(a, b, weight), grid)
    return compose(carried(start, grid), found)


def coupled_convex(fixed: Tensor, moving: Tensor, weight: Tensor | None) -> Tensor:
    """The smooth displacement whose shifts match best, in cells, shape (1, 3, I, J, K).

    Parameters
    ----------
    fixed, moving
        Descriptors, shape (1, C, I, J, K).
    weight
        How much each cell counts, shape (1, 1, I, J, K), or None.
    """
    grid = fixed.shape[2:]
    reach = [min(_REACH, count - 1) for count in grid]
    shifts = list(itertools.product(*(range(-r, r + 1) for r in reach)))
    wide = functional.pad(moving, [r for own in reversed(reach) for r in (own, own)], mode="replicate")
    cost = fixed.new_empty(len(shifts), *grid)
    for number, shift in enumerate(shifts):
        part = wide
        for axis, (step, r) in enumerate(zip(shift, reach, strict=True)):
            part = part.narrow(2 + axis, r + step, grid[axis])
        cost[number] = (part - fixed).square().sum(1)[0]
    if weight is not None:
        cost *= weight[0]
    table = fixed.new_tensor(shifts)
    field = _smoothed(_chosen(cost, table))
    for coupling in _COUPLING:
        distance = cost.clone()
        for axis in range(3):
            distance.add_((table[:, axis].reshape(-1, 1, 1, 1) - field[:, axis]).square_(), alpha=coupling)
        field = _smoothed(_chosen(distance, table))
    return field


def _fine_grid(problem: Problem) -> tuple[int, int, int]:
    """The finest grid of which the cells are few enough."""
    shrink = 1.0
    while np.prod(level_grid(problem.grid, problem.spacing, shrink)) > _MOST_CELLS * _POOL**3:
        shrink *= 1.1
    return level_grid(problem.grid, problem.spacing, shrink)


def _pooled(x: Tensor, cells: Sequence[int]) -> Tensor:
    pooled: Tensor = functional.interpolate(x, size=list(cells), mode="area")
    return pooled


def _chosen(cost: Tensor, table: Tensor) -> Tensor:
    """The cheapest shift of each cell, shape (1, 3, I, J, K); the first one of several as cheap."""
    return table[cost.argmin(0)].permute(3, 0, 1, 2)[None]


def _smoothed(field: Tensor) -> Tensor:
    for _ in range(_SMOOTHING):
        field = box_sum(field, 3) / box_count(field.shape[2:], 3, field)
    return field
