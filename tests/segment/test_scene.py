"""Scenes and the search for a size: clicks bend the result where they are, and boxes fit what was clicked."""

import numpy as np
import pytest
from phantoms import ball, noisy

from voxelsmith.core.errors import InputError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.core.prompts import Box, ObjectPrompts, Point, Scribble
from voxelsmith.core.volume import Volume
from voxelsmith.segment.extent import search_box
from voxelsmith.segment.scene import Scene, Settings, Stroke, finite, strokes_of
from voxelsmith.segment.zoom import Region

TRUTH = ball((24, 24, 24), (12, 12, 12), 7)
IMAGE = noisy(TRUTH)
BOX = Box.around(TRUTH)


@pytest.fixture
def scene():
    region = Region.over(Box((0, 0, 0), (23, 23, 23)), IMAGE.spacing, 100_000)
    return Scene.in_box(region.shrink(IMAGE.array), region, BOX, Settings())


def test_a_box_is_settled_on_the_object(scene):
    probability = scene.settle(scene.start(), 3)
    assert dice(TRUTH, probability > 0.5) > 0.95
    assert probability[~scene.inside].max() < 0.5


@pytest.mark.parametrize("positive", [True, False])
def test_a_stroke_changes_its_surroundings_and_fixes_its_voxels(scene, positive):
    before = scene.settle(scene.start(), 2)
    at = np.array([[12, 12, 12]]) if not positive else np.array([[12, 12, 20]])
    assert (before[tuple(at[0])] > 0.5) != positive
    scene.add(Stroke(at, positive), before)
    after = scene.settle(before, 1)
    assert (after[tuple(at[0])] > 0.5) == positive
    assert scene.reached[tuple(at[0])] == 1
    assert scene.reached[0, 0, 0] < 0.05


def test_a_correction_changes_nothing_beyond_its_reach(scene):
    before = scene.settle(scene.start(), 2)
    after = scene.correct(Stroke(np.array([[12, 12, 12]]), False), before)
    assert after[12, 12, 12] < 0.5 < before[12, 12, 12]
    beyond = scene.reached == 0
    assert beyond.any()
    np.testing.assert_array_equal(after[beyond], before[beyond])


def test_a_positive_stroke_may_leave_the_box(scene):
    outside = np.array([[12, 12, 21]])
    assert not scene.allowed[12, 12, 21]
    scene.add(Stroke(outside, True), scene.start())
    assert scene.allowed[12, 12, 21]
    assert not scene.inside[12, 12, 21]


def test_small_parts_are_dropped_unless_they_were_clicked(scene):
    probability = np.zeros(TRUTH.shape, np.float32)
    probability[8:16, 8:16, 8:16] = 1
    probability[6, 6, 6] = 1
    assert scene.tidy(probability)[6, 6, 6] == 0
    assert scene.tidy(probability)[10, 10, 10] == 1
    scene.add(Stroke(np.array([[6, 6, 6]]), True), probability)
    assert scene.tidy(probability)[6, 6, 6] == 1


def test_the_threshold_falls_where_the_box_would_stay_empty(scene):
    probability = scene.inside.astype(np.float32)
    assert scene.threshold(probability) == 0.5
    assert Settings().lowest_threshold <= scene.threshold(0.45 * probability) < 0.45
    assert scene.threshold(0 * probability) == Settings().lowest_threshold


def test_strokes_keep_their_order_and_what_lies_in_the_region():
    region = Region.over(Box((10, 10, 10), (19, 19, 19)), (1, 1, 1), 125)
    prompts = ObjectPrompts(
        (
            Point((10, 10, 10)),
            Point((0, 15, 15), False),
            BOX,
            Scribble([[12, 12, 12], [13, 13, 13], [25, 12, 12]], False),
            Point((19, 19, 19)),
        )
    )
    strokes = strokes_of(prompts, region)
    assert [s.positive for s in strokes] == [True, False, True]
    assert [s.voxels.tolist() for s in strokes] == [[[0, 0, 0]], [[1, 1, 1]], [[4, 4, 4]]]


def test_holes_in_the_data_become_dark():
    image = np.array([[[1.0, np.nan, np.inf, -np.inf, 5.0]]], np.float32)
    np.testing.assert_array_equal(finite(image), [[[1, 1, 1, 1, 5]]])
    clean = np.array([[[1.0, 2.0]]], np.float32)
    assert finite(clean) is clean


@pytest.mark.parametrize(("values", "sentence"), [([np.nan, np.inf], "no finite voxel"), ([3, 3], "constant")])
def test_nothing_to_tell_apart_is_told(values, sentence):
    with pytest.raises(InputError, match=sentence):
        finite(np.array([[values]], np.float32))


@pytest.mark.parametrize(
    ("shape", "centre", "radius", "spacing"),
    [((40, 40, 40), (20, 22, 18), 9, (1, 1, 1)), ((60, 60, 16), (30, 25, 8), 12, (0.8, 0.8, 3))],
)
def test_the_box_found_from_a_click_fits_the_object(shape, centre, radius, spacing):
    truth = ball(shape, centre, radius, spacing)
    image = noisy(truth, spacing=spacing)
    found = run_job(search_box(image, ObjectPrompts((Point(centre),)), Settings()))
    wanted = Box.around(truth)
    overlap = dice(_filled(found, shape), _filled(wanted, shape))
    assert overlap > 0.75


def _filled(box, shape):
    mask = np.zeros(shape, bool)
    mask[box.slices] = True
    return mask


def test_later_clicks_do_not_move_the_box():
    first, later = Point((12, 12, 12)), Point((3, 3, 3), False)
    alone = run_job(search_box(IMAGE, ObjectPrompts((first,)), Settings()))
    assert run_job(search_box(IMAGE, ObjectPrompts((first, later, Point((12, 12, 15)))), Settings())) == alone


def test_a_size_cannot_be_found_in_a_constant_image():
    with pytest.raises(InputError, match="constant around the clicks"):
        run_job(search_box(Volume(np.ones((20, 20, 20))), ObjectPrompts((Point((5, 5, 5)),)), Settings()))
