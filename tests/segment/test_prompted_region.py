"""What the network sees of a region."""

import numpy as np
import pytest
from phantoms import ball, noisy

from voxelsmith.core.prompts import Box
from voxelsmith.models.promptable import CHANNELS
from voxelsmith.segment.prompted_region import Contrast, PromptedRegion, boxes_map, click_map
from voxelsmith.segment.scene import Stroke
from voxelsmith.segment.zoom import Region

SHAPE = (40, 36, 32)
TRUTH = ball(SHAPE, (20, 18, 16), 9)
IMAGE = noisy(TRUTH)
BOX = Box.around(TRUTH)
WHOLE = Box((0, 0, 0), tuple(n - 1 for n in SHAPE))
FULL = Region.over(WHOLE, (1, 1, 1), 100_000)


def prompted(region=FULL, image=IMAGE, **options):
    return PromptedRegion(region.shrink(image.array), region, BOX, **{"drawn": [BOX], **options})


def channel(state, name):
    return state.inputs()[CHANNELS.index(name)]


def test_channels_come_in_the_networks_order_on_the_regions_grid():
    state = prompted()
    assert state.inputs().shape == (len(CHANNELS), *FULL.grid)
    assert state.inputs().dtype == np.float32
    assert channel(state, "guess")[TRUTH].mean() > 0.75
    assert channel(state, "guess")[~TRUTH].mean() < 0.05
    np.testing.assert_array_equal(channel(state, "box"), boxes_map(FULL, [BOX]))
    assert not channel(state, "positive").any()
    assert not channel(state, "negative").any()


def test_the_network_does_not_see_a_box_that_was_estimated():
    assert not channel(prompted(drawn=[]), "box").any()


@pytest.mark.parametrize("voxels", [100_000, 6_000])
def test_a_box_map_holds_as_much_as_the_box(voxels):
    region = Region.over(WHOLE, (1, 1, 1), voxels)
    cover = boxes_map(region, [Box((3, 5, 7), (21, 30, 17))])
    assert cover.sum() * np.prod(region.factors) == pytest.approx(19 * 26 * 11)
    assert cover.max() == pytest.approx(1)


def test_several_boxes_are_all_drawn_and_none_of_what_is_in_them_is_tidied_away():
    small = np.zeros(SHAPE, dtype=bool)
    small[33:36, 30:33, 26:29] = True
    boxes = [BOX, Box.around(small)]
    image = noisy(TRUTH | small, noise=5)
    region = PromptedRegion(FULL.shrink(image.array), FULL, boxes[0].union(boxes[1]), drawn=boxes)
    assert channel(region, "box").sum() == sum(np.prod(b.shape) for b in boxes)
    assert channel(region, "guess")[small].mean() > 0.5


def test_a_click_map_is_one_at_the_clicks_and_local():
    at = np.array([[0, 0, 0], [20, 10, 31]])
    clicks = click_map(SHAPE, at)
    assert (clicks[tuple(at.T)] == 1).all()
    assert clicks[10, 10, 16] == 0
    assert clicks[1, 0, 0] == clicks[0, 1, 0] == pytest.approx(np.exp(-0.5 / 1.5**2))


def test_brightness_in_other_units_makes_no_difference():
    guess = TRUTH.astype(np.float32)
    one = Contrast.of(IMAGE.array, guess).channels(IMAGE.array)
    scaled = (IMAGE.array * 37 - 1000).astype(np.float32)
    other = Contrast.of(scaled, guess).channels(scaled)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


def test_the_focus_puts_the_object_in_the_middle_even_beside_something_much_brighter():
    array = IMAGE.array.copy()
    array[:6] += 10_000
    plain, focus = Contrast.of(array, TRUTH.astype(np.float32)).channels(array)
    away = ~TRUTH
    away[:6] = False
    assert abs(focus[TRUTH].mean()) < 0.1
    assert abs(focus[TRUTH].mean() - focus[away].mean()) > 3 * abs(plain[TRUTH].mean() - plain[away].mean())


@pytest.mark.parametrize("value", [0.0, 1e30, -4.0])
def test_a_constant_crop_has_finite_channels(value):
    image = np.full((4, 4, 4), value, dtype=np.float32)
    for made in Contrast.of(image, np.zeros((4, 4, 4), dtype=np.float32)).channels(image):
        assert np.isfinite(made).all()


@pytest.mark.parametrize("positive", [True, False])
def test_a_click_bends_the_guess_around_it_and_leaves_the_rest(positive):
    state = prompted()
    state.take(np.full(FULL.grid, 0.5, dtype=np.float32))
    at = np.array([[20, 18, 16]]) if positive else np.array([[20, 18, 4]])
    state.add(Stroke(at, positive))
    after = state.guess
    there = after[tuple(at[0])]
    assert (there > 0.9) if positive else (there < 0.1)
    assert channel(state, "positive" if positive else "negative")[tuple(at[0])] == 1
    assert not channel(state, "negative" if positive else "positive").any()
    np.testing.assert_allclose(after[:3, :3], 0.5, atol=0.05)


@pytest.mark.parametrize("start", [None, ball(SHAPE, (18, 18, 16), 7).astype(np.float32)], ids=["box", "mask"])
def test_answers_after_the_first_count_half(start):
    state = prompted(start=start)
    if start is None:
        state.take(np.full(FULL.grid, 0.25, dtype=np.float32))
        np.testing.assert_array_equal(state.guess, np.float32(0.25))
    before = state.guess
    state.take(np.ones(FULL.grid, dtype=np.float32))
    np.testing.assert_allclose(state.guess, (before + 1) / 2)
    assert state.guess.dtype == np.float32


def test_a_branch_goes_its_own_way():
    state = prompted()
    before = state.inputs().copy()
    twin = state.branch()
    twin.add(Stroke(np.array([[20, 18, 4]]), True))
    twin.take(np.zeros(FULL.grid, dtype=np.float32))
    np.testing.assert_array_equal(state.inputs(), before)
    again = state.branch()
    again.add(Stroke(np.array([[20, 18, 4]]), True))
    third = prompted()
    third.add(Stroke(np.array([[20, 18, 4]]), True))
    np.testing.assert_array_equal(again.inputs(), third.inputs())


def test_an_earlier_mask_is_the_first_guess():
    start = ball(SHAPE, (18, 18, 16), 7).astype(np.float32)
    np.testing.assert_array_equal(prompted(start=start).guess, start)
