"""Overlap and surface distance of labels against MONAI, SimpleITK and DeepMind's surface-distance."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from voxelsmith.core.metrics import compare, dice, hd95, surface_distances

GOLDEN = Path(__file__).parents[1] / "golden" / "hvit"
NUMBERS = json.loads((GOLDEN / "metrics.json").read_text())["masks"]
SPACINGS = {"spacing_1_1_1": (1.0, 1.0, 1.0), "spacing_1.5_1.0_0.8": (1.5, 1.0, 0.8)}


def masks(label):
    arrays = np.load(GOLDEN / "metrics_40x44x36.npz")
    return arrays["labels_fixed"] == label, arrays["labels_moving"] == label


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("label", [1, 2, 3, 4])
def test_labels_get_the_numbers_of_other_libraries(spacing, label):
    expected, mm = NUMBERS[spacing][str(label)], SPACINGS[spacing]
    fixed, moving = masks(label)
    for library in ("monai_dice", "sitk_dice", "surface_distance_dice"):
        assert dice(fixed, moving) == pytest.approx(expected[library], abs=1e-6)
    assert hd95(fixed, moving, mm) == pytest.approx(expected["monai_hd95"], rel=1e-5)
    largest = max(distances.max() for distances in surface_distances(fixed, moving, mm))
    for library in ("monai_hd100", "sitk_hausdorff", "surface_distance_hd100"):
        assert largest == pytest.approx(expected[library], rel=1e-6)
    assert compare(fixed, moving, mm)["mean_surface_distance_mm"] == pytest.approx(
        expected["monai_asd_symmetric"], rel=1e-5
    )


def test_voxels_and_surface_elements_differ_by_less_than_half_a_millimetre():
    """Published HD95 are often weighted by area; ours, as MONAI's, are over surface voxels, and may be larger."""
    for spacing, mm in SPACINGS.items():
        for label in (1, 2, 3, 4):
            weighted = NUMBERS[spacing][str(label)]["surface_distance_hd95"]
            assert -1e-6 <= hd95(*masks(label), mm) - weighted <= 0.5 + 1e-6


def test_a_label_that_is_missing_in_one_map():
    fixed, moving = masks(5)
    assert fixed.any()
    assert not moving.any()
    assert dice(fixed, moving) == NUMBERS["spacing_1_1_1"]["5"]["monai_dice"] == 0
    assert hd95(fixed, moving) == math.inf


def test_the_mean_over_labels_in_both_maps_is_the_challenges():
    present = NUMBERS["l2r_style_labels"]
    found = np.mean([dice(*masks(label)) for label in present])
    assert found == pytest.approx(NUMBERS["l2r_style_mean_dice"], abs=1e-6)
