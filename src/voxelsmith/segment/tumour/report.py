"""The report: a table of the regions, by themselves or against a reference, and its CSV file.

Owns the columns. Scores follow the conventions of the BraTS challenges (:mod:`voxelsmith.core.region_scores`).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxelsmith.core.region_scores import RegionScore, score_regions
from voxelsmith.core.regions import REGION_TITLES, REGIONS, Convention, Region
from voxelsmith.core.volume import LabelVolume
from voxelsmith.io.atomic import replacing
from voxelsmith.segment.tumour.result import volumes_ml

COLUMNS = ("region", "title", "volume_ml", "unreliable", "dice", "sensitivity", "hd95_mm", "reference_ml")


@dataclass(frozen=True)
class ReportRow:
    """One region.

    Parameters
    ----------
    region
        WT, TC or ET.
    volume_ml
        Millilitres.
    unreliable
        Why it cannot be relied on; empty if it can.
    score
        Against a reference; None without one.
    """

    region: Region
    volume_ml: float
    unreliable: str = ""
    score: RegionScore | None = None

    def as_record(self) -> dict[str, Any]:
        """The row by column; what is not known is an empty text."""
        record: dict[str, Any] = dict.fromkeys(COLUMNS, "")
        record |= {"region": self.region, "title": REGION_TITLES[self.region], "volume_ml": self.volume_ml}
        record["unreliable"] = self.unreliable
        if self.score is not None:
            record |= {name: getattr(self.score, name) for name in ("dice", "sensitivity", "hd95_mm", "reference_ml")}
        return record


def report_rows(
    depth: LabelVolume,
    unreliable: Mapping[Region, str],
    reference: LabelVolume | None = None,
    convention: Convention | None = None,
) -> tuple[ReportRow, ...]:
    """A row for each region.

    Parameters
    ----------
    depth
        Depths 0 to 3.
    unreliable
        Regions that cannot be relied on, and why.
    reference
        Labels of an expert on the same grid.
    convention
        Of the reference; needed with one.

    Raises
    ------
    GeometryError
        If the reference lies on another grid.
    InputError
        If it has labels that its convention does not know.
    """
    scores: dict[Region, RegionScore] = {}
    if reference is not None and convention is not None:
        depth.require_same_grid(reference)
        scores = score_regions(convention.depth(reference.array), depth.array, depth.spacing)
    volumes = volumes_ml(depth)
    return tuple(ReportRow(r, volumes[r], unreliable.get(r, ""), scores.get(r)) for r in REGIONS)


def write_report(rows: tuple[ReportRow, ...], path: Path | str) -> None:
    """Write rows as CSV; the file appears complete or not at all."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerows(row.as_record() for row in rows)
