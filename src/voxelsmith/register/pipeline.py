"""The whole registration: checks, preparation, affine part, deformation, measures.

Owns the order of the stages and how one hands over to the next. The working grid is that of the fixed image: the moving
image is carried onto it by the affine map, the deformation is found there, and the transform has both.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TypeVar

import numpy as np

from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.resample import resample_to
from voxelsmith.core.transform import Transform
from voxelsmith.models.device import pick_device
from voxelsmith.models.hvit import HViT
from voxelsmith.register import measures
from voxelsmith.register.affine import align
from voxelsmith.register.checks import check, usable_as_start
from voxelsmith.register.deformable import deform
from voxelsmith.register.learned import begun, load_network
from voxelsmith.register.preparation import Prepared, prepare
from voxelsmith.register.problem import Deformation, Float, Problem
from voxelsmith.register.request import RegistrationRequest
from voxelsmith.register.result import Compared, Measures, Preview, RegistrationResult, Step

T = TypeVar("T")

_TOTAL = 100
_PREPARED, _ALIGNED, _DEFORMED, _WARPED = 3, 20, 92, 96
_MIRRORED = (
    "The moving image fits better when left and right are exchanged; check the orientation of both files. Nothing was "
    "flipped."
)
# Share of voxels on the faces of an image that may be bright while what lies beyond still counts as empty.
_BRIGHT = 0.01


def register(request: RegistrationRequest) -> Job[RegistrationResult]:
    """Register two volumes.

    Parameters
    ----------
    request
        The volumes and how.

    Yields
    ------
    Progress
        Of 100; ``partial`` is now and then a :class:`~voxelsmith.register.result.Preview`.

    Returns
    -------
    RegistrationResult

    Raises
    ------
    GeometryError, InputError, ResourceError
        If the request cannot work; see :mod:`voxelsmith.register.checks`.
    FormatError, ModelUnavailableError
        If the weights that it names cannot be used.
    """
    notes = list(check(request))
    weights = request.settings.weights
    network = None if weights is None else load_network(weights)
    yield Progress(0, _TOTAL, "Preparing")
    fixed = prepare(request.fixed, request.fixed_mask)
    moving = prepare(request.moving, request.moving_mask)
    yield Progress(_PREPARED, _TOTAL, "Looking for a start")
    affine = yield from _part(
        align(fixed, moving, request.settings.affine, _start_points(request), request.initial), _PREPARED, _ALIGNED
    )
    if affine.mirrored:
        notes.append(_MIRRORED)
    history = [Step("affine", s.level, s.number, s.similarity) for s in affine.history]
    preview = Preview(request, Transform(affine.matrix), tuple(history), affine.start, tuple(notes))
    yield Progress(_ALIGNED, _TOTAL, "Affine map found", preview)
    inverse = None
    if request.settings.deformable is not None:
        deformation = yield from _deformation(fixed, moving, preview, network)
        transform = Transform(affine.matrix, _field(deformation.displacement, fixed.affine))
        preview = replace(preview, transform=transform, history=(*history, *_steps(deformation)))
        if deformation.inverse is not None:
            inverse = _field(deformation.inverse, fixed.affine)
    return (yield from _concluded(preview, fixed, moving, inverse))


def conclude(preview: Preview) -> Job[RegistrationResult]:
    """Make a result of how far a registration had come when it was stopped.

    Parameters
    ----------
    preview
        The last one that it gave.

    Yields
    ------
    Progress
        Of 100.

    Returns
    -------
    RegistrationResult
    """
    yield Progress(_DEFORMED, _TOTAL, "Preparing")
    request = preview.request
    fixed, moving = prepare(request.fixed, request.fixed_mask), prepare(request.moving, request.moving_mask)
    return (yield from _concluded(preview, fixed, moving, None))


def _concluded(
    preview: Preview, fixed: Prepared, moving: Prepared, inverse: DisplacementField | None
) -> Generator[Progress, None, RegistrationResult]:
    """Warp and measure."""
    request = preview.request
    yield Progress(_DEFORMED, _TOTAL, "Warping")
    warped = preview.warped()
    yield Progress(_WARPED, _TOTAL, "Measuring")
    measured = yield from _measured(request, fixed, moving, preview.transform, inverse)
    return RegistrationResult(
        request,
        (request.fixed.fingerprint(), request.moving.fingerprint()),
        preview.transform,
        inverse,
        warped,
        measured,
        preview.start,
        preview.notes,
        preview.history,
    )


def _part(job: Job[T], begin: int, end: int) -> Job[T]:
    """Run a part of the whole between two counts; its partial results are its own business."""
    try:
        while True:
            progress = next(job)
            share = progress.fraction or 0.0
            yield Progress(begin + int(share * (end - begin)), _TOTAL, progress.message)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        job.close()


def _deformation(
    fixed: Prepared, moving: Prepared, aligned: Preview, network: HViT | None
) -> Generator[Progress, None, Deformation]:
    """Run the deformation; at the end of each level its partial result becomes a preview."""
    request, matrix = aligned.request, aligned.transform.matrix
    problem, settings = _problem(request, fixed, moving, matrix), request.settings.deformable
    if network is not None and settings is not None:
        yield Progress(_ALIGNED, _TOTAL, "Asking the network")
        problem, settings = begun(problem, fixed.affine, settings, network, _device(request))
    job = deform(problem, settings, _device(request))
    try:
        while True:
            progress = next(job)
            done = _ALIGNED + int((progress.fraction or 0.0) * (_DEFORMED - _ALIGNED))
            partial = None
            if isinstance(progress.partial, Deformation):
                transform = Transform(matrix, _field(progress.partial.displacement, fixed.affine))
                partial = replace(aligned, transform=transform, history=(*aligned.history, *_steps(progress.partial)))
            yield Progress(done, _TOTAL, progress.message, partial)
    except StopIteration as stop:
        result: Deformation = stop.value
        return result
    finally:
        job.close()


def _device(request: RegistrationRequest) -> str:
    return pick_device(request.settings.device).type


def _start_points(request: RegistrationRequest) -> tuple[FloatArray, FloatArray] | None:
    """The landmarks, if they can be a start."""
    fixed, moving = request.fixed_points, request.moving_points
    if fixed is None or moving is None or not (usable_as_start(fixed) and usable_as_start(moving)):
        return None
    return fixed, moving


def _problem(request: RegistrationRequest, fixed: Prepared, moving: Prepared, matrix: FloatArray) -> Problem:
    """Everything on the fixed grid, the moving side carried there by the affine map."""
    target = Affine(matrix) @ fixed.affine
    here = moving.onto(target, fixed.grid, beyond_counts=_is_empty_outside(moving))
    inside = None if here.weight is None else here.weight > 0.5
    i, j, k = fixed.affine.spacing.tolist()
    problem = Problem(
        fixed.values,
        here.values,
        (i, j, k),
        fixed_mask=None if fixed.weight is None else fixed.weight > 0,
        moving_mask=inside,
    )
    if request.fixed_labels is not None and request.moving_labels is not None:
        problem = replace(
            problem,
            fixed_labels=resample_to(request.fixed_labels, fixed.affine, fixed.grid).array,
            moving_labels=resample_to(request.moving_labels, target, fixed.grid).array,
        )
    if request.fixed_points is not None and request.moving_points is not None:
        problem = replace(
            problem,
            fixed_points=fixed.affine.inverse().apply(request.fixed_points),
            moving_points=target.inverse().apply(request.moving_points),
        )
    return problem


def _is_empty_outside(image: Prepared) -> bool:
    """Whether an image ends in background on all sides, so that more of it lies beyond."""
    faces = [np.take(image.values, end, axis) for axis in range(3) for end in (0, -1)]
    bright = sum(int((face > 0).sum()) for face in faces)
    return bool(bright <= _BRIGHT * sum(face.size for face in faces))


def _field(displacement: Float, affine: Affine) -> DisplacementField:
    return DisplacementField.from_voxels(np.moveaxis(displacement, 0, -1), affine)


def _steps(deformation: Deformation) -> list[Step]:
    return [Step("deformation", s.shrink, s.number, s.similarity) for s in deformation.history]


def _measured(
    request: RegistrationRequest,
    fixed: Prepared,
    moving: Prepared,
    transform: Transform,
    inverse: DisplacementField | None,
) -> Generator[Progress, None, Measures]:
    compared: Compared = "correlation" if request.settings.affine.similarity == "ncc" else "mutual information"
    stages = (Transform(), Transform(transform.matrix), transform)
    before, between, after = (measures.likeness(fixed, moving, stage, compared) for stage in stages)
    found = Measures(compared, before, between, after, {})
    if request.fixed_labels is not None and request.moving_labels is not None:
        job = measures.overlaps(request.fixed_labels, request.moving_labels, transform)
        dice, hd95_mm = yield from _part(job, _WARPED, _TOTAL)
        found = replace(found, dice=dice, hd95_mm=hd95_mm)
    if request.fixed_points is not None and request.moving_points is not None:
        points = request.fixed_points, request.moving_points
        found = replace(
            found,
            tre_before_mm=measures.distances(*points, Transform()),
            tre_after_mm=measures.distances(*points, transform),
        )
    if transform.field is not None:
        folding, sdlogj, learn2reg = measures.evenness(transform.field, fixed.weight)
        found = replace(found, folding_share=folding, sdlogj=sdlogj, sdlogj_learn2reg=learn2reg)
        if inverse is not None:
            consistency = measures.inverse_consistency(fixed, transform.field, inverse)
            found = replace(found, inverse_consistency_mm=consistency)
    return found
