"""The training-free engine on volumes with a known answer, and on everything that users will feed it."""

import dask.array as da
import numpy as np
import pytest
from phantoms import answer, ball, mask_of, noisy

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError, PromptError
from voxelsmith.core.metrics import dice
from voxelsmith.core.prompts import Box, MaskPrompt, ObjectPrompts, Point, Scribble, TextPrompt
from voxelsmith.core.resample import reorient
from voxelsmith.core.volume import Volume
from voxelsmith.segment.engine import PromptRequest, check_request
from voxelsmith.segment.training_free import TrainingFreeEngine

SHAPE, CENTRE = (40, 44, 36), (20, 22, 18)
TRUTH = ball(SHAPE, CENTRE, 11)
IMAGE = noisy(TRUTH)
BOX = Box.around(TRUTH)
# A small ball that touches a large one: does it belong to it?
LARGE, SMALL = ball((60, 36, 36), (30, 18, 18), 10), ball((60, 36, 36), (44, 18, 18), 4)
TOUCHING = noisy(LARGE | SMALL, noise=10)


@pytest.mark.parametrize(
    ("prompt", "least"),
    [(BOX, 0.96), (Point(CENTRE), 0.9), (Scribble([[i, 22, 18] for i in range(14, 27)]), 0.9)],
    ids=["box", "point", "scribble"],
)
def test_a_bright_ball_in_noise(prompt, least):
    assert dice(TRUTH, mask_of(IMAGE, prompt)) > least


def test_a_dark_ball_is_an_object_too():
    assert dice(TRUTH, mask_of(noisy(TRUTH, contrast=-100), BOX)) > 0.96


def test_anisotropic_voxels():
    spacing = (0.7, 0.7, 4.0)
    truth = ball((60, 60, 14), (30, 28, 7), 15, spacing)
    assert dice(truth, mask_of(noisy(truth, spacing=spacing), Box.around(truth))) > 0.95


def test_an_object_that_is_worked_on_at_low_resolution():
    truth = ball((96, 96, 96), (48, 48, 48), 36)
    found = answer(noisy(truth), Box.around(truth))
    assert dice(truth, found.on_grid()) > 0.97


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kind", ["box", "point"])
def test_a_single_slice(axis, kind):
    truth = np.moveaxis(ball((1, 60, 60), (0, 30, 28), 14), 0, axis)
    prompt = Box.around(truth) if kind == "box" else Point(tuple(np.argwhere(truth).mean(axis=0)))
    assert dice(truth, mask_of(noisy(truth), prompt)) > 0.9


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [40, 90])
def test_voxels_that_are_not_finite(bad, size):
    truth = ball((size,) * 3, (size / 2,) * 3, size / 4)
    image = noisy(truth)
    array = image.array.copy()
    array[np.random.default_rng(1).random(array.shape) < 0.01] = bad
    array[:3] = bad
    assert dice(truth, mask_of(Volume(array), Box.around(truth))) > 0.9


def test_an_absurd_value_spoils_nothing():
    array = IMAGE.array.astype(np.float64)
    array[20, 22, 5] = 1e300
    assert dice(TRUTH, mask_of(Volume(array), BOX)) > 0.95


@pytest.mark.parametrize("prompt", [Box((1, 1, 1), (8, 8, 8)), Point((5, 5, 5))], ids=["box", "point"])
@pytest.mark.parametrize(("value", "sentence"), [(7.0, "constant"), (np.nan, "no finite voxel|constant")])
def test_nothing_to_tell_apart_is_told(prompt, value, sentence):
    with pytest.raises(InputError, match=sentence):
        mask_of(Volume(np.full((12, 12, 12), value)), prompt)


def test_a_negative_click_removes_the_neighbour():
    box = Box.around(LARGE | SMALL)
    assert mask_of(TOUCHING, box)[SMALL].mean() > 0.9
    after = mask_of(TOUCHING, box, Point((44, 18, 18), False))
    assert after[SMALL].mean() < 0.1
    assert after[LARGE].mean() > 0.97


def test_a_positive_click_adds_a_missed_part():
    box = Box.around(LARGE)
    assert mask_of(TOUCHING, box)[SMALL].mean() < 0.1
    after = mask_of(TOUCHING, box, Point((44, 18, 18)))
    assert after[SMALL].mean() > 0.9
    assert after[LARGE].mean() > 0.97


def test_a_mask_alone_comes_back_as_it_was():
    start = np.random.default_rng(0).random(SHAPE) > 0.97
    np.testing.assert_array_equal(mask_of(IMAGE, MaskPrompt(start)), start)
    np.testing.assert_array_equal(mask_of(IMAGE, MaskPrompt.cropped(start)), start)


def test_a_click_changes_an_earlier_mask_only_near_itself():
    half = TRUTH.copy()
    half[24:] = False
    speck = ball(SHAPE, (6, 6, 30), 2)
    after = mask_of(IMAGE, MaskPrompt.cropped(half | speck), Point((27, 22, 18)))
    assert (after & TRUTH)[24:].sum() > 0.3 * TRUTH[24:].sum()
    changed = np.argwhere(after != (half | speck))
    assert np.linalg.norm(changed - (27, 22, 18), axis=1).max() < 15
    np.testing.assert_array_equal(after[:12], (half | speck)[:12])


def test_a_far_negative_click_leaves_an_earlier_mask_alone():
    start = MaskPrompt.cropped(ball(SHAPE, (10, 10, 10), 4))
    np.testing.assert_array_equal(mask_of(IMAGE, start, Point((39, 43, 35), False)), mask_of(IMAGE, start))


@pytest.mark.parametrize("positive", [True, False])
def test_clicked_voxels_end_on_the_side_clicked(positive):
    rng = np.random.default_rng(2)
    inside, outside = np.argwhere(TRUTH), np.argwhere(~TRUTH & (ball(SHAPE, CENTRE, 15)))
    wrong = rng.permutation(outside if positive else inside)[:4]
    clicks = [Point(tuple(v), positive) for v in wrong[:2]]
    mask = mask_of(IMAGE, BOX, *clicks, Scribble(wrong[2:], positive))
    assert (mask[tuple(wrong.T)] == positive).all()


@pytest.mark.parametrize("last", [True, False])
def test_the_later_of_two_contradicting_prompts_counts(last):
    stroke = [[i, 22, 18] for i in range(15, 26)]
    mask = mask_of(IMAGE, BOX, Scribble(stroke, not last), Point((20, 22, 18), last))
    assert mask[20, 22, 18] == last


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        ((Point((40, 0, 0)),), "outside the image"),
        ((Box((50, 50, 50), (60, 60, 60)),), "outside the image"),
        ((TextPrompt("ball"),), "does not read words"),
        ((BOX, TextPrompt("ball")), "it reads boxes, points, scribbles, earlier masks"),
        ((), "Say where the object is"),
        ((Point(CENTRE, False),), "Say where the object is"),
        ((MaskPrompt(np.ones((60, 60, 60), bool)),), "resample it"),
    ],
)
def test_prompts_that_cannot_be_answered_are_told(prompts, sentence):
    with pytest.raises(PromptError, match=sentence):
        answer(IMAGE, *prompts)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (Volume(np.zeros((4, 4, 4, 2)), extra_axis="time"), "one 3-D image.*pick a frame"),
        (Volume(np.zeros((4, 4, 4), complex)), "real numbers"),
    ],
)
def test_images_that_cannot_be_prompted_are_told(image, sentence):
    with pytest.raises(InputError, match=sentence):
        answer(image, Point((1, 1, 1)))


def test_a_box_partly_outside_is_clipped():
    image = noisy(ball(SHAPE, (2, 22, 18), 10))
    inside = mask_of(image, Box((0, 11, 7), (13, 33, 29)))
    np.testing.assert_array_equal(mask_of(image, Box((-50, 11, 7), (13, 33, 29))), inside)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64", ">i2", ">f8"])
def test_the_type_of_the_voxels_changes_nothing(dtype):
    array = np.clip(IMAGE.array / 2, 0, 255).astype(np.uint8)
    expected = mask_of(Volume(array), BOX)
    assert dice(TRUTH, expected) > 0.95
    np.testing.assert_array_equal(mask_of(Volume(array.astype(dtype)), BOX), expected)


def test_a_boolean_image():
    expected = mask_of(Volume(TRUTH.astype(np.uint8)), BOX)
    np.testing.assert_array_equal(mask_of(Volume(TRUTH), BOX), expected)
    assert dice(TRUTH, expected) > 0.9


@pytest.mark.parametrize("kind", ["box", "point"])
@pytest.mark.parametrize("size", [30, 80])
def test_lazy_images(kind, size):
    truth = ball((size,) * 3, (size / 2,) * 3, size / 3)
    image = noisy(truth)
    prompt = Box.around(truth) if kind == "box" else Point((size / 2,) * 3)
    lazy = Volume(da.from_array(image.array, chunks=20))
    np.testing.assert_array_equal(mask_of(lazy, prompt), mask_of(image, prompt))


def test_twice_the_same_is_the_same_and_the_image_stays():
    before = IMAGE.array.copy()
    prompts = (Point(CENTRE), Point((30, 22, 18), False))
    np.testing.assert_array_equal(mask_of(IMAGE, *prompts), mask_of(IMAGE, *prompts))
    np.testing.assert_array_equal(IMAGE.array, before)


@pytest.mark.parametrize("axcodes", ["LPS", "LSP", "PLI", "ASL", "IAR", "SPR"])
def test_the_stored_orientation_changes_next_to_nothing(axcodes):
    truth = ball((30, 26, 14), (15, 12, 7), 9, (1, 1, 2))
    image = noisy(truth, spacing=(1, 1, 2))
    clicks = [Point((15, 12, 7)), Point((26, 12, 7), False)]
    expected = mask_of(image, Box.around(truth), *clicks)
    turned = reorient(image, axcodes)
    turned_truth = reorient(image.labels(truth.astype(np.uint8)), axcodes).array
    home = turned.affine.inverse() @ image.affine
    turned_clicks = [Point(tuple(home.apply(p.index)), p.positive) for p in clicks]
    found = mask_of(turned, Box.around(turned_truth), *turned_clicks)
    back = reorient(turned.labels(found.astype(np.uint8)), image.affine.axcodes).array
    assert dice(expected, back) > 0.98


def test_an_affine_moves_nothing_but_the_mask():
    moved = Volume(IMAGE.array, Affine.from_spacing((1, 1, 1), (-300, 40, 1000)))
    np.testing.assert_array_equal(mask_of(moved, BOX), mask_of(IMAGE, BOX))


def test_one_voxel_is_constant():
    for prompt in (Point((0, 0, 0)), Box((0, 0, 0), (0, 0, 0))):
        with pytest.raises(InputError, match="constant"):
            mask_of(Volume(np.ones((1, 1, 1))), prompt)


@pytest.mark.parametrize("prompt", [Point((1, 1, 0)), Box((0, 0, 0), (2, 2, 0)), Box((1, 1, 0), (1, 1, 0))])
def test_nine_voxels_are_enough(prompt):
    image = Volume(np.array([[0, 1, 0], [1, 9, 1], [0, 1, 0]], float)[..., None])
    mask = mask_of(image, prompt)
    assert mask.shape == (3, 3, 1)
    if isinstance(prompt, Point):
        assert mask[1, 1, 0]


def test_a_box_around_the_whole_image():
    whole = Box((0, 0, 0), tuple(n - 1 for n in SHAPE))
    mask = mask_of(IMAGE, whole)
    assert mask[CENTRE]
    assert not mask.all()


def test_the_answer_names_its_request_and_engine():
    request = PromptRequest(IMAGE, ObjectPrompts((BOX,)), obj=3)
    found = answer(IMAGE, BOX)
    assert found.engine == "training-free"
    assert found.mask.shape == found.box.shape
    assert check_request(request, TrainingFreeEngine()) is None
