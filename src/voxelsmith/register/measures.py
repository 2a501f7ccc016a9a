"""Measures: how good a registration is.

Owns how the numbers of :class:`~voxelsmith.register.result.Measures` are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from voxelsmith.core import jacobian, metrics, sampling
from voxelsmith.core.affine import FloatArray
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import LabelVolume
from voxelsmith.register.affine_level import correlation, sample_points
from voxelsmith.register.mutual_information import mutual_information
from voxelsmith.register.preparation import Prepared
from voxelsmith.register.result import Change, Compared

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


def overlaps(
    fixed: LabelVolume, moving: LabelVolume, transform: Transform
) -> Job[tuple[dict[int, Change], dict[int, Change]]]:
    """Job that compares every label that both volumes have, by where their headers put them and under a transform.

    Yields
    ------
    Progress
        Of the labels, twice.

    Returns
    -------
    dice : dict
        By label, 0 to 1.
    hd95_mm : dict
        By label, as :func:`voxelsmith.core.metrics.hd95` defines it, on the grid of the fixed volume.
    """
    common = sorted(set(fixed.values()) & set(moving.values()))
    reference = np.asarray(fixed.array)
    dice, far = [], []
    for n, stage in enumerate((Transform(), transform)):
        yield Progress(n * len(common), 2 * len(common), "Measuring overlap")
        prediction = np.asarray(stage.pull_image(moving, fixed.affine, fixed.grid).array)
        dice.append(_dice(reference, prediction, common))
        distances: dict[int, float] = {}
        for label, distance in _hd95(reference, prediction, common, fixed.spacing):
            distances[label] = distance
            yield Progress(n * len(common) + len(distances), 2 * len(common), "Measuring surfaces")
        far.append(distances)
    return _changes(dice, common), _changes(far, common)


def _changes(stages: list[dict[int, float]], labels: list[int]) -> dict[int, Change]:
    before, after = stages
    return {label: Change(before[label], after[label]) for label in labels}


def _dice(reference: npt.NDArray[Any], prediction: npt.NDArray[Any], labels: list[int]) -> dict[int, float]:
    """Dice by label, counted in one pass each over both volumes and where they agree."""
    counts = []
    for values in (reference, prediction, reference[reference == prediction]):
        found, number = np.unique(values, return_counts=True)
        counts.append(dict(zip(found.tolist(), number.tolist(), strict=True)))
    a, b, both = counts
    return {v: 2 * both.get(v, 0) / max(1, a.get(v, 0) + b.get(v, 0)) for v in labels}


def _hd95(
    reference: npt.NDArray[Any], prediction: npt.NDArray[Any], labels: list[int], spacing: FloatArray
) -> Iterator[tuple[int, float]]:
    """Labels and their distances, each looked for only where it lies in either volume."""
    places = (_places(values, labels) for values in (reference, prediction))
    for label, here, there in zip(labels, *places, strict=True):
        if here is None or there is None:
            yield label, float("inf")
            continue
        box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(here, there, strict=True))
        yield label, metrics.hd95(reference[box] == label, prediction[box] == label, spacing)


def _places(values: npt.NDArray[Any], labels: list[int]) -> list[tuple[slice, ...] | None]:
    """Where each of the sorted labels lies; None if it is not there."""
    order = np.where(np.isin(values, labels), np.searchsorted(labels, values) + 1, 0)
    found: list[tuple[slice, ...] | None] = ndimage.find_objects(order, max_label=len(labels))
    return found


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
