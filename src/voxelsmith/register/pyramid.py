"""Pyramid: a problem on coarser grids.

Owns which grids a deformation goes through, and what a level holds as tensors. A level shrinks the finest axes first:
its voxels are as near to cubes as the volume allows. All grids share the faces of the volume, so index p of the full
grid is (p + 1/2) / scale - 1/2 of a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from voxelsmith.register.criterion import SimilarityName, features
from voxelsmith.register.gaussian import smooth
from voxelsmith.register.problem import Problem

# An axis is not shrunk to fewer voxels than this, and levels start where the longest one has about twice as many.
_FEWEST = 8
# Images of more voxels stop at half resolution by default; sooner where a step takes much memory or time.
_LARGE = {"lncc": 2**23, "remapped": 2**23, "mse": 2**23, "mind": 2**20, "mi": 2**20}
_COARSEST = 8


@dataclass(frozen=True, eq=False)
class Level:
    """A problem on one grid.

    Parameters
    ----------
    shrink
        By how much the finest axis is shrunk.
    spacing
        Voxel size along each axis, in units of the finest.
    scale
        Voxels of the full grid in one of the level, along each axis.
    fixed, moving
        What is compared, shape (1, C, I, J, K).
    fixed_weight, moving_weight
        Where voxels count, 0 to 1, shape (1, 1, I, J, K), or None.
    fixed_labels, moving_labels
        A channel for each label, shape (1, L, I, J, K), or None.
    fixed_points, moving_points
        Shape (N, 3), in voxels of the level, or None.
    """

    shrink: int
    spacing: tuple[float, float, float]
    scale: tuple[float, float, float]
    fixed: Tensor
    moving: Tensor
    fixed_weight: Tensor | None
    moving_weight: Tensor | None
    fixed_labels: Tensor | None
    moving_labels: Tensor | None
    fixed_points: Tensor | None
    moving_points: Tensor | None

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of voxels along i, j and k."""
        return tuple(self.fixed.shape[2:])


def default_shrinks(grid: Sequence[int], similarity: SimilarityName = "lncc") -> tuple[int, ...]:
    """Levels for a volume, coarse to fine: from 16 voxels or more along the longest axis to full resolution.

    Volumes of more than eight million voxels end at half resolution; for "mind" and "mi" those of more than one.
    """
    finest = 2 if np.prod(grid) > _LARGE[similarity] else 1
    shrinks = [finest]
    while shrinks[0] < _COARSEST and max(grid) / (2 * shrinks[0]) >= 2 * _FEWEST:
        shrinks.insert(0, 2 * shrinks[0])
    return tuple(shrinks)


def level_grid(grid: Sequence[int], spacing: Sequence[float], shrink: float) -> tuple[int, int, int]:
    """The grid of a level: voxels of ``shrink`` times the smallest size, axes that are coarser or short as they are."""
    size = shrink * min(spacing)
    counts = [
        count if count <= _FEWEST or own >= size else max(_FEWEST, round(count * own / size))
        for count, own in zip(grid, spacing, strict=True)
    ]
    return counts[0], counts[1], counts[2]


def pyramid(
    problem: Problem, shrinks: Sequence[int], similarity: SimilarityName, device: torch.device, *, labels: bool
) -> list[Level]:
    """The levels of a problem in the order of ``shrinks``, which go from coarse to fine."""
    images = [volume(image, device) for image in (problem.fixed, problem.moving)]
    weights = [None if mask is None else volume(mask, device) for mask in (problem.fixed_mask, problem.moving_mask)]
    levels: list[Level] = []
    for shrink in reversed(shrinks):
        grid = level_grid(problem.grid, problem.spacing, shrink)
        images = [shrunk(image, grid) for image in images]
        weights = [None if weight is None else shrunk(weight, grid) for weight in weights]
        levels.insert(0, _level(problem, shrink, images, weights, similarity, labels))
    return levels


def volume(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor, shape (1, 1, I, J, K), float32."""
    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(device)[None, None]


def shrunk(x: Tensor, grid: Sequence[int]) -> Tensor:
    """A volume on a coarser grid of the same faces, smoothed as much as that needs."""
    scale = [own / count for own, count in zip(x.shape[2:], grid, strict=True)]
    if max(scale) <= 1:
        return x
    x = smooth(x, [0.5 * s if s > 1 else 0 for s in scale])
    return functional.interpolate(x, size=list(grid), mode="trilinear", align_corners=False)


def carried(displacement: Tensor, grid: Sequence[int]) -> Tensor:
    """A displacement (1, 3, I, J, K) on another grid of the same faces, in voxels of that."""
    if tuple(displacement.shape[2:]) == tuple(grid):
        return displacement
    scale = [count / own for own, count in zip(displacement.shape[2:], grid, strict=True)]
    out = functional.interpolate(displacement, size=list(grid), mode="trilinear", align_corners=False)
    return out.mul_(out.new_tensor(scale).reshape(1, 3, 1, 1, 1))


def _level(
    problem: Problem,
    shrink: int,
    images: Sequence[Tensor],
    weights: Sequence[Tensor | None],
    similarity: SimilarityName,
    labels: bool,
) -> Level:
    fixed, moving = images
    grid = tuple(fixed.shape[2:])
    i, j, k = (own / count for own, count in zip(problem.grid, grid, strict=True))
    a, b, c = (s * size / min(problem.spacing) for s, size in zip((i, j, k), problem.spacing, strict=True))
    channels: list[Tensor | None] = [None, None]
    if labels and problem.fixed_labels is not None and problem.moving_labels is not None:
        values = np.intersect1d(problem.fixed_labels, problem.moving_labels)
        channels = [
            _one_hot(array, values[values != 0], grid, fixed.device)
            for array in (problem.fixed_labels, problem.moving_labels)
        ]
    points = [
        None if p is None else torch.as_tensor((p + 0.5) / (i, j, k) - 0.5, dtype=torch.float32, device=fixed.device)
        for p in (problem.fixed_points, problem.moving_points)
    ]
    return Level(
        shrink,
        (a, b, c),
        (i, j, k),
        features(fixed, similarity),
        features(moving, similarity),
        *weights,
        *channels,
        *points,
    )


def _one_hot(
    labels: npt.NDArray[Any], values: npt.NDArray[Any], grid: Sequence[int], device: torch.device
) -> Tensor | None:
    if not values.size:
        return None
    return torch.cat([shrunk(volume(labels == value, device), grid) for value in values], dim=1)
