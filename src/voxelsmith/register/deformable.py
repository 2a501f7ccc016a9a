"""Deformable registration by instance optimisation: no training, one pair at a time.

Owns the settings and the way through the levels, coarse to fine: an optional start for large motion, then
:mod:`voxelsmith.register.greedy` on each grid until it finds nothing more. The same on CPU and CUDA; on the CPU two
runs give the same field bit for bit.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.models.warp import compose
from voxelsmith.register.convex import convex_start
from voxelsmith.register.criterion import SimilarityName, criteria
from voxelsmith.register.greedy import Descent, StepSettings, invert
from voxelsmith.register.problem import Deformation, Float, Iteration, Problem
from voxelsmith.register.pyramid import Level, carried, default_shrinks, level_grid, pyramid

# A level ends when that many steps brought no more than the tolerance.
_PATIENCE = 5
# A level that brings less than this share of what it began with is undone.
_LEAST_GAIN = 1e-4
# Full resolution after so many levels adds detail only.
_BEFORE_DETAIL = 2
_SMOOTHING = "gradient_sigma", "field_sigma", "detail_gradient_sigma", "detail_field_sigma"
# Empty space kept around what is registered, in voxels.
_MARGIN = 8


@dataclass(frozen=True)
class DeformableSettings:
    """How a deformation is found.

    Parameters
    ----------
    similarity
        "lncc" for images of one modality, "mse" if their intensities agree too, "remapped" if those of one are a
        function of the other's, "mind" or "mi" across modalities.
    window
        Edge of the windows of "lncc" and "remapped" in voxels of each level, odd.
    shrinks
        The levels, coarse to fine: by how much each shrinks the finest axis. Empty chooses from the size, and ends at
        full resolution for up to eight million voxels ("mind" and "mi": one million), at half resolution for more.
    iterations, fine_iterations
        At most so many steps on a level; on that of full resolution, where they take long.
    tolerance
        A level ends early when five steps bring no more than this share of what the level has brought.
    step, ease
        The longest step in voxels, and how much shorter steps are where the images ask for little.
    gradient_sigma, field_sigma
        Gaussian smoothing of each step and of the whole displacement, in voxels of the level: larger is smoother.
    detail_gradient_sigma, detail_field_sigma
        The same on the level of full resolution if two levels or more came before: they have found how everything
        moves, and detail is left.
    symmetric
        Let both images move half-way, and give the inverse too; twice the time.
    label_weight, landmark_weight
        How much given labels and landmarks count; 0 leaves them out.
    convex
        Look for large motion first, by a discrete search on a coarse grid.

    Raises
    ------
    InputError
        When a number is outside its range.
    """

    similarity: SimilarityName = "lncc"
    window: int = 7
    shrinks: tuple[int, ...] = ()
    iterations: int = 60
    fine_iterations: int = 20
    tolerance: float = 0.02
    step: float = 0.6
    ease: float = 1.0
    gradient_sigma: float = 1.5
    field_sigma: float = 0.65
    detail_gradient_sigma: float = 0.7
    detail_field_sigma: float = 0.58
    symmetric: bool = False
    label_weight: float = 1.0
    landmark_weight: float = 0.5
    convex: bool = False

    def __post_init__(self) -> None:
        criteria(self.similarity, self.window)
        if any(shrink < 1 for shrink in self.shrinks) or any(a <= b for a, b in itertools.pairwise(self.shrinks)):
            raise InputError(f"Levels go from coarse to fine, down to 1 at most, such as 8, 4, 2; got {self.shrinks}.")
        if self.window < 3 or self.window % 2 == 0:
            raise InputError(f"A window has an odd number of voxels along its edge, at least 3, got {self.window}.")
        if min(self.iterations, self.fine_iterations) < 0 or not 0 < self.step <= 1:
            steps = f"{self.iterations} and {self.fine_iterations} of {self.step:g} voxel"
            raise InputError(f"A level has 0 or more steps of up to 1 voxel, got {steps}.")
        for name in ("tolerance", "ease", *_SMOOTHING, "label_weight", "landmark_weight"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InputError(f"The {name.replace('_', ' ')} is 0 or more, got {getattr(self, name)}.")


def deform(
    problem: Problem, settings: DeformableSettings | None = None, device: torch.device | str = "cpu"
) -> Job[Deformation]:
    """Find the deformation that brings the moving image onto the fixed one.

    Parameters
    ----------
    problem
        The images on one grid, and what else is known.
    settings
        How; the defaults are for images of one modality.
    device
        Where it is computed.

    Yields
    ------
    Progress
        After each step; at the end of a level ``partial`` is the :class:`Deformation` so far, without the inverse.

    Returns
    -------
    Deformation
    """
    s = settings or DeformableSettings()
    box = _occupied(problem)
    inner = _cropped(problem, box)
    shrinks = s.shrinks or default_shrinks(level_grid(inner.grid, inner.spacing, 1), s.similarity)
    levels = pyramid(inner, shrinks, s.similarity, torch.device(device), labels=s.label_weight > 0)
    history: list[Iteration] = []
    budgets = [min(s.iterations, s.fine_iterations) if level.shrink == 1 else s.iterations for level in levels]
    work = list(itertools.accumulate((n * math.prod(level.grid) for n, level in zip(budgets, levels, strict=True))))
    moving_field = _start(inner, levels[0].grid, torch.device(device))
    if s.convex:
        yield Progress(0, work[-1], "Looking for large motion")
        moving_field = convex_start(inner, levels[0].grid, torch.device(device), moving_field)
    fixed_field = torch.zeros_like(moving_field) if s.symmetric else None
    candidates = criteria(s.similarity, s.window)
    for number, (level, budget, end) in enumerate(zip(levels, budgets, work, strict=True)):
        moving_field = carried(moving_field, level.grid)
        fixed_field = None if fixed_field is None else carried(fixed_field, level.grid)
        steps = _step_settings(s, detail=level.shrink == 1 and number >= _BEFORE_DETAIL)
        begin, share = end - budget * math.prod(level.grid), budget * math.prod(level.grid) // len(candidates)
        found = []
        for trial, candidate in enumerate(candidates):
            descent = Descent(level, candidate, steps, moving_field, fixed_field)
            found.append(
                (yield from _descended(descent, level, budget, s.tolerance, begin + trial * share, share, work[-1]))
            )
        best = max(found, key=lambda one: one.merit)
        candidates = (candidates[found.index(best)],)
        moving_field, fixed_field = best.moving_field, best.fixed_field
        history += best.history
        forth = moving_field if fixed_field is None else compose(moving_field, invert(fixed_field))
        partial = Deformation(_on_grid(forth, inner, box, problem), tuple(history))
        yield Progress(end, work[-1], f"Finished 1/{level.shrink} resolution", partial)
    if fixed_field is None:
        return partial
    back = compose(fixed_field, invert(moving_field))
    return dataclasses.replace(partial, inverse=_on_grid(back, inner, box, problem))


@dataclass(frozen=True, eq=False)
class _Found:
    """What a level ended with: how good it is, its fields and its steps."""

    merit: float
    moving_field: Tensor
    fixed_field: Tensor | None
    history: list[Iteration]


def _descended(
    descent: Descent, level: Level, budget: int, tolerance: float, begin: int, share: int, total: int
) -> Generator[Progress, None, _Found]:
    """Take steps until they bring nothing more; of the work, they are a share that begins somewhere."""
    begun = descent.moving_field, descent.fixed_field
    history: list[Iteration] = []
    seen: list[float] = []
    while len(seen) < budget and not _settled(seen, tolerance):
        similarity = descent.advance()
        seen.append(descent.merit)
        history.append(Iteration(level.shrink, len(seen), similarity))
        yield Progress(begin + share * len(seen) // budget, total, f"Deforming at 1/{level.shrink} resolution")
    descent.keep_best()
    fields = descent.moving_field, descent.fixed_field
    if seen and max(seen) - seen[0] < _LEAST_GAIN * abs(seen[0]):
        # Where images match already, steps only follow noise.
        fields = begun
    return _Found(max(seen, default=-math.inf), *fields, history)


def _step_settings(settings: DeformableSettings, *, detail: bool) -> StepSettings:
    s = settings
    gradient, field = (s.detail_gradient_sigma, s.detail_field_sigma) if detail else (s.gradient_sigma, s.field_sigma)
    return StepSettings(s.step, s.ease, gradient, field, s.label_weight, s.landmark_weight)


def _settled(seen: Sequence[float], tolerance: float) -> bool:
    """Whether the last steps brought next to nothing of what the level brought."""
    if len(seen) <= _PATIENCE:
        return False
    best = max(seen)
    return best - max(seen[:-_PATIENCE]) <= tolerance * (best - seen[0])


def _start(problem: Problem, grid: Sequence[int], device: torch.device) -> Tensor:
    """The displacement to begin with, on the coarsest grid."""
    if problem.start is None:
        return torch.zeros(1, 3, *grid, device=device)
    return carried(torch.from_numpy(np.ascontiguousarray(problem.start, np.float32)).to(device)[None], grid)


def _occupied(problem: Problem) -> tuple[slice, slice, slice]:
    """The part of the grid where either image is not empty, with a margin."""
    full = np.zeros(problem.grid, bool)
    for image in (problem.fixed, problem.moving):
        full |= image != image.min()
    bounds = []
    for axis, count in enumerate(problem.grid):
        used = np.flatnonzero(full.any(axis=tuple(other for other in range(3) if other != axis)))
        bounds.append(slice(max(0, int(used[0]) - _MARGIN), min(count, int(used[-1]) + 1 + _MARGIN)))
    i, j, k = bounds
    return i, j, k


def _cropped(problem: Problem, box: tuple[slice, slice, slice]) -> Problem:
    changes = {}
    for field in dataclasses.fields(Problem):
        value = getattr(problem, field.name)
        if value is None or field.name == "spacing":
            continue
        if field.name.endswith("points"):
            changes[field.name] = value - [side.start for side in box]
        else:
            changes[field.name] = value[(..., *box)]
    return dataclasses.replace(problem, **changes)


def _on_grid(displacement: Tensor, inner: Problem, box: tuple[slice, slice, slice], problem: Problem) -> Float:
    """A displacement of a level on the whole grid; beyond the part that was registered it goes on as at its border."""
    array = carried(displacement, inner.grid)[0].cpu().numpy()
    margins = [(side.start, count - side.stop) for side, count in zip(box, problem.grid, strict=True)]
    return np.pad(array, [(0, 0), *margins], mode="edge") if any(map(any, margins)) else array.copy()
