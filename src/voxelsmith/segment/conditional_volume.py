"""Few-shot by a conditional network: annotated slices of other volumes tell it what to look for in this one.

Owns the order of the work: support and query on a common grid, which annotated slices show the same part of the body as
a query slice, and the answers of the network for one class after the other, brought together. A class is looked for
only where its annotated range lies in the query, and a little beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.support import SupportSet
from voxelsmith.core.volume import Volume, smallest_label_dtype
from voxelsmith.segment.common_grid import (
    Sliced,
    common_grid,
    region,
    sliced_example,
    told,
)
from voxelsmith.segment.encoders import unit_range
from voxelsmith.segment.episodic import conditioned
from voxelsmith.segment.placement import Placement, place
from voxelsmith.segment.proposal import CONDITIONAL, Proposal, Provenance
from voxelsmith.segment.uncertainty import slice_confidence
from voxelsmith.segment.zoom import FloatArray

if TYPE_CHECKING:
    from voxelsmith.segment.episodic import ConditionalNetwork

# Share of its range by which a class may go on beyond it.
_BEYOND = 0.1
_TOTAL, _PLACED = 100, 20


@dataclass(frozen=True, eq=False)
class ConditionalRequest:
    """A volume to segment by examples of others.

    Parameters
    ----------
    query
        A 3-D image.
    support
        The examples in use.
    network
        From :func:`~voxelsmith.segment.episodic.load_network`, of the method "senet" or "film".
    name
        Names it in the provenance.
    known_range
        First and last slice of the query in which the classes lie; None if that is for the engine to find.
    shots
        So many annotated slices, the nearest ones, tell what to look for in a query slice.
    """

    query: Volume
    support: SupportSet
    network: ConditionalNetwork
    name: str
    known_range: tuple[int, int] | None = None
    shots: int = 3


@dataclass(frozen=True, eq=False)
class _Shot:
    """An annotated slice: where it lies along the query's slices, its brightness, and its labels."""

    at: float
    image: FloatArray
    labels: npt.NDArray[np.integer[Any]]
    classes: frozenset[int]


def propose(request: ConditionalRequest) -> Job[Proposal]:
    """Segment the query.

    Yields
    ------
    Progress
        Of 100.

    Returns
    -------
    Proposal

    Raises
    ------
    InputError
        If nothing is annotated, the query is not 3-D, examples were painted along different axes, or the range lies
        outside the query.
    """
    query, examples, values = request.query, request.support.enabled, request.support.values
    target, pixel = common_grid(query, request.support)
    axis = target.axis
    shots: list[_Shot] = []
    notes: list[str] = []
    for number, example in enumerate(examples):
        yield Progress(_PLACED * number // len(examples), _TOTAL, f"Placing example {number + 1}")
        source = sliced_example(example, query, axis, pixel)
        placement = yield from place(target, source, known_range=request.known_range)
        shots += _shots(source, placement, example.classes, float(query.spacing[axis]))
        notes += told(query, example, number + 1, pixel)
    planes = np.moveaxis(unit_range(target.image), axis, 0)
    likely = np.zeros((len(values), *planes.shape), np.float32)
    for n, plane in enumerate(planes):
        yield Progress(_PLACED + (_TOTAL - _PLACED) * n // len(planes), _TOTAL, f"Slice {n + 1} of {len(planes)}")
        for channel, value in enumerate(values):
            nearest = _nearest([s for s in shots if value in s.classes], value, n, request.shots)
            if nearest:
                images = np.stack([s.image for s in nearest])
                masks = np.stack([s.labels == value for s in nearest]).astype(np.float32)
                likely[channel, n] = conditioned(request.network, plane[None], images, masks)[0]
    return _proposal(request, target, np.moveaxis(likely, 1, 1 + axis), pixel, notes)


def _shots(source: Sliced, placement: Placement, classes: frozenset[int], thickness: float) -> list[_Shot]:
    images, labels = (np.moveaxis(a, source.axis, 0) for a in (unit_range(source.image), source.labels))
    middle = (np.array(source.image.grid, np.float64) - 1) / 2
    found = []
    for n in source.annotated:
        middle[source.axis] = n
        at = float(placement.to_query(middle)[source.axis]) / thickness
        found.append(_Shot(at, np.ascontiguousarray(images[n]), labels[n], classes))
    return found


def _nearest(shots: Sequence[_Shot], value: int, n: int, most: int) -> list[_Shot]:
    """The shots with a class that lie nearest to a query slice, of equal shapes; none far beyond the class's range."""
    having = [s for s in shots if (s.labels == value).any()]
    if not having:
        return []
    first, last = min(s.at for s in having), max(s.at for s in having)
    margin = max(1.0, _BEYOND * (last - first))
    if not first - margin <= n <= last + margin:
        return []
    ordered = sorted(having, key=lambda s: abs(s.at - n))
    return [s for s in ordered if s.image.shape == ordered[0].image.shape][:most]


def _proposal(
    request: ConditionalRequest, target: Sliced, likely: FloatArray, pixel: float, notes: Sequence[str]
) -> Proposal:
    """From probabilities of each class by itself, on the common grid, to labels on the query's own."""
    query, values = request.query, request.support.values
    fine = region(query, target.axis, pixel)
    probabilities = np.stack([fine.dense(channel) for channel in likely])
    probabilities /= np.maximum(probabilities.sum(0), 1)
    best = probabilities.argmax(0)
    labels = np.array(values, smallest_label_dtype(max(values)))[best]
    labels[probabilities.sum(0) < 0.5] = 0
    return Proposal(
        labels=query.labels(labels, "proposal", request.support.names),
        classes=values,
        probabilities=probabilities.astype(np.float16),
        box=fine.box,
        axis=target.axis,
        confidence=slice_confidence(probabilities, target.axis),
        provenance=Provenance(
            CONDITIONAL,
            query.fingerprint(),
            tuple(e.content_hash for e in request.support.enabled),
            f"network {request.name}, range {request.known_range}, {request.shots} shots",
        ),
        notes=tuple(notes),
    )
