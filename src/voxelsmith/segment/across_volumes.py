"""Few-shot across volumes: prototypes of annotated volumes segment another one.

Owns the order of the work: support and query on a common grid, where each support lies in the query, prototypes of
every annotated slice with their places, then each query slice by its likeness to the prototypes from around it. A slice
is as sure as it is consistent: the support, segmented back with the answer as its annotation, should come out as it was
annotated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import Volume, smallest_label_dtype
from voxelsmith.segment.canvas import SlicePreview
from voxelsmith.segment.common_grid import Sliced, common_grid, region, slab, sliced_example, told
from voxelsmith.segment.features import Encoder
from voxelsmith.segment.place_check import PlaceCheck, one_image
from voxelsmith.segment.placement import How, Placement, ball_radius, place, telling
from voxelsmith.segment.proposal import PROTOTYPES, Proposal, Provenance
from voxelsmith.segment.prototype_bank import Bank, BankSettings, read_slices
from voxelsmith.segment.rival import Rival, whole
from voxelsmith.segment.zoom import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

# Hippocampus and lung MR of different patients lie at 0.1 to 0.2, CT beside MR at 0.3 to 0.7.
_FOREIGN = 0.3
_TOTAL, _PLACED, _READ = 100, 10, 50
_VAGUE_PLACE = (
    "Places counted little, as the examples show another part of the body than the query or have their objects in "
    "different places; look twice at what was found."
)


@dataclass(frozen=True)
class AcrossSettings:
    """How prototypes are made and compared.

    Parameters
    ----------
    prototypes
        "local", or "global" for one prototype a class.
    position
        Whether prototypes count less the farther their place is.
    spread
        Standard deviation of the position prior, as a share of the radius of a ball as large as all classes together.
    vague_spread
        The same where places tell little; see :func:`~voxelsmith.segment.placement.telling`.
    alignment
        How the support is placed in the query; see :func:`~voxelsmith.segment.placement.place`.
    smoothing
        Standard deviation of the blur of the probabilities, in pixels of the common grid.
    per_slice
        Most prototypes that one class keeps of one annotated slice.
    most
        Most prototypes of one class that a query slice is compared with.
    window
        Side of a local prototype's cell, in pixels of the common grid.
    """

    prototypes: Literal["local", "global"] = "local"
    position: bool = True
    spread: float = 0.2
    vague_spread: float = 0.3
    alignment: How = "auto"
    smoothing: float = 1.0
    per_slice: int = 150
    most: int = 600
    window: int = 2


@dataclass(frozen=True, eq=False)
class AcrossRequest:
    """A volume to segment by examples of others.

    Parameters
    ----------
    query
        A 3-D image.
    support
        The examples in use give the prototypes.
    encoder
        Whose features are compared.
    known_range
        First and last slice of the query, along the axis in which slices are taken, in which the classes lie; None if
        that is for the engine to find.
    settings
        The rest.
    view
        The slice in view along that axis, which is answered first.
    """

    query: Volume
    support: SupportSet
    encoder: Encoder
    known_range: tuple[int, int] | None = None
    settings: AcrossSettings = field(default_factory=AcrossSettings)
    view: int | None = None


def propose(request: AcrossRequest) -> Job[Proposal]:
    """Segment the query.

    Parameters
    ----------
    request
        The query and its support.

    Yields
    ------
    Progress
        Of 100; ``partial`` is a :class:`~voxelsmith.segment.canvas.SlicePreview` of the slice in view.

    Returns
    -------
    Proposal

    Raises
    ------
    InputError
        If nothing is annotated, the query is not 3-D, examples were painted along different axes, or the range lies
        outside the query.
    ModelUnavailableError
        If the encoder's weights are not at hand.
    """
    query, settings, examples = request.query, request.settings, request.support.enabled
    target, pixel = common_grid(query, request.support)
    axis = target.axis
    sources = [sliced_example(example, query, axis, pixel) for example in examples]
    placements, notes = yield from _placements(request, target, sources, pixel)
    spread, rival, check = None, None, None
    if settings.position:
        sure = telling(sources, placements)
        spread = spread_of(examples, settings.spread if sure else settings.vague_spread)
        if not sure:
            notes.append(_VAGUE_PLACE)
            rival = Rival(target, sources, request.support.values) if _may_lie(request) else None
        elif _is_open(request) and one_image(examples):
            check = PlaceCheck(target)
    bank = Bank(
        request.support.values,
        axis,
        BankSettings(settings.prototypes, spread, settings.per_slice, settings.most, settings.window),
    )
    yield from _learn(bank, request, sources, placements)
    if check is not None:
        yield from _checked(check, bank, request, target)
        notes.append(check.told)
    by_looks = check is not None and not check.holds
    count = target.image.grid[axis]
    confidence = np.empty(count, np.float32)
    planes = np.empty((len(request.support.values) + 1, *target.image.grid), np.float32)
    for done, (n, features) in enumerate(_from_view(target, request)):
        plane, confidence[n] = bank.answer(target, n, features, by_looks=by_looks)
        np.moveaxis(planes, 1 + axis, 1)[:, n] = plane
        if rival is not None:
            own, theirs = bank.explains(target, n, features, (plane, rival.plane(n)))
            rival.compare(n, plane, (own, theirs))
        look = _preview(request, target, n, plane, pixel) if n == request.view else None
        yield Progress(
            _READ + (_TOTAL - _READ) * done // count, _TOTAL, f"Segmented {done + 1} of {count} slices", look
        )
    if bank.foreignness() > _FOREIGN:
        notes.append(
            "The query looks unlike the support, as another kind of image or another part of the body does; check that "
            "they belong together."
        )
    if rival is not None:
        notes.append(rival.told)
        if rival.wins:
            confidence = rival.confidence
            planes = np.stack([rival.plane(n) for n in range(count)], axis=1 + axis)
    return _proposal(request, target, planes, confidence, tuple(notes), pixel)


def _may_lie(request: AcrossRequest) -> bool:
    """Whether labels of the examples can be taken as they lie."""
    return _is_open(request) and whole(request.support.enabled)


def _is_open(request: AcrossRequest) -> bool:
    """Whether the user left it to the engine how the examples lie in the query."""
    given = request.known_range is not None or request.settings.prototypes == "global"
    return not given and request.settings.alignment == "auto"


def _checked(check: PlaceCheck, bank: Bank, request: AcrossRequest, target: Sliced) -> Job[None]:
    """Compare what is found with places with what is found without them."""
    for n, features in read_slices(target, request.encoder, check.slices):
        check.compare(bank, n, features)
        yield Progress(_READ, _TOTAL, "Checking the places of the example")


def _from_view(target: Sliced, request: AcrossRequest) -> Iterator[tuple[int, Tensor]]:
    """The query's slices with their features, the one in view first and alone: several that are read at once wait."""
    slices = range(target.image.grid[target.axis])
    first = [n for n in slices if n == request.view]
    yield from read_slices(target, request.encoder, first)
    yield from read_slices(target, request.encoder, [n for n in slices if n not in first])


def _placements(
    request: AcrossRequest, target: Sliced, sources: Sequence[Sliced], pixel: float
) -> Job[tuple[list[Placement], list[str]]]:
    """Place every example, slices of one image together; and what the user should know of it, in sentences."""
    placements, notes = [], []
    known: dict[str, Placement] = {}
    for number, (example, source) in enumerate(zip(request.support.enabled, sources, strict=True)):
        done = _PLACED * number // len(sources)
        notes += told(request.query, example, number + 1, pixel)
        placement = known.get(example.image_fingerprint)
        if placement is None:
            yield Progress(done, _TOTAL, f"Placing example {number + 1}")
            placement = yield from _quiet(place(target, source, request.settings.alignment, request.known_range), done)
        if request.known_range is None:
            # A range is met by the labels of each example, all else by the image alone.
            known[example.image_fingerprint] = placement
        placements.append(placement)
        notes.append(_placed(placement, number + 1))
    return placements, notes


def _learn(bank: Bank, request: AcrossRequest, sources: Sequence[Sliced], placements: Sequence[Placement]) -> Job[None]:
    """Take the prototypes of every example."""
    values = set(request.support.values)
    complete = [example.classes >= values for example in request.support.enabled]
    for number, (source, placement) in enumerate(zip(sources, placements, strict=True)):
        whole = complete[number] or not any(complete)
        for n, _ in enumerate(bank.learn(source, placement, request.encoder, with_background=whole)):
            share = (number + (n + 1) / len(source.annotated)) / len(sources)
            yield Progress(_PLACED + int((_READ - _PLACED) * share), _TOTAL, f"Reading example {number + 1}")
    bank.finish()


def _quiet(job: Job[Placement], done: int) -> Job[Placement]:
    """Run a part whose own count means nothing here."""
    try:
        while True:
            progress = next(job)
            yield Progress(done, _TOTAL, progress.message)
    except StopIteration as stop:
        result: Placement = stop.value
        return result
    finally:
        job.close()


def spread_of(examples: Sequence[SupportExample], share: float) -> float:
    """Standard deviation of the position prior in millimetres.

    Parameters
    ----------
    examples
        At least one with a label; slices of one image count as one.
    share
        Of the radius of a ball as large as all classes together; between annotated slices they are taken to go on.
    """
    areas: dict[tuple[str, int], npt.NDArray[np.int_]] = {}
    volumes: dict[str, float] = {}
    for example in examples:
        if not example.has_foreground:
            continue
        axis = 2 if example.axis is None else example.axis
        found = np.count_nonzero(example.labels.array, axis=tuple({0, 1, 2} - {axis}))
        image = example.image_fingerprint
        areas[image, axis] = areas.get((image, axis), 0) + found
        volumes[image] = example.image.affine.voxel_volume
    radii = [ball_radius(found, volumes[image]) for (image, _), found in areas.items()]
    return share * float(np.mean(radii))


def _placed(placement: Placement, number: int) -> str:
    if placement.how == "shift":
        return f"Example {number} was placed by the best shift (correlation {placement.alike:.2f})."
    if placement.how in ("affine", "deformable"):
        return f"Example {number} was placed by {placement.how} registration (correlation {placement.alike:.2f})."
    by = {"range": "the range that you gave", "slices": "matching its slices", "centres": "the centres of the images"}
    return f"Example {number} was placed by {by[placement.how]}."


def _preview(request: AcrossRequest, target: Sliced, n: int, plane: FloatArray, pixel: float) -> SlicePreview:
    """The labels of one slice from its probabilities, shape (1 + C, *plane), at the query's own pixels."""
    axis = target.axis
    across = np.delete(target.image.spacing, axis)
    smooth = ndimage.gaussian_filter(plane, (0, *(request.settings.smoothing * pixel / across)), mode="nearest")
    fine = slab(region(request.query, axis, pixel), axis, 1)
    channels = np.stack([fine.dense(np.expand_dims(channel, axis)).squeeze(axis) for channel in smooth])
    values = np.array((0, *request.support.values), smallest_label_dtype(max(request.support.values)))
    return SlicePreview(axis, n, values[channels.argmax(axis=0)], refined=True)


def _proposal(
    request: AcrossRequest,
    target: Sliced,
    answer: FloatArray,
    confidence: FloatArray,
    notes: tuple[str, ...],
    pixel: float,
) -> Proposal:
    """From probabilities on the common grid to labels on the query's own."""
    query, values = request.query, request.support.values
    sigma = request.settings.smoothing * pixel / target.image.spacing
    smooth = [ndimage.gaussian_filter(channel, sigma, mode="nearest") for channel in answer]
    fine = region(query, target.axis, pixel)
    best, labels = fine.dense(smooth[0]), np.zeros(query.grid, smallest_label_dtype(max(values)))
    probabilities = np.empty((len(values), *query.grid), np.float16)
    for channel, value in enumerate(values):
        dense = fine.dense(smooth[1 + channel])
        probabilities[channel] = dense
        wins = dense > best
        labels[wins] = value
        np.maximum(best, dense, out=best)
    hashes = tuple(e.content_hash for e in request.support.enabled)
    settings = f"encoder {request.encoder.name}, range {request.known_range}, {request.settings}"
    return Proposal(
        labels=query.labels(labels, "proposal", request.support.names),
        classes=values,
        probabilities=probabilities,
        box=fine.box,
        axis=target.axis,
        confidence=confidence,
        provenance=Provenance(PROTOTYPES, query.fingerprint(), hashes, settings),
        notes=notes,
    )
