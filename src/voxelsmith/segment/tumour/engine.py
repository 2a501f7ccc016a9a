"""The tumour engine: what the dock, the command line and Python call.

Owns the order: prepare, answer the windows of the brain, cut out the regions, bring them back to the grid of the
reference sequence. Preparing takes longest, so it is a job of its own, and its case serves a preview and the full run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Box
from voxelsmith.core.regions import REGIONS
from voxelsmith.core.resample import reorient, resample_to
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.segment.tumour.findings import Finding
from voxelsmith.segment.tumour.names import MODALITY_TITLES
from voxelsmith.segment.tumour.network import TumourNetwork, load_network
from voxelsmith.segment.tumour.parts import part
from voxelsmith.segment.tumour.postprocessing import depth_from, nested
from voxelsmith.segment.tumour.preparation import PreparedCase, at_spacing, prepare
from voxelsmith.segment.tumour.request import PREVIEW_SPACING, TumourRequest, unreliable_regions
from voxelsmith.segment.tumour.result import DEPTH_NAMES, TumourResult
from voxelsmith.segment.tumour.sliding import slide

__all__ = ["PreparedCase", "at_spacing", "predict", "prepare", "preview", "run"]

_MARGIN = 4
_PREPARED = 50
_TOTAL = 100


def run(request: TumourRequest, network: TumourNetwork | None = None) -> Job[TumourResult]:
    """Prepare and predict; see :func:`prepare` and :func:`predict`. Progress is of 100."""
    answering = network or load_network(request.settings.model, request.images, request.settings.device)
    case = yield from part(prepare(request), 0, _PREPARED, _TOTAL)
    return (yield from part(predict(case, answering), _PREPARED, _TOTAL, _TOTAL))


def preview(case: PreparedCase, network: TumourNetwork | None = None) -> Job[TumourResult]:
    """:func:`predict` at 2 mm."""
    coarse = yield from at_spacing(case, max(PREVIEW_SPACING, case.request.settings.spacing))
    return (yield from predict(coarse, network))


def predict(case: PreparedCase, network: TumourNetwork | None = None) -> Job[TumourResult]:
    """Segment a prepared case.

    Parameters
    ----------
    case
        What :func:`prepare` gave.
    network
        Answers the windows; None takes what the settings name.

    Yields
    ------
    Progress
        Of the windows.

    Returns
    -------
    TumourResult
        On the grid of the reference sequence.

    Raises
    ------
    InputError
        If the network looks at none of the sequences.
    ModelUnavailableError, FormatError
        If there are no weights, or unusable ones.
    """
    request = case.request
    net = network or load_network(request.settings.model, request.images, request.settings.device)
    used = [m for m in net.modalities if m in case.images]
    if not used:
        titles = ", ".join(MODALITY_TITLES[m] for m in net.modalities)
        raise InputError(f"The network {net.identity} looks at {titles}, but there is none of them; add one.")
    available = np.array([m in case.images for m in net.modalities])
    box = Box.around(np.asarray(case.brain.array), _MARGIN).slices
    blank = np.zeros(case.brain.grid, np.float32)[box]
    images = np.stack([case.images[m].array[box] if m in case.images else blank for m in net.modalities])
    found = yield from slide(
        images, lambda window: net(window, available), net.side, net.multiple, request.settings.overlap, len(REGIONS)
    )
    yield Progress(1, 1, "Cutting out the regions")
    probabilities = np.zeros((len(REGIONS), *case.brain.grid), np.float32)
    probabilities[(slice(None), *box)] = nested(found) * (np.asarray(case.brain.array)[box] > 0)
    settings = request.settings
    voxel = case.brain.affine.voxel_volume
    depth = LabelVolume(
        depth_from(probabilities, voxel, settings.least_whole_mm3, settings.least_enhancing_mm3), case.brain.affine
    )
    yield Progress(1, 1, "Going back to the grid of the images")
    source = request.images[request.reference]
    return TumourResult(
        request,
        case.fingerprints,
        net.identity,
        source.labels(_back(depth, source), "tumour regions", DEPTH_NAMES),
        np.stack([_back(Volume(p, case.brain.affine), source).astype(np.float16) for p in probabilities]),
        unreliable_regions(used),
        net.synthetic(available),
        _notes(case, net),
    )


def _back(volume: Volume, source: Volume) -> npt.NDArray[Any]:
    """The array of a volume of the working grid on the grid of the reference sequence."""
    return np.asarray(resample_to(reorient(volume, source.affine.axcodes), source.affine, source.grid).array)


def _notes(case: PreparedCase, net: TumourNetwork) -> tuple[str, ...]:
    """Sentences of the checks, and of sequences that the network does not look at."""
    unused = [m for m in case.images if m not in net.modalities]
    findings = list(case.findings)
    if unused:
        titles = " and ".join(MODALITY_TITLES[m] for m in unused)
        findings.append(Finding("note", f"The network {net.identity} does not look at {titles}."))
    return tuple(finding.sentence for finding in findings)
