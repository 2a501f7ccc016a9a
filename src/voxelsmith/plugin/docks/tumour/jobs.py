"""Jobs of the dock.

Owns the segmentation as it runs in the viewer: the network is loaded first, so that a missing one is told before
anything long begins; the preparation is handed out as soon as it is there, so that it is not lost when the rest is
stopped; and a preparation that is there already is laid on the grid that is wanted instead of being made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from voxelsmith.core.errors import GeometryError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.regions import Convention, Region, detect
from voxelsmith.core.volume import LabelVolume
from voxelsmith.plugin.docks.tumour.material import Material, load
from voxelsmith.segment.tumour.network import load_network
from voxelsmith.segment.tumour.report import ReportRow, report_rows
from voxelsmith.segment.tumour.request import TumourSettings
from voxelsmith.segment.tumour.result import TumourResult

if TYPE_CHECKING:
    from voxelsmith.segment.tumour.engine import PreparedCase


def segmentation(
    material: Material, settings: TumourSettings, prepared: PreparedCase | None
) -> Job[tuple[PreparedCase, TumourResult]]:
    """Job that segments, and returns the preparation too; that is also ``partial`` once it is there.

    Parameters
    ----------
    material
        What it is computed from.
    settings
        How.
    prepared
        The same material, prepared with the same registration and brain; None prepares it.
    """
    from voxelsmith.segment.tumour.engine import at_spacing, predict, prepare

    yield Progress(0, 0, "Loading the network")
    network = load_network(settings.model, material.volumes, settings.device)
    if prepared is None:
        loaded = yield from load(material)
        prepared = yield from prepare(loaded.request(settings))
        yield Progress(0, 0, "Prepared", prepared)
    spacing = settings.spacing
    now = replace(settings, spacing=prepared.request.settings.spacing)
    case = replace(prepared, request=replace(prepared.request, settings=now))
    case = yield from at_spacing(case, spacing)
    result = yield from predict(case, network)
    return prepared, result


def measurement(
    labels: LabelVolume,
    convention: Convention,
    unreliable: Mapping[Region, str],
    reference: LabelVolume | None = None,
    reference_convention: Convention | None = None,
) -> Job[tuple[tuple[ReportRow, ...], str]]:
    """Job that measures regions; ``partial`` is the same without scores, which take longer.

    Parameters
    ----------
    labels, convention
        What to measure, and what its labels mean.
    unreliable
        Regions that cannot be relied on, and why.
    reference, reference_convention
        Labels of an expert, None if there are none, and what they mean, None to find out.

    Returns
    -------
    tuple
        Rows, and a sentence about the labels of the reference where they can be read in several ways.

    Raises
    ------
    InputError
        If labels are of no known convention.
    GeometryError
        If the reference lies on another grid.
    """
    yield Progress(0, 0, "Measuring")
    depth = LabelVolume(convention.depth(labels.array), labels.affine, name=labels.name)
    rows = report_rows(depth, unreliable)
    yield Progress(0, 0, "Measuring", (rows, ""))
    if reference is None:
        return rows, ""
    if not labels.same_grid(reference):
        raise GeometryError(
            f"A reference lies on the grid of what it is compared with, {labels.grid}, but {reference.name!r} has "
            f"{reference.grid} or lies elsewhere; choose another one, or export it onto the grid of {labels.name!r}."
        )
    warning = ""
    if reference_convention is None:
        found = detect(reference.array)
        reference_convention, warning = found.convention, found.warning
    return report_rows(depth, unreliable, reference, reference_convention), warning
