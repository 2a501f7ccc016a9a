"""Checks before a registration runs: what cannot work, and what the user should know.

Owns the sentences. What cannot work is an error; the rest are notes that come with the result.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from voxelsmith.core.affine import FloatArray
from voxelsmith.core.errors import GeometryError, InputError, ResourceError
from voxelsmith.core.volume import Volume
from voxelsmith.register.request import RegistrationRequest

_FEWEST_VOXELS = 4
_UNLIKE = 10
_FEWEST_LANDMARKS = 3
# Second-widest spread of the landmarks over the widest, below which they lie on a line.
_LINE = 0.02
_FULL_BYTES = 90
_MOVING_BYTES = 30
_LEVEL_BYTES = {"lncc": 272, "remapped": 312, "mse": 172, "mi": 212, "mind": 912}


def check(request: RegistrationRequest) -> tuple[str, ...]:
    """Look at a request.

    Returns
    -------
    tuple of str
        Notes for the user, a sentence each.

    Raises
    ------
    GeometryError
        If the volumes do not overlap and nothing is to bring them together.
    InputError
        If a volume is not three-dimensional, has too few slices, or landmarks cannot be a start.
    ResourceError
        If memory will not do.
    """
    for volume in (request.fixed, request.moving):
        _require_three_dimensions(volume)
    for mask, image, role in (
        (request.fixed_mask, request.fixed, "fixed"),
        (request.moving_mask, request.moving, "moving"),
    ):
        if mask is not None and not mask.mask().any():
            raise InputError(f"The {role} mask is empty; mark where voxels of {image.name!r} count, or leave it out.")
    notes = [*_overlap(request), *_size(request), *_other_grids(request), *_labels(request), *_landmarks(request)]
    _require_memory(request)
    return tuple(notes)


def usable_as_start(points: FloatArray | None) -> bool:
    """Whether landmarks (N, 3) fix a rigid map: three or more that lie on no line."""
    if points is None or len(points) < _FEWEST_LANDMARKS:
        return False
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(spread[1] > _LINE * spread[0])


def memory_needed(request: RegistrationRequest) -> int:
    """About how many bytes a registration takes at its most, beside the volumes themselves."""
    voxels, moving = (int(np.prod(v.grid)) for v in (request.fixed, request.moving))
    needed = _FULL_BYTES * voxels + _MOVING_BYTES * moving
    deformable = request.settings.deformable
    if deformable is not None:
        from voxelsmith.register.presets import levels

        finest = (deformable.shrinks or levels(request.fixed, deformable.similarity))[-1]
        twice = 2 if deformable.symmetric else 1
        needed += twice * _LEVEL_BYTES[deformable.similarity] * voxels // finest**3
    return needed


def memory_at_hand() -> int | None:
    """How many bytes are free, or None where the system does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _require_three_dimensions(volume: Volume) -> None:
    if volume.array.ndim != 3:
        kind = "time points" if volume.extra_axis == "time" else "channels"
        raise InputError(
            f"A registration takes 3-D images, but {volume.name!r} has {volume.array.shape[3]} {kind}; choose one of "
            "them."
        )
    if min(volume.grid) < _FEWEST_VOXELS:
        raise InputError(
            f"A registration takes at least {_FEWEST_VOXELS} voxels along each axis, but {volume.name!r} has "
            f"{' x '.join(map(str, volume.grid))}; choose a volume with more slices."
        )
    if volume.array.dtype.kind not in "fiub":
        raise InputError(f"A registration takes real numbers, but {volume.name!r} holds {volume.array.dtype}.")


def _overlap(request: RegistrationRequest) -> Iterator[str]:
    gap = _gap(request.fixed, request.moving)
    if gap.max() <= 0 or request.initial is not None:
        return
    affine = request.settings.affine
    apart = float(np.linalg.norm(np.maximum(gap, 0)))
    if affine.model == "none" or affine.start == "header":
        raise GeometryError(
            f"{request.moving.name!r} does not overlap {request.fixed.name!r} in space, they are {apart:.4g} mm apart; "
            "start with their centres on each other, or give landmarks."
        )
    yield (
        f"{request.moving.name!r} does not overlap {request.fixed.name!r} in space, they are {apart:.4g} mm apart; the "
        "headers were not relied on."
    )


def _size(request: RegistrationRequest) -> Iterator[str]:
    fixed, moving = (float(np.linalg.norm(v.spacing * v.grid)) for v in (request.fixed, request.moving))
    if max(fixed, moving) > _UNLIKE * min(fixed, moving):
        yield (
            f"{request.fixed.name!r} is {fixed:.3g} mm across and {request.moving.name!r} {moving:.3g} mm; if that "
            "cannot be, correct the voxel size of one of them."
        )


def _other_grids(request: RegistrationRequest) -> Iterator[str]:
    for image, other in (
        (request.fixed, request.fixed_mask),
        (request.fixed, request.fixed_labels),
        (request.moving, request.moving_mask),
        (request.moving, request.moving_labels),
    ):
        if other is None or image.same_grid(other):
            continue
        if (_gap(image, other) > 0).any():
            raise GeometryError(
                f"{other.name!r} does not overlap {image.name!r} in space; choose one that belongs to that image."
            )
        yield f"{other.name!r} lies on another grid than {image.name!r} and was resampled."


def _labels(request: RegistrationRequest) -> Iterator[str]:
    if request.fixed_labels is None or request.moving_labels is None:
        return
    if not set(request.fixed_labels.values()) & set(request.moving_labels.values()):
        yield "The fixed and the moving labels have no value in common, so they cannot be compared."


def _landmarks(request: RegistrationRequest) -> Iterator[str]:
    fixed, moving = request.fixed_points, request.moving_points
    start = request.settings.affine.start
    if start == "landmarks" and (fixed is None or moving is None):
        raise InputError("A start from landmarks needs some in both volumes; give them, or choose another start.")
    if fixed is None or moving is None:
        return
    if not (usable_as_start(fixed) and usable_as_start(moving)):
        wrong = (
            f"at least {_FEWEST_LANDMARKS} landmarks, got {len(fixed)}"
            if len(fixed) < _FEWEST_LANDMARKS
            else "landmarks that do not lie on a line, but these do"
        )
        if start == "landmarks":
            raise InputError(f"A start from landmarks takes {wrong}; set more of them, spread out in all directions.")
        yield f"A start from landmarks takes {wrong}; so the start was found from the images."
    for volume, points in ((request.fixed, fixed), (request.moving, moving)):
        index = volume.affine.inverse().apply(points)
        beyond = int(((index < -0.5) | (index > np.array(volume.grid) - 0.5)).any(axis=1).sum())
        if beyond:
            yield (
                f"{beyond} of {len(points)} landmarks lie outside {volume.name!r}; check that they are RAS millimetres."
            )


def level_that_fits(request: RegistrationRequest) -> int | None:
    """By how much the finest level has to shrink the volumes so that memory is enough; None if no level of it helps."""
    from voxelsmith.register.presets import levels

    free, deformable = memory_at_hand(), request.settings.deformable
    if free is None or deformable is None:
        return None
    shrinks = deformable.shrinks or levels(request.fixed, deformable.similarity)
    for shrink in reversed(shrinks[:-1]):
        if memory_needed(_stopped(request, shrink)) <= free:
            return shrink
    return None


def _stopped(request: RegistrationRequest, shrink: int) -> RegistrationRequest:
    from voxelsmith.register.presets import stopped_at

    return replace(request, settings=stopped_at(request.settings, request.fixed, shrink))


def _require_memory(request: RegistrationRequest) -> None:
    needed, free = memory_needed(request), memory_at_hand()
    if free is None or needed <= free:
        return
    sentence = f"This registration needs about {_gib(needed)} of memory, but {_gib(free)} are free"
    shrink = level_that_fits(request)
    if shrink is not None:
        less = _gib(memory_needed(_stopped(request, shrink)))
        raise ResourceError(f"{sentence}; stop at 1/{shrink} resolution, which needs about {less}.")
    raise ResourceError(f"{sentence}; crop the volumes, or resample them to larger voxels.")


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def _corners(volume: Volume) -> FloatArray:
    """RAS positions of the eight outermost corners."""
    ends = [(-0.5, count - 0.5) for count in volume.grid]
    return volume.affine.apply(np.array(list(itertools.product(*ends))))


def _gap(image: Volume, other: Volume) -> FloatArray:
    """By how much two boxes miss each other along R, A and S; 0 and below where they meet."""
    a, b = _corners(image), _corners(other)
    gap: FloatArray = np.maximum(a.min(axis=0) - b.max(axis=0), b.min(axis=0) - a.max(axis=0))
    return gap
