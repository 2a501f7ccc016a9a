"""One level of an affine registration: how well two images match under a linear map.

Owns the sample points, spread evenly over the fixed image by a fixed low-discrepancy sequence: as many for a large
image as for a small one, never on a lattice that interpolation could favour, and the same in every run. Each point
looks into the moving image where the map sends it; points that leave it do not count. How the match changes with the
map comes in closed form from the slopes of the moving image, with the curvature of Gauss and Newton.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from voxelsmith.core.affine import FloatArray
from voxelsmith.register.gaussian import slopes
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
_LEAST_UNEXPLAINED = 1e-3


@dataclass(frozen=True, eq=False)
class Expansion:
    """The loss near a map: how it changes when the fixed world moves a little before the map is applied.

    Parameters
    ----------
    loss
        How badly the images match, lower is better.
    slope : ndarray, shape (12,)
        Change of the loss for a millimetre of shift along x, y, z, and for the nine entries of a change of the linear
        part, row by row, about the middle of the points, scaled to move them by about a millimetre.
    curvature : ndarray, shape (12, 12)
        How that changes in turn; never negative.
    """

    loss: float
    slope: FloatArray
    curvature: FloatArray


@dataclass(frozen=True, eq=False)
class _Fit:
    """A loss, its derivative in what the points see (C, N), and the weights (N,) of squared changes in its curvature.

    Changes along the directions ``blind`` (D, N) do not count there; these are of unit length under the weights.
    """

    loss: Tensor
    by_seen: Tensor
    weight: Tensor
    blind: Tensor


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
        self._fit = _FITS[similarity]
        features = mind_ssc if similarity == "mind" else None
        index = sample_points(fixed, points)
        self.positions = fixed.affine.apply(index)
        self.middle = self.positions.mean(axis=0)
        arms = self.positions - self.middle
        self.radius = max(float(np.sqrt((arms**2).sum(axis=1).mean())), np.finfo(np.float64).tiny)
        self._arms = torch.from_numpy((arms / self.radius).astype(np.float32))
        self._index = torch.from_numpy(np.column_stack([index, np.ones(len(index))]).astype(np.float32))
        to_unit = _unit(fixed) @ fixed.affine.matrix
        at_home = _look(_channels(fixed, features), self._index @ _single(to_unit).T)
        self._fixed, self._fixed_weight = at_home[:-1], at_home[-1]
        self._moving = _channels(moving, features)
        self._slopes = [slopes(self._moving[:, c : c + 1]) for c in range(self._moving.shape[1] - 1)]
        self._to_world, self._to_unit = fixed.affine.matrix, _unit(moving)
        self._per_voxel = moving.affine.inverse().matrix[:3, :3]

    @torch.no_grad()
    def similarity(self, matrix: FloatArray) -> float:
        """How well the images match under a map (4, 4) from the fixed to the moving world; higher is better."""
        seen, weight, _ = self._seen(matrix)
        return -float(self._fit(seen, self._fixed, weight).loss) if self._meets(weight) else -1.0

    @torch.no_grad()
    def expansion(self, matrix: FloatArray) -> Expansion:
        """How the match changes around a map (4, 4)."""
        seen, weight, places = self._seen(matrix)
        if not self._meets(weight):
            return Expansion(1.0, np.zeros(12), np.zeros((12, 12)))
        fit = self._fit(seen, self._fixed, weight)
        to_fixed_world = _single(self._per_voxel @ matrix[:3, :3])
        slope, curvature = torch.zeros(12), torch.zeros(12, 12)
        for channel, by_seen in zip(self._slopes, fit.by_seen, strict=True):
            change = _look(channel, places).T @ to_fixed_world
            moves = torch.cat([change, (change[:, :, None] * self._arms[:, None, :]).flatten(1)], dim=1)
            unseen = fit.blind @ (fit.weight[:, None] * moves)
            slope += moves.T @ by_seen
            curvature += moves.T @ (fit.weight[:, None] * moves) - unseen.T @ unseen
        return Expansion(float(fit.loss), slope.double().numpy(), curvature.double().numpy())

    @torch.no_grad()
    def overlap(self, matrix: FloatArray) -> float:
        """Share of the points that count in both images, 0 to 1."""
        return float(self._seen(matrix)[1].sum() / self._fixed_weight.sum())

    def _meets(self, weight: Tensor) -> bool:
        return bool(weight.sum() >= LEAST_OVERLAP * self._fixed_weight.sum())

    def _seen(self, matrix: FloatArray) -> tuple[Tensor, Tensor, Tensor]:
        """What the points see in the moving image (C, N), how much each of them counts, and where that is (N, 3)."""
        places = self._index @ _single(self._to_unit @ matrix @ self._to_world).T
        seen = _look(self._moving, places)
        inside = (places.abs() <= 1).all(dim=1)
        return seen[:-1], self._fixed_weight * seen[-1] * inside, places


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


def _single(matrix: FloatArray) -> Tensor:
    return torch.from_numpy(matrix.astype(np.float32))


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


def _uncorrelated(seen: Tensor, fixed: Tensor, weight: Tensor) -> _Fit:
    """Minus the correlation coefficient: half the squared distance of both images at unit length, less one."""
    share = weight / weight.sum()
    a, b = (x - (share * x).sum() for x in (seen[0], fixed[0]))
    tiny = torch.finfo(a.dtype).eps
    spread_a, spread_b = (share * a * a).sum() + tiny, (share * b * b).sum() + tiny
    both = (spread_a * spread_b).sqrt()
    rho = (share * a * b).sum() / both
    by_seen = share * (a * (rho / spread_a) - b / both)
    blind = torch.stack([torch.ones_like(a), a / spread_a.sqrt()]) * spread_a.sqrt()
    return _Fit(-rho, by_seen[None], share / spread_a, blind)


def _information(seen: Tensor, fixed: Tensor, weight: Tensor) -> _Fit:
    """Minus the mutual information, curved like the correlation of normal variables that tell as much of each other."""
    with torch.enable_grad():
        own = seen[0].detach().requires_grad_()
        loss = -mutual_information(own, fixed[0], weight)
        (by_seen,) = torch.autograd.grad(loss, own)
    like = _uncorrelated(seen, fixed, weight)
    unexplained = (2 * loss.detach()).exp().clamp(_LEAST_UNEXPLAINED, 1 - _LEAST_UNEXPLAINED)
    scale = (1 - unexplained).sqrt() / unexplained
    return _Fit(loss.detach(), by_seen[None], like.weight * scale, like.blind / scale.sqrt())


def _difference(seen: Tensor, fixed: Tensor, weight: Tensor) -> _Fit:
    """Mean squared difference."""
    share = weight / (weight.sum() * len(seen))
    difference = seen - fixed
    return _Fit((difference**2 * share).sum(), 2 * share * difference, 2 * share, seen.new_zeros(0, seen.shape[1]))


_FITS: dict[AffineSimilarity, Callable[[Tensor, Tensor, Tensor], _Fit]] = {
    "ncc": _uncorrelated,
    "mi": _information,
    "mind": _difference,
}
