"""The same-volume engine: from a few painted slices of a volume to the rest of it.

Owns the order of the work: shapes interpolated between the painted slices, features of the image, boosted trees that
learn from the painted voxels what belongs where, and the product of the two, smoothed and cleaned. The interpolated
shape enters twice: as a feature, as it comes out for a painted slice when that slice is left out, and as a prior that
fades with the distance from the nearest painted slice, by as much as suits painted slices that are left out. Painted
voxels are never changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.support import SupportSet
from voxelsmith.core.volume import Volume
from voxelsmith.segment.canvas import Canvas, CanvasSettings, SlicePreview
from voxelsmith.segment.features import Encoder, HandMadeEncoder
from voxelsmith.segment.painted import Painted, paint
from voxelsmith.segment.pixel_classifier import ClassifierSettings, PixelClassifier
from voxelsmith.segment.prior import Prior
from voxelsmith.segment.proposal import SAME_VOLUME, Proposal, Provenance
from voxelsmith.segment.trust import best_fading
from voxelsmith.segment.zoom import FloatArray

_STEPS, _LOOKED, _GROWN, _LEARNED, _PROPOSED = 100, 20, 30, 40, 90
# Slices that are left out, times the kinds of voxels.
_LEFT_OUT = 10


@dataclass(frozen=True)
class SameVolumeSettings:
    """How slices are proposed: the working grid with the shape prior, and the trees."""

    canvas: CanvasSettings = field(default_factory=CanvasSettings)
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)


@dataclass(frozen=True, eq=False)
class SameVolumeRequest:
    """A volume some slices of which are painted.

    Parameters
    ----------
    image
        A 3-D volume; its array must not change while the request is computed.
    support
        Classes and examples; those on this image count.
    view
        The slice in view, which is answered first.
    axis
        Array axis along which slices are counted; by default the one with the most painted slices.
    span
        First and last slice to propose; by default as far as the shapes reach.
    settings
        How it is done.
    """

    image: Volume
    support: SupportSet
    view: int | None = None
    axis: int | None = None
    span: tuple[int, int] | None = None
    settings: SameVolumeSettings = field(default_factory=SameVolumeSettings)


class SameVolumeEngine:
    """Proposes the slices between painted ones; see the module's paragraph.

    Parameters
    ----------
    encoder
        Gives the features, one for each voxel; by default the hand-made ones.
    """

    name = SAME_VOLUME
    title = "Painted slices of the same volume"

    def __init__(self, encoder: Encoder | None = None) -> None:
        self.encoder = encoder or HandMadeEncoder()

    def propose(self, request: SameVolumeRequest) -> Job[Proposal]:
        """Answer a request.

        Parameters
        ----------
        request
            The volume and what is painted on it.

        Yields
        ------
        Progress
            Of 100; ``partial`` is a :class:`~voxelsmith.segment.canvas.SlicePreview` of the slice in view, from shapes
            alone at once, refined by the first models as soon as they have learned, and as it stays.

        Returns
        -------
        Proposal

        Raises
        ------
        InputError
            If nothing is painted on the image, the painted voxels are all of one kind, or the image is constant or not
            3-D.
        """
        image = request.image
        if image.array.ndim != 3 or image.array.dtype.kind not in "iufb":
            raise InputError(
                f"Few-shot needs a 3-D image of real numbers, got {image.array.ndim} axes of {image.array.dtype}; "
                "select one frame first."
            )
        yield Progress(0, _STEPS, "Interpolating shapes")
        painted = paint(image, request.support, request.axis, request.span)
        canvas = Canvas(image, painted, request.settings.canvas)
        first = canvas.row_in_view(request.view)
        early = None if first is None else canvas.preview(first, refined=False)
        yield Progress(1, _STEPS, "Looking at the image", early)
        rows = canvas.open_rows(first)
        first = first if first in rows else None
        if rows:
            features = self.encoder.features(canvas.crop, range(len(canvas.known)), painted.axis)
            yield Progress(_LOOKED, _STEPS, "Learning")
            classifier = PixelClassifier(request.settings.classifier)
            models, enough = classifier.learn(features, canvas.target, canvas.known, canvas.prior, first)
            for model in range(models):
                classifier.grow(model)
                done = _LOOKED + (_GROWN - _LOOKED) * (model + 1) // models
                look = None
                if first is not None and model + 1 == enough:
                    look = _settled(canvas, classifier, [first], first)
                yield Progress(done, _STEPS, "Learning", look)
            yield from _trust(classifier, canvas.prior)
        done = 0
        for part in canvas.parts(rows):
            late = _settled(canvas, classifier, part, first)
            done += len(part)
            yield Progress(_LEARNED + (_PROPOSED - _LEARNED) * done // len(rows), _STEPS, "Proposing", late)
        yield Progress(_PROPOSED, _STEPS, "Tidying up")
        labels, probabilities = canvas.labels_and_probabilities()
        return _proposal(request, painted, labels, probabilities, self.encoder.name)


def _settled(canvas: Canvas, classifier: PixelClassifier, rows: list[int], first: int | None) -> SlicePreview | None:
    """Propose some rows; and show the one in view if it is among them."""
    pixels = np.stack([canvas.prior.near(row) for row in rows])
    if pixels.any():
        canvas.settle(rows, pixels, classifier.predict(rows, pixels))
    return canvas.preview(first, refined=True) if first in rows else None


def _trust(classifier: PixelClassifier, prior: Prior) -> Job[None]:
    """Let the prior fade as suits the painted slices."""
    left_out = []
    rows = classifier.rows_to_leave_out(_LEFT_OUT // classifier.kinds) if prior.can_hold_out else []
    for done, row in enumerate(rows):
        yield Progress(_GROWN + (_LEARNED - _GROWN) * done // len(rows), _STEPS, "Checking with painted slices")
        left_out.append(classifier.leave_out(row))
    if left_out:
        prior.fading = best_fading(prior, left_out)


def _proposal(
    request: SameVolumeRequest,
    painted: Painted,
    labels: npt.NDArray[np.unsignedinteger[Any]],
    probabilities: npt.NDArray[np.float16],
    encoder: str,
) -> Proposal:
    """Labels on the whole image, probabilities on the box, both in the image's order of axes."""
    image, names = request.image, request.support.names
    whole = np.zeros(image.grid, dtype=labels.dtype)
    whole[painted.box.slices] = painted.to_volume(labels)
    confidence = np.full(image.grid[painted.axis], np.nan, dtype=np.float32)
    confidence[painted.first : painted.first + len(labels)] = _confidence(labels, probabilities, painted)
    missing = [names[value] for value in request.support.values if not (painted.labels == value).any()]
    notes = (f"Nothing is painted of {', '.join(missing)}, so none of it is proposed.",) if missing else ()
    return Proposal(
        image.labels(whole, "proposal", names),
        painted.values,
        np.moveaxis(probabilities, 1, 1 + painted.axis),
        painted.box,
        painted.axis,
        confidence,
        Provenance(SAME_VOLUME, painted.image, painted.examples, f"{encoder}; {request.settings}"),
        notes,
    )


def _confidence(
    labels: npt.NDArray[np.unsignedinteger[Any]], probabilities: npt.NDArray[np.float16], painted: Painted
) -> FloatArray:
    """For each slice the Dice coefficient that the probabilities promise for the labels; 1 where all is painted.

    Of a slice without labels it is how unlikely its likeliest pixel is: faint traces all over it are no object.
    """
    promised, sizes, likeliest = np.zeros((3, len(labels)))
    for channel, value in enumerate(painted.values):
        mask, likely = labels == value, probabilities[channel]
        promised += np.where(mask, likely, 0).sum(axis=(1, 2), dtype=np.float64)
        sizes += mask.sum(axis=(1, 2)) + likely.sum(axis=(1, 2), dtype=np.float64)
        np.maximum(likeliest, likely.max(axis=(1, 2)), out=likeliest)
    labelled = labels.any(axis=(1, 2))
    expected = np.divide(2 * promised, sizes, out=1 - likeliest, where=labelled)
    return np.where(painted.finished, 1, expected).astype(np.float32)
