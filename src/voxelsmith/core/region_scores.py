"""Scores of tumour regions as the BraTS challenges give them.

Owns the conventions for empty regions: two empty regions agree (Dice 1, HD95 0 mm), and a region that only one side has
is as wrong as can be (Dice 0, HD95 373.13 mm, about the diagonal of a 240 x 240 x 155 mm image). The measures
themselves are those of :mod:`voxelsmith.core.metrics`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from voxelsmith.core.metrics import compare
from voxelsmith.core.regions import REGIONS, Region, region_masks

WORST_HD95_MM = 373.13


@dataclass(frozen=True)
class RegionScore:
    """How well one region was found.

    Parameters
    ----------
    dice, sensitivity
        0 to 1.
    hd95_mm
        95th percentile of the Hausdorff distance in millimetres.
    reference_ml, prediction_ml
        Volumes in millilitres.
    """

    dice: float
    sensitivity: float
    hd95_mm: float
    reference_ml: float
    prediction_ml: float


def score_regions(
    reference: npt.NDArray[Any], prediction: npt.NDArray[Any], spacing: npt.ArrayLike
) -> dict[Region, RegionScore]:
    """Score WT, TC and ET.

    Parameters
    ----------
    reference, prediction : integer arrays, shape (I, J, K)
        Depths 0 to 3, as in :mod:`voxelsmith.core.regions`.
    spacing
        Voxel size along i, j and k in millimetres.
    """
    scores: dict[Region, RegionScore] = {}
    for region, truth, found in zip(REGIONS, region_masks(reference), region_masks(prediction), strict=True):
        m = compare(truth, found, spacing)
        far = m["hd95_mm"] if math.isfinite(m["hd95_mm"]) else WORST_HD95_MM
        scores[region] = RegionScore(m["dice"], m["sensitivity"], far, m["reference_ml"], m["prediction_ml"])
    return scores
