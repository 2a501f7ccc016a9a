"""Propagation: labels of annotated volumes carried over by registration.

Owns multi-atlas segmentation: each example is registered to the query, its labels are warped as soft masks, and the
examples vote voxel by voxel with weights that say how alike the images are around it (locally weighted voting,
Artaechevarria et al., IEEE Transactions on Medical Imaging 28, 2009). With an affine map alone it is the baseline of
the benchmarks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Box
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import Volume, smallest_label_dtype
from voxelsmith.register.checks import check
from voxelsmith.register.pipeline import register
from voxelsmith.register.preparation import prepare
from voxelsmith.register.presets import preset
from voxelsmith.register.request import RegistrationRequest, RegistrationSettings
from voxelsmith.register.result import RegistrationResult
from voxelsmith.segment.proposal import PROPAGATION, Proposal, Provenance
from voxelsmith.segment.rough_map import lay
from voxelsmith.segment.zoom import FloatArray

_TOTAL = 100
# Standard deviation of the window in which images are compared, in voxels of the finest axis.
_WINDOW = 2.5
_POWER = 4
_TINY = 1e-6
_POOR = 0.5


@dataclass(frozen=True, eq=False)
class PropagationRequest:
    """A volume to label by registration of others to it.

    Parameters
    ----------
    query
        A 3-D image.
    support
        The examples in use are carried over; each annotated as a whole.
    preset
        Of the registration; see :data:`voxelsmith.register.presets.PRESETS`.
    deformable
        Whether a deformation follows the affine map.
    """

    query: Volume
    support: SupportSet
    preset: str = "same-modality"
    deformable: bool = True


def propose(request: PropagationRequest) -> Job[Proposal]:
    """Carry the labels of all examples onto the query.

    Parameters
    ----------
    request
        The query and its support.

    Yields
    ------
    Progress
        Of 100.

    Returns
    -------
    Proposal
        Along the last axis; a slice is as sure as its labelled voxels look alike in query and examples, and as the
        examples agree.

    Raises
    ------
    InputError, ResourceError
        If nothing is annotated, an example is annotated in some slices only, or a registration cannot work; see
        :mod:`voxelsmith.register.checks`.
    """
    query, examples, values = request.query, request.support.enabled, request.support.values
    request.support.require_foreground()
    if any(e.axis is not None for e in examples):
        raise InputError(
            "Propagation carries whole annotations over, but an example is annotated in some slices only; choose the "
            "prototype engine."
        )
    settings = preset(request.preset, query)
    if not request.deformable:
        settings = replace(settings, deformable=None)
    votes = np.zeros((len(values) + 1, *query.grid), np.float32)
    weights = np.zeros(query.grid, np.float32)
    best = np.zeros(query.grid, np.float32)
    notes: list[str] = []
    for number, example in enumerate(examples):
        found, mirrored = yield from _part(_registered(query, example.image, settings), number, len(examples))
        alike = local_correlation(query, found.warped)
        weight, warped = _TINY + alike**_POWER, _warped(found, example, values)
        votes += weight * warped
        weights += weight
        np.maximum(best, alike, out=best)
        notes += _told(found, number + 1, mirrored=mirrored)
    votes /= weights
    winners = votes.argmax(0)
    labels = np.array((0, *values), smallest_label_dtype(max(values)))[winners]
    agreement = np.take_along_axis(votes, winners[None], axis=0)[0]
    return Proposal(
        labels=query.labels(labels, "proposal", request.support.names),
        classes=values,
        probabilities=votes[1:].astype(np.float16),
        box=Box((0, 0, 0), (query.grid[0] - 1, query.grid[1] - 1, query.grid[2] - 1)),
        axis=2,
        confidence=_by_slice(agreement * best, labels != 0),
        provenance=Provenance(
            PROPAGATION,
            query.fingerprint(),
            tuple(e.content_hash for e in examples),
            f"preset {request.preset}, {'deformable' if request.deformable else 'affine'}",
        ),
        notes=tuple(notes),
    )


def _registered(query: Volume, image: Volume, settings: RegistrationSettings) -> Job[tuple[RegistrationResult, bool]]:
    """An example registered to the query from where it roughly lies, and whether it seems to be a mirror image."""
    request = RegistrationRequest(query, image, settings=settings)
    check(request)
    rough = yield from lay(query, image)
    settings = replace(settings, affine=replace(settings.affine, model="none"))
    return (yield from register(replace(request, settings=settings, initial=rough.matrix))), rough.mirrored


def _part(job: Job[tuple[RegistrationResult, bool]], number: int, count: int) -> Job[tuple[RegistrationResult, bool]]:
    """Run one of several registrations."""
    try:
        while True:
            progress = next(job)
            done = int(_TOTAL * (number + (progress.fraction or 0.0)) / count)
            yield Progress(done, _TOTAL, f"Example {number + 1}: {progress.message}")
    except StopIteration as stop:
        result: tuple[RegistrationResult, bool] = stop.value
        return result
    except GeometryError as error:
        raise InputError(
            f"Example {number + 1} cannot be registered to the query, as both should show the same part of the body; "
            "switch it off, or choose the prototype engine."
        ) from error
    finally:
        job.close()


def _warped(found: RegistrationResult, example: SupportExample, values: tuple[int, ...]) -> FloatArray:
    """Soft masks on the query's grid, background first, which has what no class takes; shape (C + 1, I, J, K)."""
    query = found.request.fixed
    out = np.empty((len(values) + 1, *query.grid), np.float32)
    for n, value in enumerate(values, start=1):
        mask = Volume(example.labels.mask(value).astype(np.float32), example.labels.affine)
        out[n] = found.transform.pull_image(mask, query.affine, query.grid).array
    out[0] = 1 - out[1:].sum(0)
    return out


def local_correlation(one: Volume, other: Volume) -> FloatArray:
    """Correlation of two images of one grid in a Gaussian window around each voxel, cut at 0; float32 (I, J, K).

    Where an image is constant the correlation is 0.
    """
    a, b = (prepare(volume).values for volume in (one, other))
    spacing = one.spacing
    sigma = np.minimum(_WINDOW * spacing.min() / spacing, _WINDOW)

    def mean(x: FloatArray) -> FloatArray:
        blurred: FloatArray = ndimage.gaussian_filter(x, sigma, mode="nearest")
        return blurred

    ma, mb = mean(a), mean(b)
    covariance = mean(a * b) - ma * mb
    variances = np.maximum(mean(a * a) - ma**2, 0) * np.maximum(mean(b * b) - mb**2, 0)
    correlation: FloatArray = np.clip(covariance / np.sqrt(variances + _TINY**2), 0, 1).astype(np.float32)
    return correlation


def _by_slice(sure: FloatArray, inside: npt.NDArray[np.bool_]) -> FloatArray:
    """Mean over the labelled voxels of each slice along the last axis; NaN for slices without any."""
    count = inside.sum((0, 1))
    total = np.where(inside, sure, 0).sum((0, 1))
    means = np.full(count.shape, np.nan, np.float32)
    np.divide(total, count, out=means, where=count > 0, casting="same_kind")
    return means


def _told(found: RegistrationResult, number: int, *, mirrored: bool) -> list[str]:
    notes = [f"Example {number}: {note}" for note in found.notes]
    if mirrored:
        notes.append(
            f"Example {number} fits better when left and right are exchanged; check the orientation of both files. "
            "Nothing was flipped."
        )
    after = found.measures.similarity_after
    if found.measures.similarity == "correlation" and after < _POOR:
        notes.append(
            f"Example {number} fits badly (correlation {after:.2f}); check that it shows the same part of the body."
        )
    return notes
