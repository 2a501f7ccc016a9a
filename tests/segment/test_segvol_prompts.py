"""The user's prompts reach every view of SegVol, where they belong."""

import numpy as np
import pytest

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import PromptError
from voxelsmith.core.prompts import Box, ObjectPrompts, Point, Scribble
from voxelsmith.core.resample import reorient
from voxelsmith.core.volume import Volume
from voxelsmith.segment.segvol.preprocess import prepare
from voxelsmith.segment.segvol.prompts import CropPrompts, farthest

AIR = 4


@pytest.fixture(scope="module")
def image():
    """400 x 300 x 60 voxels stored L, P, S with a margin of air."""
    array = np.zeros((400, 300, 60), dtype=np.int16)
    body = array[AIR:-AIR, AIR:-AIR, AIR:-AIR]
    body[:] = np.random.default_rng(0).integers(100, 120, body.shape)
    return Volume(array, Affine(np.diag([-1, -1, 2, 1])))


def crop_prompts(image, *prompts, text=None):
    return CropPrompts.of(ObjectPrompts(prompts), prepare(image), text)


def test_points_of_both_signs_box_and_word_reach_the_view_of_the_whole(image):
    word = np.ones(768, dtype=np.float32)
    made = crop_prompts(
        image, Point((200, 150, 30)), Box((AIR, 54, 10), (101, 103, 30)), Point((10, 20, 40), False), text=word
    )
    view = made.in_view((52, 292, 392))
    assert view.labels.tolist() == [1, 0]
    expected = (np.array([[26, 146, 196], [36, 16, 6]]) + 0.5) * np.array([32 / 52, 256 / 292, 256 / 392])
    np.testing.assert_array_equal(view.points, np.floor(expected))
    lo, hi = (6 * 32 / 52, 50 * 256 / 292, 0), (27 * 32 / 52, 100 * 256 / 292, 98 * 256 / 392)
    np.testing.assert_array_equal(view.box, [*np.round(lo), *(np.round(hi) - 1)])
    assert view.text is word


def test_the_box_of_a_view_is_that_of_its_nearest_voxels():
    image = Volume(np.pad(np.random.default_rng(1).random((90, 70, 50)) + 5, 1), Affine(np.diag([-1, -1, 1, 1])))
    made = prepare(image)
    mask = np.zeros(image.grid, dtype=bool)
    mask[7:43, 30:41, 11:22] = True
    view = crop_prompts(image, Box.around(mask)).in_view(made.shape)
    from voxelsmith.segment.segvol.resize import zoomed_out

    seen = Box.around(zoomed_out(made.axes.view(mask)[made.box.slices]))
    np.testing.assert_array_equal(view.box, [*seen.lo, *seen.hi])


@pytest.mark.parametrize("codes", ["RAS", "PIR", "SLA"])
def test_prompts_mean_the_same_place_in_any_orientation(image, codes):
    turned = reorient(image, codes)
    to_turned = turned.affine.inverse() @ image.affine
    point, corners = (60, 70, 20), np.array([(40, 50, 12), (90, 95, 33)])
    moved = np.sort(to_turned.apply(corners).round().astype(int), axis=0)
    views = [
        crop_prompts(image, Point(point), Box(*map(tuple, corners))).in_view((52, 292, 392)),
        crop_prompts(turned, Point(tuple(to_turned.apply(point))), Box(*map(tuple, moved))).in_view((52, 292, 392)),
    ]
    np.testing.assert_array_equal(views[0].points, views[1].points)
    np.testing.assert_array_equal(views[0].box, views[1].box)


def test_a_window_gets_its_points_of_both_signs_and_its_part_of_the_box(image):
    box = Box((50, 60, 10), (300, 200, 45))
    near, far = Point((150, 100, 30), False), Point((380, 100, 30), False)
    made = crop_prompts(image, box, Point((60, 70, 20)), near, far)
    origin = (10, 0, 100)
    window = made.in_window(origin, Box((1, 1, 1), (2, 2, 2)))
    np.testing.assert_array_equal(window.points, [[16, 96, 46]])
    assert window.labels.tolist() == [0]
    np.testing.assert_array_equal(window.box, [0, 56, 0, 31, 196, 196])
    other = made.in_window((0, 0, 136), None)
    np.testing.assert_array_equal(other.points, [[26, 96, 10], [26, 96, 240]])


def test_the_coarse_answer_stands_in_for_a_box_except_beside_a_word_alone(image):
    coarse = Box((3, 4, 5), (6, 7, 8))
    word = np.ones(768, dtype=np.float32)
    assert crop_prompts(image, Point((60, 70, 20))).in_window((0, 0, 0), None).box is None
    for prompts, text in (((Point((60, 70, 20)),), None), ((Point((60, 70, 20)),), word)):
        window = crop_prompts(image, *prompts, text=text).in_window((0, 0, 100), coarse)
        np.testing.assert_array_equal(window.box, [3, 4, 5, 6, 7, 8])
    alone = crop_prompts(image, text=word).in_window((0, 0, 0), coarse)
    assert alone.box is None
    assert alone.text is word


def test_a_scribble_gives_a_few_points_far_apart_and_always_the_same(image):
    line = np.stack([np.arange(50, 151), np.full(101, 80), np.full(101, 30)], axis=1)
    made = crop_prompts(image, Scribble(line), Scribble(line + np.array([0, 20, 0]), positive=False))
    w = made.points[made.positive][:, 2] + AIR
    assert w.tolist() == [100, 50, 150, 75, 125]
    assert (~made.positive).sum() == 5
    shuffled = crop_prompts(image, Scribble(np.random.default_rng(3).permutation(line)))
    np.testing.assert_array_equal(shuffled.points, made.points[made.positive])


def test_of_too_many_points_the_newest_and_the_farthest_are_taken(image):
    clicks = [Point((50 + n, 80, 30)) for n in range(30)]
    view = crop_prompts(image, *clicks, Point((300, 80, 30), False)).in_window((0, 0, 0), None)
    assert view.labels.tolist() == [1] * 10
    assert {50 - AIR, 79 - AIR} <= set(view.points[:, 2])


def test_farthest_points():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [10, 0, 0], [5, 0, 0]])
    assert farthest(points, 3, 0).tolist() == [0, 2, 3]
    assert sorted(farthest(points, 9, 1)) == [0, 1, 2, 3]
    assert sorted(farthest(np.zeros((3, 3)), 3, 1)) == [0, 1, 2]


def test_marks_in_the_air_are_refused_or_left_out(image):
    air = Point((1, 1, 1))
    for prompt in (air, Scribble([[0, 0, 0], [1, 0, 0]])):
        with pytest.raises(PromptError, match="background"):
            crop_prompts(image, prompt)
    with pytest.raises(PromptError, match="background"):
        crop_prompts(image, Box((0, 0, 0), (3, 200, 50)))
    made = crop_prompts(image, Point((60, 70, 20)), Point((1, 1, 1), False))
    assert made.positive.tolist() == [True]
    assert crop_prompts(image, air, text=np.ones(768, np.float32)).points.shape == (0, 3)


def test_several_boxes_count_as_the_box_around_them_and_end_at_the_crop(image):
    made = crop_prompts(image, Box((0, 50, 10), (60, 60, 20)), Box((40, 55, 5), (90, 99, 9)))
    assert made.box == Box((5 - AIR, 50 - AIR, 0), (20 - AIR, 99 - AIR, 90 - AIR))
