"""Placement: where each voxel of an annotated volume lies in the query, roughly.

Owns the ways to find out: a registration, and the matching of slices with the body's outline in the plane; and whether
places say anything. They do not where query and support show different parts of the body, nor where the examples have
their objects in different places, as tumours. The position prior of prototypes is built on it, so a few millimetres of
error do not matter. Places are millimetres along the query's own array axes, from its first voxel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.progress import Job
from voxelsmith.register.pipeline import register
from voxelsmith.register.presets import preset
from voxelsmith.register.request import RegistrationRequest
from voxelsmith.segment import slice_matching
from voxelsmith.segment.common_grid import Sliced, index_mm
from voxelsmith.segment.encoders import unit_range
from voxelsmith.segment.rough_map import lay

How: TypeAlias = Literal["auto", "affine", "deformable", "slices"]

# A map of the whole image needs this many voxels along each axis to be found.
_LEAST_SIDE = 8
# Centres of the same object that lie farther from each other than this many of its radii are in different places.
_APART = 1.0


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a support volume lies in the query.

    Parameters
    ----------
    how
        How it was found: "affine", "shift", "deformable", "slices", "range" where the user gave it, or "centres" where
        nothing could be found.
    to_query
        From voxel indices of the support on the common grid, shape (..., 3), to places, of the same shape.
    alike
        Correlation of the images after a registration, -1 to 1; NaN otherwise.
    trusted
        Whether query and support show the same part of the body, as far as can be told; true if the user chose the way.
    """

    how: Literal["affine", "shift", "deformable", "slices", "range", "centres"]
    to_query: Callable[[FloatArray], FloatArray]
    alike: float = float("nan")
    trusted: bool = True


def place(
    query: Sliced, support: Sliced, how: How = "auto", known_range: tuple[int, int] | None = None
) -> Job[Placement]:
    """Find the placement.

    Parameters
    ----------
    query, support
        On the common grid.
    how
        "affine" or "deformable" registration, matched "slices", or "auto": a registration unless the images are too
        small for one, and centre on centre where they do not seem to show the same part of the body.
    known_range
        First and last slice of the query in which the classes lie, if the user says so; it wins over "auto".

    Raises
    ------
    InputError
        If the range lies outside the query.
    """
    if how == "deformable":
        return (yield from _by_deformation(query, support))
    small = min(*query.image.grid, *support.image.grid) < _LEAST_SIDE
    if how == "affine" or (how == "auto" and known_range is None and not small):
        rough = yield from lay(query.image, support.image)
        if how == "auto" and not rough.matched:
            return _by_centres(query, support)
        chain = index_mm(query.image) @ Affine(rough.matrix).inverse() @ support.image.affine
        return Placement(rough.how, chain.apply, rough.alike)
    return _by_slices(query, support, known_range)


def telling(supports: Sequence[Sliced], placements: Sequence[Placement]) -> bool:
    """Whether places can tell where things lie in the query.

    They can if at least half of the placements are trusted, and, where several examples have the same classes, their
    centres lie about a radius from each other or less, by the median over classes and pairs. Examples of one placement
    are slices of one image, and count as one.
    """
    if 2 * sum(p.trusted for p in placements) < len(placements):
        return False
    marked: dict[tuple[Placement, int], list[Sliced]] = {}
    for support, placement in zip(supports, placements, strict=True):
        for value in np.unique(support.labels[support.known & (support.labels != 0)]).tolist():
            marked.setdefault((placement, value), []).append(support)
    centres: dict[int, list[tuple[FloatArray, float]]] = {}
    for (placement, value), parts in marked.items():
        index = np.concatenate([np.argwhere(s.known & (s.labels == value)) for s in parts]).astype(np.float64)
        radius = ball_radius(np.bincount(index[:, parts[0].axis].astype(int)), parts[0].image.affine.voxel_volume)
        centres.setdefault(value, []).append((placement.to_query(index).mean(0), radius))
    apart = [
        2 * float(np.linalg.norm(a - b)) / (r + s)
        for found in centres.values()
        for (a, r), (b, s) in combinations(found, 2)
    ]
    return not apart or float(np.median(apart)) <= _APART


def ball_radius(areas: npt.NDArray[np.int_], voxel_volume: float) -> float:
    """Radius in millimetres of a ball as large as an object.

    Parameters
    ----------
    areas : integer array, shape (K,)
        Its voxels in each slice; where there are none between others, it is taken to go on unseen.
    voxel_volume
        In cubic millimetres.
    """
    found = np.flatnonzero(areas)
    volume = areas[found].mean() * (found[-1] - found[0] + 1) * voxel_volume
    return float(np.cbrt(3 * volume / (4 * np.pi)))


def _by_centres(query: Sliced, support: Sliced) -> Placement:
    """The centres of the images on each other, as images are mostly taken around what is looked for; not trusted."""
    ours, theirs = ((np.array(s.image.grid) - 1) / 2 for s in (query, support))

    def to_query(index: FloatArray) -> FloatArray:
        placed: FloatArray = ours * query.image.spacing + (index - theirs) * support.image.spacing
        return placed

    return Placement("centres", to_query, trusted=False)


def _by_deformation(query: Sliced, support: Sliced) -> Job[Placement]:
    settings = preset("same-modality", query.image)
    found = yield from register(RegistrationRequest(query.image, support.image, settings=settings))
    back, _ = found.inverse()
    to_index, from_index = index_mm(query.image), support.image.affine

    def to_query(index: FloatArray) -> FloatArray:
        return to_index.apply(back.push_points(from_index.apply(index)))

    return Placement("deformable", to_query, found.measures.similarity_after)


def _by_slices(query: Sliced, support: Sliced, known_range: tuple[int, int] | None) -> Placement:
    """Slices matched along the axis, the boxes of the bodies laid onto each other in the plane."""
    axis = query.axis
    ours, theirs = (np.moveaxis(unit_range(s.image), s.axis, 0) for s in (query, support))
    spacing = query.image.spacing
    ratio = float(spacing[axis] / support.image.spacing[axis])
    if known_range is None:
        matched = slice_matching.match(slice_matching.descriptors(ours), slice_matching.descriptors(theirs), ratio)
    else:
        matched = slice_matching.match_ranges(len(ours), known_range, _labelled_range(support))
    backward = _inverse(matched, ratio)
    (our_centre, our_size), (their_centre, their_size) = map(slice_matching.body_box, (ours, theirs))
    planes = [a for a in range(3) if a != axis]

    def to_query(index: FloatArray) -> FloatArray:
        out = np.empty(index.shape)
        out[..., axis] = backward(index[..., axis]) * spacing[axis]
        for n, plane in enumerate(planes):
            scaled = (index[..., plane] - their_centre[n]) * our_size[n] / their_size[n]
            out[..., plane] = (our_centre[n] + scaled) * spacing[plane]
        return out

    return Placement("slices" if known_range is None else "range", to_query)


def _labelled_range(support: Sliced) -> tuple[int, int]:
    others = tuple({0, 1, 2} - {support.axis})
    return slice_matching.range_of((support.labels != 0).any(axis=others))


def _inverse(matched: FloatArray, ratio: float) -> Callable[[FloatArray], FloatArray]:
    """From support slices back to query slices; beyond the ends with the ratio of the slice distances."""
    rising = matched + 1e-6 * np.arange(len(matched))
    at = np.arange(len(matched), dtype=np.float64)

    def backward(slices: FloatArray) -> FloatArray:
        inside = np.interp(slices, rising, at)
        below, above = np.minimum(slices - rising[0], 0), np.maximum(slices - rising[-1], 0)
        outside: FloatArray = (below + above) / ratio
        return inside + outside

    return backward
