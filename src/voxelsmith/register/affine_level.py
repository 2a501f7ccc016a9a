"""One level of an affine registration: how well two images match under a linear map.

Owns the sample points, spread evenly over the fixed image by a fixed low-discrepancy sequence: as many for a large
image as for a small one, never on a lattice that interpolation could favour, and the same in every run. Each point
looks into the moving image where the map sends it; points that leave it do not count.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from voxelsmith.core.affine import FloatArray
from voxelsmith.register.mind import mind_ssc
from voxelsmith.register.mutual_information import mutual_information
from voxelsmith.register.preparation import Prepared
from voxelsmith.register.request import AffineSimilarity

# Generalised golden ratio of three dimensions: the root of x**4 = x + 1, whose inverse powers fill a cube evenly.
_RATIO = 1.2207440846057596
# A map under which fewer points meet the moving image says nothing.
LEAST_OVERLAP = 0.1
# What lies beyond a face seeps this many voxels into a blurred and interpolated image.
_MARGIN = 3.0


class Level:
    """Two images at one resolution.

    Parameters
    ----------
    fixed, moving
        The images.
    similarity
        Which one; for MIND the moving image should lie along the axes of the fixed one.
    points
        How many places are compared.
    """

    def __init__(self, fixed: Prepared, moving: Prepared, similarity: AffineSimilarity, points: int) -> None:
        self.spacing = float(np.prod(fixed.affine.spacing)) ** (1 / 3)
        self._loss = _LOSSES[similarity]
        features = mind_ssc if similarity == "mind" else None
        index = sample_points(fixed, points)
        self.positions = fixed.affine.apply(index)
        self._index = torch.from_numpy(np.column_stack([index, np.ones(len(index))]).astype(np.float32))
        self._to_world = torch.from_numpy(fixed.affine.matrix.copy())
        to_unit = torch.from_numpy(_unit(fixed)) @ self._to_world
        at_home = _look(_channels(fixed, features), self._index @ to_unit.float().T)
        self._fixed, self._fixed_weight = at_home[:-1], at_home[-1]
        self._moving = _channels(moving, features)
        self._to_unit = torch.from_numpy(_unit(moving))

    def loss(self, matrix: Tensor) -> Tensor:
        """How badly the images match under a map (4, 4) from the fixed to the moving world; differentiable in it."""
        seen, weight = self._seen(matrix)
        if weight.sum() < LEAST_OVERLAP * self._fixed_weight.sum():
            return 1 + 0 * matrix.sum()
        return self._loss(seen, self._fixed, weight)

    def similarity(self, matrix: FloatArray) -> float:
        """How well the images match under a map (4, 4); higher is better."""
        return -float(self.loss(torch.from_numpy(np.array(matrix))))

    def overlap(self, matrix: FloatArray) -> float:
        """Share of the points that count in both images, 0 to 1."""
        return float(self._seen(torch.from_numpy(np.array(matrix)))[1].sum() / self._fixed_weight.sum())

    def _seen(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """What the points see in the moving image (C, N), and how much each of them counts."""
        places = self._index @ (self._to_unit @ matrix @ self._to_world).float().T
        seen = _look(self._moving, places)
        inside = (places.detach().abs() <= 1).all(dim=1)
        return seen[:-1], self._fixed_weight * seen[-1].detach() * inside


def sample_points(image: Prepared, count: int) -> FloatArray:
    """Places (N, 3), in voxels, evenly spread over what counts; at most ``count``, fewer than the voxels there."""
    grid = np.array(image.grid)
    low, high = image.counted_box()
    margin = np.minimum(_MARGIN, grid / 8)
    if (np.minimum(high, grid - margin) > np.maximum(low, margin)).all():
        low, high = np.maximum(low, margin), np.minimum(high, grid - margin)
    voxels = float(np.prod(high - low))
    share = 1.0 if image.weight is None else float((image.weight > 0).sum()) / voxels
    numbers = np.arange(1, int(min(count / min(share, 1), voxels)) + 1)[:, np.newaxis]
    index: FloatArray = low + (high - low) * (numbers / _RATIO ** np.arange(1, 4) % 1) - 0.5
    if image.weight is None:
        return index
    at = np.clip(np.round(index), 0, grid - 1).astype(int)
    counted: FloatArray = index[image.weight[tuple(at.T)] > 0]
    return counted


def _unit(image: Prepared) -> FloatArray:
    """From RAS millimetres to the coordinates of torch, -1..1 from face to face, last axis first; shape (3, 4)."""
    matrix = np.zeros((3, 4))
    for row, axis in enumerate((2, 1, 0)):
        matrix[row, axis], matrix[row, 3] = 2 / image.grid[axis], 1 / image.grid[axis] - 1
    composed: FloatArray = matrix @ image.affine.inverse().matrix
    return composed


def _channels(image: Prepared, features: Callable[[Tensor], Tensor] | None) -> Tensor:
    """The image or its features, and its weight as the last channel; shape (1, C, I, J, K)."""
    values = torch.from_numpy(np.ascontiguousarray(image.values))[None, None]
    weight = torch.ones_like(values) if image.weight is None else torch.from_numpy(image.weight)[None, None]
    return torch.cat([values if features is None else features(values), weight], dim=1)


def _look(channels: Tensor, places: Tensor) -> Tensor:
    """Values (C, N) at places (N, 3) of the unit cube."""
    seen = functional.grid_sample(
        channels, places[None, None, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return seen[0, :, 0, 0]


def correlation(seen: Tensor, fixed: Tensor, weight: Tensor) -> Tensor:
    """Correlation coefficient of two sets of intensities (N,), each counted by its weight."""
    share = weight / weight.sum()
    a, b = (x - (share * x).sum() for x in (seen, fixed))
    spread = (share * a * a).sum() * (share * b * b).sum()
    return (share * a * b).sum() / (spread + torch.finfo(spread.dtype).eps).sqrt()


def _uncorrelated(seen: Tensor, fixed: Tensor, weight: Tensor) -> Tensor:
    """Minus the correlation coefficient."""
    return -correlation(seen[0], fixed[0], weight)


def _information(seen: Tensor, fixed: Tensor, weight: Tensor) -> Tensor:
    """Minus the mutual information."""
    return -mutual_information(seen[0], fixed[0], weight)


def _difference(seen: Tensor, fixed: Tensor, weight: Tensor) -> Tensor:
    """Mean squared difference."""
    return ((seen - fixed) ** 2 * weight).sum() / (weight.sum() * len(seen))


_LOSSES: dict[AffineSimilarity, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "ncc": _uncorrelated,
    "mi": _information,
    "mind": _difference,
}
