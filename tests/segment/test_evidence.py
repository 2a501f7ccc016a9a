"""Evidence: what brightness, position and clicks say, one at a time."""

import numpy as np
import pytest

from voxelsmith.segment.evidence import Appearance, AppearanceSettings, box_distance, box_log_odds, click_reach

ONES = np.ones(3)


def half_bright():
    """An image whose upper half is brighter, and the upper half as a mask."""
    upper = np.zeros((10, 10, 10), bool)
    upper[5:] = True
    image = np.random.default_rng(0).normal(0, 0.1, upper.shape) + upper
    return image.astype(np.float32), upper


def test_brightness_of_the_object_speaks_for_the_object():
    image, upper = half_bright()
    appearance = Appearance(image, np.ones_like(upper), ONES, AppearanceSettings())
    ratio = appearance.log_ratio(upper.astype(np.float32), (~upper).astype(np.float32))
    assert ratio[7:].min() > 0
    assert ratio[:3].max() < 0
    assert np.abs(ratio).max() <= AppearanceSettings().limit


@pytest.mark.parametrize("change", [lambda x: 5 * x - 300, lambda x: 0.001 * x])
def test_units_of_brightness_do_not_count(change):
    image, upper = half_bright()
    a, b = (Appearance(x, np.ones_like(upper), ONES, AppearanceSettings()) for x in (image, change(image)))
    np.testing.assert_allclose(a.fine, b.fine, atol=1e-3)


def test_voxels_that_are_not_finite_count_as_the_darkest():
    image, upper = half_bright()
    appearance = Appearance(image, np.ones_like(upper), ONES, AppearanceSettings())
    values = np.array([np.nan, np.inf, -np.inf, image.min(), image.max()], np.float32)
    np.testing.assert_allclose(appearance.normalise(values), [0, 0, 0, 0, 1], atol=1e-6)


def test_a_constant_focus_says_nothing():
    image = np.full((4, 4, 4), 7, np.float32)
    appearance = Appearance(image, np.ones(image.shape, bool), ONES, AppearanceSettings())
    half = np.full(image.shape, 0.5, np.float32)
    np.testing.assert_allclose(appearance.log_ratio(half, half), 0, atol=1e-6)


def test_the_middle_of_a_box_is_likelier_than_its_corners():
    distance, inside = box_distance((9, 9, 9), np.array([4.0, 4.0, 4.0]), np.array([3.0, 3.0, 2.0]))
    assert distance[4, 4, 4] == 0
    assert distance[7, 4, 4] == pytest.approx(1)
    assert distance[4, 4, 6] == pytest.approx(1)
    assert inside.sum() == 7 * 7 * 5
    odds = box_log_odds(distance)
    assert odds[4, 4, 4] > 0 > odds[7, 4, 4] > odds[7, 7, 6]


def test_a_click_carries_through_similar_tissue_only():
    level = np.zeros((11, 11, 11), np.float32)
    level[6:] = 1
    reach = click_reach(level, ONES, np.array([[4, 5, 5]]), 4.0, 0.3, 4.0)
    assert reach[4, 5, 5] == 1
    assert reach[1, 5, 5] > 0.5 > reach[7, 5, 5]
    assert reach[3, 5, 5] > reach[2, 5, 5] > reach[1, 5, 5]


def test_the_reach_is_in_millimetres():
    reach = click_reach(np.zeros((15, 15, 15), np.float32), np.array([1, 1, 3.0]), np.array([[7, 7, 7]]), 3.0, 0.3, 4.0)
    assert reach[10, 7, 7] == pytest.approx(reach[7, 7, 8], rel=1e-5)
    assert reach[10, 7, 7] == pytest.approx(np.exp(-0.5), rel=1e-5)


def test_a_click_in_the_corner_stays_in_the_grid():
    reach = click_reach(np.zeros((5, 5, 5), np.float32), ONES, np.array([[0, 0, 0], [4, 4, 4]]), 2.0, 0.3, 4.0)
    assert reach[0, 0, 0] == reach[4, 4, 4] == 1
