"""Scores of tumour regions: those of the metrics, in BraTS' conventions where a region is empty."""

import numpy as np
import pytest

from voxelsmith.core.metrics import dice, hd95, sensitivity
from voxelsmith.core.region_scores import score_regions

SPACING = (1.0, 2.0, 5.0)


def tumour(shift=0):
    depth = np.zeros((16, 14, 12), np.uint8)
    depth[2 + shift : 10 + shift, 2:10, 2:10] = 1
    depth[3 + shift : 8 + shift, 3:8, 3:8] = 2
    return depth


def test_regions_are_scored_as_masks():
    reference, found = tumour(), tumour(2)
    scores = score_regions(reference, found, SPACING)
    for place, region in enumerate(("WT", "TC"), start=1):
        a, b = reference >= place, found >= place
        assert scores[region].dice == dice(a, b) < 1
        assert scores[region].sensitivity == sensitivity(a, b) < 1
        assert scores[region].hd95_mm == hd95(a, b, SPACING)
        assert scores[region].reference_ml == pytest.approx(a.sum() * 10 / 1000)
        assert scores[region].prediction_ml == pytest.approx(b.sum() * 10 / 1000)


@pytest.mark.parametrize(("axis", "far"), [(0, 3.0), (1, 6.0), (2, 15.0)])
def test_distances_are_in_millimetres_along_every_axis(axis, far):
    reference = np.zeros((9, 9, 9), np.uint8)
    reference[2, 2, 2] = 3
    scores = score_regions(reference, np.roll(reference, 3, axis), SPACING)
    assert {s.hd95_mm for s in scores.values()} == {far}


def test_two_empty_regions_agree():
    scores = score_regions(tumour(), tumour(), SPACING)
    assert (scores["ET"].dice, scores["ET"].hd95_mm, scores["ET"].reference_ml) == (1, 0, 0)


def test_a_region_that_only_one_side_has_is_as_wrong_as_can_be():
    with_core = tumour()
    with_core[5, 5, 5] = 3
    for pair in ((tumour(), with_core), (with_core, tumour())):
        score = score_regions(*pair, SPACING)["ET"]
        assert (score.dice, score.sensitivity, score.hd95_mm) == (0, 0, 373.13)
