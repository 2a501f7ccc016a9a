"""Greedy composition: a displacement that grows by small smooth steps until the images match.

Owns one level of instance optimisation. Each step warps, asks the criterion which intensities would match better,
follows the slopes of the warped image there, smooths that, and composes the field with it; small smooth steps do not
fold when they are composed. In the symmetric mode both images move, to a place half-way between them. Lengths are in
voxels of the level as they would be if it were isotropic, so that smoothing and steps are even in millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from voxelsmith.models.warp import compose, pull
from voxelsmith.register.criterion import Criterion, Match, overlap_loss
from voxelsmith.register.gaussian import slopes, smooth
from voxelsmith.register.pyramid import Level

_LANDMARK_SIGMA = 2.0
_LANDMARK_SHARE = 0.1
_POINT_ITERATIONS = 20
# Forces of rounding errors are far below that, in similarity per voxel of shift, times the number of voxels.
_LEAST_FORCE = 1e-3
# Steps of an inversion; less than 1, so that it also ends where a field stretches twofold.
_DAMPING = 0.7


@dataclass(frozen=True)
class StepSettings:
    """How a displacement takes steps.

    Parameters
    ----------
    step
        The longest step, in voxels.
    ease
        How much shorter steps are where the images ask for little: a force f gives a step f / (f + ease * typical f).
    gradient_sigma, field_sigma
        Gaussian smoothing of each step, and of the whole displacement after it, in voxels.
    label_weight, landmark_weight
        How much one minus the Dice coefficient of the labels counts beside the similarity, and by which share of the
        way landmarks are drawn to their partners in each step.
    """

    step: float
    ease: float
    gradient_sigma: float
    field_sigma: float
    label_weight: float
    landmark_weight: float


class Descent:
    """The displacements of one level while they grow.

    Parameters
    ----------
    level
        The images and what else is known.
    criterion
        What is to be made better.
    settings
        How.
    moving_field
        From the grid of the level to the moving image, shape (1, 3, I, J, K).
    fixed_field
        From the same grid to the fixed image, in the symmetric mode; otherwise None, the grid is that of the fixed one.

    Attributes
    ----------
    merit
        How good everything that counts was before the last step, higher is better: the similarity, less what labels
        lack of full overlap and how many voxels landmarks lie from their partners, each by its weight.
    """

    def __init__(
        self,
        level: Level,
        criterion: Criterion,
        settings: StepSettings,
        moving_field: Tensor,
        fixed_field: Tensor | None,
    ) -> None:
        self.moving_field, self.fixed_field = moving_field, fixed_field
        self._level, self._criterion, self._settings = level, criterion, settings
        self._spacing = moving_field.new_tensor(level.spacing).reshape(1, 3, 1, 1, 1)
        self.merit = self._most = float("-inf")
        self._best = moving_field, fixed_field
        self._typical = moving_field.new_tensor(_LEAST_FORCE / moving_field[0, 0].numel())

    @torch.no_grad()
    def advance(self) -> float:
        """Take one step; returns the similarity before it, higher for better matches."""
        level, both = self._level, self.fixed_field is not None
        moving, fixed, weight = self._seen()
        match = self._criterion(moving, fixed, weight, both)
        force, loss = _force(match, moving, fixed), match.loss
        if self._settings.label_weight and level.moving_labels is not None and level.fixed_labels is not None:
            moving, fixed = pull(level.moving_labels, self.moving_field), self._to_fixed(level.fixed_labels)
            labels = overlap_loss(moving, fixed, both)
            force.add_(_force(labels, moving, fixed), alpha=self._settings.label_weight)
            loss += self._settings.label_weight * labels.loss
        landmarks = self._landmarks()
        if landmarks is not None:
            lengths = (landmarks[1] * self._spacing.reshape(1, 3) / level.shrink).norm(dim=1)
            loss += self._settings.landmark_weight * float(lengths.mean())
        self.merit = -loss
        if self.merit > self._most:
            self._most, self._best = self.merit, (self.moving_field, self.fixed_field)
        step = self._step(force)
        if landmarks is not None:
            step.add_(self._toward(*landmarks))
        sigma = self._sigma(self._settings.field_sigma)
        if self.fixed_field is not None:
            # Each goes half the way, in opposite directions: the place they meet at does not drift.
            step.mul_(0.5)
            self.fixed_field = smooth(compose(self.fixed_field, -step), sigma)
        self.moving_field = smooth(compose(self.moving_field, step), sigma)
        return -match.loss

    def keep_best(self) -> None:
        """Go back to the displacements that matched best, if steps have made things worse since."""
        if self.merit < self._most:
            self.moving_field, self.fixed_field = self._best

    def _to_fixed(self, volume: Tensor) -> Tensor:
        return volume if self.fixed_field is None else pull(volume, self.fixed_field)

    def _seen(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Both images as they lie on each other now, and how much each place counts."""
        level = self._level
        moving, weight = level.moving, None
        if level.moving_weight is not None:
            pulled = pull(torch.cat([moving, level.moving_weight], dim=1), self.moving_field)
            moving, weight = pulled[:, :-1], pulled[:, -1:]
        else:
            moving = pull(moving, self.moving_field)
        if level.fixed_weight is not None:
            at_home = self._to_fixed(level.fixed_weight)
            weight = at_home if weight is None else weight * at_home
        return moving, self._to_fixed(level.fixed), weight

    def _step(self, force: Tensor) -> Tensor:
        """The step down a force, which it uses up; both in voxels of each axis."""
        s = self._settings
        # From slopes along voxels to slopes along lengths, and at the end from lengths to voxels.
        force = smooth(force.div_(self._spacing), self._sigma(s.gradient_sigma))
        length = force.square().sum(1, keepdim=True).sqrt_()
        # The mean, each weighted by itself: it does not see how much empty space there is.
        tiny = torch.finfo(length.dtype).tiny
        typical = length.square().sum() / length.sum().clamp(min=tiny)
        # Never less than before: once the images match, steps end.
        self._typical = self._typical.maximum(typical)
        length.add_(self._typical * s.ease)
        return force.div_(length).mul_(-s.step * self._level.shrink).div_(self._spacing)

    def _sigma(self, width: float) -> list[float]:
        return [width * self._level.shrink / size for size in self._level.spacing]

    def _landmarks(self) -> tuple[Tensor, Tensor] | None:
        """Where landmarks lie on the grid now, and the ways to their partners, both (N, 3) in voxels of each axis."""
        level = self._level
        if not self._settings.landmark_weight or level.fixed_points is None or level.moving_points is None:
            return None
        if not len(level.fixed_points):
            return None
        here = level.fixed_points
        if self.fixed_field is not None:
            for _ in range(_POINT_ITERATIONS):
                here = level.fixed_points - sampled(self.fixed_field, here)
        return here, level.moving_points - here - sampled(self.moving_field, here)

    def _toward(self, here: Tensor, rest: Tensor) -> Tensor:
        """A smooth step that brings landmarks nearer to their partners, in voxels of each axis."""
        level = self._level
        grid = torch.tensor(level.grid, device=here.device)
        index = here.round().long().clamp(min=0).minimum(grid - 1)
        spread = here.new_zeros(1, 4, *level.grid)
        values = torch.cat([rest, torch.ones_like(rest[:, :1])], dim=1)
        for channel in range(4):
            spread[0, channel].index_put_(tuple(index.T), values[:, channel], accumulate=True)
        sigma = self._sigma(_LANDMARK_SIGMA)
        spread = smooth(spread, sigma)
        alone = smooth(_impulse(level.grid, here), sigma).max()
        step = self._settings.landmark_weight * spread[:, :3] / (spread[:, 3:] + _LANDMARK_SHARE * alone)
        longest = self._settings.step * level.shrink / self._spacing
        return step.clamp(-longest, longest)


def sampled(field: Tensor, points: Tensor) -> Tensor:
    """A displacement (1, 3, I, J, K) at points (N, 3) in voxels, shape (N, 3)."""
    places = points.T.reshape(1, 3, -1, 1, 1).clone()
    places[:, 0] -= torch.arange(len(points), device=points.device, dtype=points.dtype).reshape(1, -1, 1, 1)
    return pull(field, places)[0, :, :, 0, 0].T


def invert(field: Tensor, tolerance: float = 0.005, iterations: int = 40) -> Tensor:
    """The displacement back, on the same grid, by fixed-point iteration.

    Parameters
    ----------
    field
        Shape (1, 3, I, J, K), in voxels.
    tolerance
        Voxels (root mean square) that an iteration still changes when it is the last.
    iterations
        At most so many.
    """
    inverse = -field
    for _ in range(iterations):
        change = pull(field, inverse).add_(inverse).mul_(-_DAMPING)
        inverse = inverse + change
        if float(change.square().mean()) < tolerance**2:
            break
    return inverse


def _force(match: Match, moving: Tensor, fixed: Tensor) -> Tensor:
    """From derivatives in intensities to those in displacements, in voxels; the sum over channels."""
    force = torch.zeros_like(moving[:, :1]).expand(-1, 3, -1, -1, -1).contiguous()
    for channel in range(moving.shape[1]):
        one = slice(channel, channel + 1)
        force.addcmul_(slopes(moving[:, one]), match.by_moving[:, one])
        if match.by_fixed is not None:
            force.addcmul_(slopes(fixed[:, one]), match.by_fixed[:, one], value=-1)
    return force


def _impulse(grid: tuple[int, ...], like: Tensor) -> Tensor:
    """One in the middle of nothing."""
    out = like.new_zeros(1, 1, *grid)
    i, j, k = (count // 2 for count in grid)
    out[0, 0, i, j, k] = 1
    return out
