"""The closer look."""

import numpy as np
import pytest
from phantoms import ball

from voxelsmith.core.progress import run_job
from voxelsmith.core.prompts import Box
from voxelsmith.models.promptable import CHANNELS
from voxelsmith.segment.prompted_region import Contrast
from voxelsmith.segment.scene import Stroke
from voxelsmith.segment.windows import WINDOW, Windows, fine_region
from voxelsmith.segment.zoom import Region

SHAPE = (100, 90, 20)
TRUTH = ball(SHAPE, (50, 45, 10), 30, (1, 1, 3)).astype(np.float32)
REGION = Region.over(Box((0, 0, 0), (99, 89, 19)), (1, 1, 3), 1_000_000)
BOX = Box((20, 15, 0), (80, 75, 19))
GUESS = CHANNELS.index("guess")


class Spy:
    """Answers the truth of its guess, and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, channels):
        self.asked.append(channels.copy())
        return channels[GUESS] * np.float32(0.8) + np.float32(0.1)


def windows(drawn=(BOX,)):
    image = TRUTH * 100
    return Windows(image, REGION, Contrast.of(image, TRUTH), drawn)


def test_a_region_that_is_fine_already_is_not_looked_at_again():
    whole = Box((0, 0, 0), (59, 59, 59))
    coarse = Region.over(whole, (1, 1, 1), 250_000)
    assert fine_region(coarse, np.ones(3), 1_000_000) is None
    coarse = Region.over(whole, (1, 1, 1), 50_000)
    assert fine_region(coarse, np.ones(3), 1_000_000).grid == (60, 60, 60)


def test_windows_with_surface_are_answered_and_the_rest_stays():
    spy = Spy()
    fine = run_job(windows().refine(TRUTH, [], spy))
    assert fine.shape == SHAPE
    np.testing.assert_array_equal(fine > 0.5, TRUTH > 0.5)
    surface = fine[50, 44:46, 10]
    np.testing.assert_allclose(surface, 0.9, atol=1e-6)
    assert 1 < len(spy.asked) <= 4
    assert all(n <= WINDOW for asked in spy.asked for n in asked.shape[1:])


@pytest.mark.parametrize("shape", [(200, 90, 1), (200, 4, 90)])
def test_a_thin_region_is_looked_at_closer_in_all_of_its_slices(shape):
    truth = np.zeros(shape, dtype=np.float32)
    truth[30:160, :, 20:80] = 1 if shape[2] > 1 else 0
    truth[30:160, 20:80] = 1 if shape[2] == 1 else truth[30:160, 20:80]
    region = Region.over(Box((0, 0, 0), tuple(n - 1 for n in shape)), (1, 1, 1), 1_000_000)
    fine = run_job(Windows(truth, region, Contrast.of(truth, truth), []).refine(truth, [], Spy()))
    np.testing.assert_allclose(fine, truth * np.float32(0.8) + np.float32(0.1), atol=1e-6)


@pytest.mark.parametrize("value", [0, 1])
def test_without_surface_nothing_is_asked(value):
    spy = Spy()
    coarse = np.full(SHAPE, value, dtype=np.float32)
    np.testing.assert_array_equal(run_job(windows().refine(coarse, [], spy)), coarse)
    assert not spy.asked


def test_every_window_sees_the_box_and_clicks_of_both_signs():
    spy = Spy()
    strokes = [Stroke(np.array([[50, 45, 10]]), True), Stroke(np.array([[52, 40, 3]]), False)]
    run_job(windows().refine(TRUTH, strokes, spy))
    for name in ("positive", "negative"):
        assert all(asked[CHANNELS.index(name)].max() == 1 for asked in spy.asked)
    assert all(asked[CHANNELS.index("box")].max() == 1 for asked in spy.asked)
    spy = Spy()
    run_job(windows(drawn=()).refine(TRUTH, [], spy))
    assert not any(asked[CHANNELS.index("box")].any() for asked in spy.asked)


def test_what_a_click_does_not_change_is_not_computed_again():
    spy, closer = Spy(), windows()
    first = run_job(closer.refine(TRUTH, [], spy))
    asked = len(spy.asked)
    np.testing.assert_array_equal(run_job(closer.refine(TRUTH * np.float32(0.9), [], spy)) > 0.5, first > 0.5)
    assert len(spy.asked) == asked
    corner = [Stroke(np.array([[22, 20, 10]]), False)]
    run_job(closer.refine(TRUTH, corner, spy))
    assert asked < len(spy.asked) < 2 * asked
