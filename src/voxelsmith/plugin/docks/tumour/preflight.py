"""Preflight: what is known of the chosen sequences before a run.

Owns the look that each slot shows, a small picture, its findings, and the grey values of the brain, and what is to be
said of the sequences together. It runs as a job, as every voxel is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import VoxelsmithError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.support import SupportExample
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.fewshot.thumbnails import thumbnail
from voxelsmith.plugin.docks.tumour.material import Material, load
from voxelsmith.segment.tumour.checks import findings_of
from voxelsmith.segment.tumour.findings import Finding, Seen, plain, see
from voxelsmith.segment.tumour.names import MODALITY_TITLES, Modality
from voxelsmith.segment.tumour.request import TumourSettings

Picture = npt.NDArray[np.uint8]
_MOST_VALUES = 200_000
_STEPS = 1000


@dataclass(frozen=True, eq=False)
class GreyValues:
    """The grey values of a sequence inside the brain.

    Parameters
    ----------
    quantiles : float array
        Ascending, at equal steps of share from 0 to 1.
    """

    quantiles: npt.NDArray[np.float64]

    def window(self, low: float, high: float) -> tuple[float, float]:
        """The grey values at two percentiles, 0 to 100; never one and the same."""
        at = np.linspace(0, 100, len(self.quantiles))
        first, last = (float(value) for value in np.interp((low, high), at, self.quantiles))
        return first, max(last, float(np.nextafter(np.float32(first), np.float32(np.inf))))


@dataclass(frozen=True, eq=False)
class SlotLook:
    """What one slot shows.

    Parameters
    ----------
    picture : uint8 array, shape (side, side), or None
        The axial slice with most of the brain, 0 around it; None if the sequence cannot be used.
    grey
        Of the brain; None if the sequence cannot be used.
    findings
        About this sequence alone.
    gravest
        The first of all findings that this sequence is part of; None if there is none.
    """

    picture: Picture | None
    grey: GreyValues | None
    findings: tuple[Finding, ...]
    gravest: Finding | None


@dataclass(frozen=True, eq=False)
class Preflight:
    """What a segmentation would be like.

    Parameters
    ----------
    slots
        By sequence, those that are chosen.
    findings
        About several sequences, or about what is missing; the gravest first.
    obstacle
        Why it cannot run, a sentence; empty if it can.
    """

    slots: Mapping[Modality, SlotLook] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    obstacle: str = ""

    @property
    def sentences(self) -> frozenset[str]:
        """All that is told of the sequences."""
        alone = [finding for look in self.slots.values() for finding in look.findings]
        return frozenset(finding.sentence for finding in (*alone, *self.findings))


def preflight(material: Material, settings: TumourSettings) -> Job[Preflight]:
    """Job that looks at the sequences; what cannot work becomes the obstacle and no error."""
    looked: dict[Modality, Seen] = {}
    pictures: dict[Modality, Picture | None] = {}
    try:
        loaded = yield from load(material)
        request = loaded.request(settings)
        for number, (modality, volume) in enumerate(request.images.items()):
            yield Progress(number, len(request.images), f"Looking at {MODALITY_TITLES[modality]}")
            looked[modality] = see(modality, volume)
            pictures[modality] = _picture(looked[modality])
        yield Progress(0, 0, "Looking at the sequences together")
        findings = findings_of(request, looked)
    except VoxelsmithError as error:
        return Preflight(obstacle=str(error))
    slots = {
        modality: SlotLook(
            pictures[modality],
            _grey_values(one),
            tuple(f for f in findings if f.modalities == (modality,)),
            next((f for f in findings if modality in f.modalities), None),
        )
        for modality, one in looked.items()
    }
    notes = tuple(Finding("note", sentence) for sentence in material.notes)
    together = (*(f for f in findings if len(f.modalities) != 1), *notes)
    obstacle = next((f.sentence for f in findings if f.severity == "error"), "")
    return Preflight(slots, together, obstacle)


def _picture(seen: Seen) -> Picture | None:
    if seen.inside is None:
        return None
    image: Volume = plain(seen.volume)
    axis = image.affine.closest_axes.index(2)
    areas = seen.inside.sum(axis=tuple({0, 1, 2} - {axis}))
    labels = image.labels(seen.inside.astype(np.uint8))
    example = SupportExample(image, labels, axis, (int(np.argmax(areas)),))
    small = thumbnail(example)
    picture: Picture = np.where(small.labels != 0, np.maximum(small.grey, 1), 0).astype(np.uint8)
    return picture


def _grey_values(seen: Seen) -> GreyValues | None:
    if seen.inside is None:
        return None
    values = np.asarray(seen.volume.array)[seen.inside]
    values = values[:: max(1, len(values) // _MOST_VALUES)].astype(np.float64)
    values = values[np.isfinite(values)]
    return GreyValues(np.quantile(values, np.linspace(0, 1, _STEPS + 1))) if len(values) else None
