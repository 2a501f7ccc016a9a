"""Measures: how good a registration is.

Owns how the numbers of :class:`~voxelsmith.register.result.Measures` are taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from voxelsmith.core import jacobian, sampling
from voxelsmith.core.affine import FloatArray
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import LabelVolume
from voxelsmith.register.affine_level import correlation, sample_points
from voxelsmith.register.mutual_information import mutual_information
from voxelsmith.register.preparation import Prepared
from voxelsmith.register.result import Compared, Overlap

_POINTS = 100_000
_INVERSE_POINTS = 20_000


def likeness(fixed: Prepared, moving: Prepared, transform: Transform, compared: Compared) -> float:
    """How alike two images are under a transform, at evenly spread places of the fixed one; NaN without overlap."""
    index = sample_points(fixed, _POINTS)
    seen = moving.affine.inverse().apply(transform.push_points(fixed.affine.apply(index)))
    inside = ~sampling.outside(moving.grid, seen)
    weight = np.where(inside, _weight(fixed, index) * _weight(moving, seen), 0).astype(np.float32)
    if weight.sum() <= 0:
        return float("nan")
    a, b = (torch.from_numpy(sampling.linear(i.values, at)) for i, at in ((moving, seen), (fixed, index)))
    weights = torch.from_numpy(weight)
    if compared == "mutual information":
        return float(mutual_information(a, b, weights))
    return float(correlation(a, b, weights))


def _weight(image: Prepared, index: FloatArray) -> npt.NDArray[Any]:
    return np.ones(len(index), np.float32) if image.weight is None else sampling.linear(image.weight, index)


def overlaps(fixed: LabelVolume, moving: LabelVolume, transform: Transform) -> dict[int, Overlap]:
    """Dice of every label that both volumes have, by where their headers put them and under a transform."""
    common = sorted(set(fixed.values()) & set(moving.values()))
    stages = [t.pull_image(moving, fixed.affine, fixed.grid).array for t in (Transform(), transform)]
    reference = np.asarray(fixed.array)
    before, after = (_dice(reference, np.asarray(stage), common) for stage in stages)
    return {label: Overlap(before[label], after[label]) for label in common}


def _dice(reference: npt.NDArray[Any], prediction: npt.NDArray[Any], labels: list[int]) -> dict[int, float]:
    """Dice by label, counted in one pass each over both volumes and where they agree."""
    counts = []
    for values in (reference, prediction, reference[reference == prediction]):
        found, number = np.unique(values, return_counts=True)
        counts.append(dict(zip(found.tolist(), number.tolist(), strict=True)))
    a, b, both = counts
    return {v: 2 * both.get(v, 0) / max(1, a.get(v, 0) + b.get(v, 0)) for v in labels}


def distances(fixed: FloatArray, moving: FloatArray, transform: Transform) -> tuple[float, ...]:
    """How far pushed landmarks are from their partners, millimetres of the moving world."""
    return tuple(np.linalg.norm(transform.push_points(fixed) - moving, axis=1).tolist())


def evenness(field: DisplacementField, weight: npt.NDArray[Any] | None) -> tuple[float, float, float]:
    """Folding share and both SDlogJ, where voxels count, else without the two outermost voxels."""
    determinant = field.jacobian_determinant()
    part = determinant[weight > 0] if weight is not None else jacobian.inside(determinant)
    part = part if part.size else determinant
    return jacobian.folding_share(part), jacobian.sdlogj(part), jacobian.sdlogj_learn2reg(part)


def inverse_consistency(fixed: Prepared, forth: DisplacementField, back: DisplacementField) -> float:
    """Mean distance in millimetres by which evenly spread places fail to return."""
    places = fixed.affine.apply(sample_points(fixed, _INVERSE_POINTS))
    pushed = forth.push_points(places)
    inside = ~sampling.outside(fixed.grid, fixed.affine.inverse().apply(pushed))
    if not inside.any():
        return float("nan")
    return float(np.linalg.norm(back.push_points(pushed[inside]) - places[inside], axis=1).mean())
