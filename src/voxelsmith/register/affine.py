"""The affine part of a registration: which linear map brings two images onto each other.

Owns the search. Many starts are looked at on very coarse images, the best of them are improved as rigid maps, and the
winner is refined level by level, rigidly first, then with scales and shears. Nothing is random, so two runs give the
same map bit for bit. At last it is looked whether a mirror image would fit better.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.errors import GeometryError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.register.affine_level import LEAST_OVERLAP, Level
from voxelsmith.register.preparation import Prepared
from voxelsmith.register.refine import Model, refine
from voxelsmith.register.request import AffineSettings, AffineSimilarity
from voxelsmith.register.starts import Start, starts


class _Scale(NamedTuple):
    """How closely one level looks."""

    voxels: int
    points: int
    steps: int


# Voxels along the mean side of the fixed image, places compared, and most steps, level by level.
_LEVELS = (_Scale(24, 8_000, 30), _Scale(48, 20_000, 20), _Scale(96, 60_000, 20))
_TRIED = 8
_TRIAL_POINTS = 4_000


class _Round(NamedTuple):
    """How far starts are followed before some of them are given up."""

    steps: int
    kept: int
    rigid: bool


_ROUNDS = (_Round(4, 4, True), _Round(8, 2, True), _Round(12, 1, False))
# Maps that put places less than this many voxels apart count as one.
_SAME_PLACE = 2.0
# In voxels: steps this short end the search where a finer level follows, and where none does.
_NEAR, _THERE = 0.05, 0.005
_TINY = 1e-6
_MIRROR_LEVEL, _MIRROR_POINTS, _MIRROR_STEPS = 1, 8_000, 12
# By how much a mirror image must fit better: in the logarithm of what correlation leaves unexplained, and in nats.
_MIRROR_GAIN = {"ncc": 0.05, "mi": 0.015}


@dataclass(frozen=True)
class AffineStep:
    """One entry of the history: the level, 0 for the coarsest, the step, and the similarity, higher being better."""

    level: int
    number: int
    similarity: float


@dataclass(frozen=True, eq=False)
class AffineResult:
    """The map that was found.

    Parameters
    ----------
    matrix : ndarray, shape (4, 4)
        From the fixed world to the moving world, RAS millimetres.
    start
        What the search that won began with: "header", "moments", "centres", "landmarks" or "initial".
    mirrored
        Whether the moving image would fit clearly better if left and right were exchanged.
    history
        How the similarity grew.
    """

    matrix: FloatArray
    start: str
    mirrored: bool = False
    history: tuple[AffineStep, ...] = ()


def align(
    fixed: Prepared,
    moving: Prepared,
    settings: AffineSettings,
    landmarks: tuple[FloatArray, FloatArray] | None = None,
    initial: FloatArray | None = None,
) -> Job[AffineResult]:
    """Find the map.

    Parameters
    ----------
    fixed, moving
        The images.
    settings
        How.
    landmarks : two ndarrays of shape (N, 3)
        Corresponding places in RAS millimetres, at least three that lie on no line.
    initial : ndarray, shape (4, 4)
        Where to start, whatever the settings say.

    Returns
    -------
    AffineResult

    Raises
    ------
    GeometryError
        If the images hardly overlap wherever the search starts.
    """
    begin = starts(fixed, moving, settings.start, landmarks, initial)
    if settings.model == "none":
        return AffineResult(begin[0].matrix, begin[0].name)
    yield Progress(0, len(_LEVELS), "Looking for a start")
    at_first = Level(*_coarse(fixed, moving, 0), _without_mind(settings.similarity), _TRIAL_POINTS)
    start = yield from _best_start(at_first, begin, settings.model)
    matrix = start.matrix
    history: list[AffineStep] = []
    for number, (_, points, steps) in enumerate(_LEVELS):
        small, other = _coarse(fixed, moving, number)
        if settings.similarity == "mind":
            # Descriptors have directions, so the moving image is laid along the fixed one first.
            other = other.onto(Affine(matrix) @ small.affine, small.grid)
        level = Level(small, other, settings.similarity, points)
        progress = Progress(number, len(_LEVELS), f"Affine, level {number + 1} of {len(_LEVELS)}")
        yield progress
        short = _NEAR if number + 1 < len(_LEVELS) else _THERE
        matrix, track = yield from refine(level, matrix, settings.model, steps, short, progress)
        history += [AffineStep(number, n, similarity) for n, similarity in enumerate(track)]
    yield Progress(len(_LEVELS), len(_LEVELS), "Comparing left and right")
    mirrored = yield from _is_mirrored(fixed, moving, matrix, _without_mind(settings.similarity))
    return AffineResult(matrix, start.name, mirrored, tuple(history))


def _coarse(fixed: Prepared, moving: Prepared, number: int) -> tuple[Prepared, Prepared]:
    """Both images at the resolution of a level."""
    low, high = fixed.counted_box()
    side = float(np.prod(fixed.affine.spacing * (high - low))) ** (1 / 3)
    spacing = side / _LEVELS[number].voxels
    return fixed.coarser(spacing), moving.coarser(spacing)


def _without_mind(similarity: AffineSimilarity) -> AffineSimilarity:
    """What to compare with where the images may be turned against each other."""
    return "mi" if similarity == "mind" else similarity


def _best_start(level: Level, begin: list[Start], model: Model) -> Generator[Progress, None, Start]:
    """The start that leads farthest: many are followed a little as rigid maps, the best of them further."""
    progress = Progress(0, len(_LEVELS), "Looking for a start")
    unlike = [-level.similarity(start.matrix) for start in begin]
    tried = set(np.argsort(unlike, kind="stable")[:_TRIED].tolist()) | {n for n, s in enumerate(begin) if s.plain}
    candidates = [begin[n] for n in sorted(tried)]
    for steps, kept, rigid in _ROUNDS:
        found = []
        for start in candidates:
            kind: Model = "rigid" if rigid else model
            matrix, track = yield from refine(level, start.matrix, kind, steps, _NEAR, progress)
            if level.overlap(matrix) >= LEAST_OVERLAP:
                found.append((track[-1], replace(start, matrix=matrix)))
        found.sort(key=lambda pair: -pair[0])
        candidates = _different([start for _, start in found], level)[:kept]
    if not candidates:
        raise GeometryError(
            "The images do not overlap where the search for an affine map starts; start with their centres on each "
            "other, or give landmarks or an initial map."
        )
    return candidates[0]


def _different(sorted_starts: list[Start], level: Level) -> list[Start]:
    """Without those that have come to the same place as one before them."""
    kept: list[Start] = []
    for start in sorted_starts:
        apart = [Affine(start.matrix).apply(level.positions) - Affine(k.matrix).apply(level.positions) for k in kept]
        if all(np.sqrt((a**2).sum(axis=1).mean()) > _SAME_PLACE * level.spacing for a in apart):
            kept.append(start)
    return kept


def _is_mirrored(
    fixed: Prepared, moving: Prepared, matrix: FloatArray, similarity: AffineSimilarity
) -> Generator[Progress, None, bool]:
    """Whether the moving image fits clearly better with left and right exchanged."""
    level = Level(*_coarse(fixed, moving, _MIRROR_LEVEL), similarity, _MIRROR_POINTS)
    progress = Progress(len(_LEVELS), len(_LEVELS), "Comparing left and right")
    mirror = np.diag([-1.0, 1, 1, 1])
    mirror[0, 3] = 2 * fixed.mass()[0][0]
    found = []
    for start in (matrix, matrix @ mirror):
        _, track = yield from refine(level, start, "affine", _MIRROR_STEPS, _NEAR, progress)
        found.append(track[-1])
    plain, mirrored = found
    if similarity == "ncc":
        return bool(np.log((1 - plain + _TINY) / (1 - mirrored + _TINY)) > _MIRROR_GAIN["ncc"])
    return bool(mirrored - plain > _MIRROR_GAIN["mi"])
