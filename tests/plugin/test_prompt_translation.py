"""Rectangles, rays and strokes as prompts, without a viewer."""

import numpy as np
import pytest

from voxelsmith.core.errors import PromptError
from voxelsmith.core.prompts import Box, MaskPrompt, Point, Scribble
from voxelsmith.plugin.docks.prompt.boxes import DrawnBox, Rectangle, edges, outline
from voxelsmith.plugin.docks.prompt.ray import pick, voxels_on_ray
from voxelsmith.plugin.docks.prompt.translate import merge, paint, same

GRID = (40, 50, 30)


def rectangle(axis, at, first, last):
    """Corners of a rectangle on a slice, given the extents along the two other axes."""
    a, b = sorted({0, 1, 2} - {axis})
    corners = np.full((4, 3), float(at))
    corners[:, a] = first[0], last[0], last[0], first[0]
    corners[:, b] = first[1], first[1], last[1], last[1]
    return Rectangle.from_corners(corners, GRID)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_rectangle_covers_the_voxels_it_touches(axis):
    drawn = rectangle(axis, 12, (4.6, 7.4), (9.4, 11.6))
    a, b = sorted({0, 1, 2} - {axis})
    assert drawn.axis == axis
    assert drawn.slice == 12
    assert (drawn.box.lo[a], drawn.box.hi[a]) == (5, 9)
    assert (drawn.box.lo[b], drawn.box.hi[b]) == (7, 12)


def test_a_rectangle_is_cut_at_the_border_of_the_image():
    assert rectangle(2, 3, (-9, 10), (5, 99)).box == Box((0, 10, 3), (5, 49, 3))


def test_a_rectangle_outside_the_image_is_refused():
    with pytest.raises(PromptError, match="outside the image"):
        rectangle(2, 3, (-9, 10), (-4, 20))


@pytest.mark.parametrize("last", [(10, 20), (10.2, 30), (25, 20.3)])
def test_a_rectangle_without_area_is_refused(last):
    with pytest.raises(PromptError, match="drag from one corner"):
        rectangle(2, 3, (10, 20), last)


def test_default_depth_is_the_mean_side_in_millimetres():
    drawn = DrawnBox.first(rectangle(2, 15, (9.5, 19.5), (19.5, 39.5)), (1, 1, 5), GRID)
    # Sides of 10 and 20 mm: 15 mm are three slices of 5 mm, one or two on each side of the drawn one.
    assert drawn.box == Box((10, 20, 13), (19, 39, 17))
    assert drawn.slices == (15,)


def test_default_depth_stays_inside_the_image():
    assert DrawnBox.first(rectangle(2, 1, (10, 10), (30, 30)), (1, 1, 1), GRID).box.lo[2] == 0


def test_a_second_rectangle_on_the_same_axis_sets_the_depth_from_slice_to_slice():
    first = DrawnBox.first(rectangle(2, 10, (10, 10), (20, 20)), (1, 1, 1), GRID)
    both = first.extended(rectangle(2, 14, (12, 8), (24, 18)))
    assert both.box == Box((10, 8, 10), (24, 20, 14))
    assert both.extended(rectangle(2, 6, (12, 10), (13, 11))).box == Box((10, 8, 6), (24, 20, 14))


def test_a_rectangle_on_another_axis_sets_the_depth_itself():
    first = DrawnBox.first(rectangle(2, 10, (10, 10), (20, 20)), (1, 1, 1), GRID)
    assert first.extended(rectangle(0, 15, (5, 2), (18, 27))).box == Box((10, 5, 2), (20, 20, 27))


def test_moving_an_outline_keeps_the_depth():
    first = DrawnBox.first(rectangle(2, 10, (10, 10), (20, 20)), (1, 1, 1), GRID)
    moved = first.reshaped(rectangle(2, 11, (15, 12), (28, 22)))
    assert moved.box.lo == (15, 12, first.box.lo[2])
    assert moved.box.hi == (28, 22, first.box.hi[2])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_outline_drawn_back_is_the_same_rectangle(axis):
    box = Box((3, 5, 7), (9, 20, 12))
    corners = outline(box, axis, box.lo[axis] + 1)
    back = Rectangle.from_corners(corners, GRID)
    assert DrawnBox(box, axis).reshaped(back).box == box
    assert outline(box, axis, box.hi[axis] + 1) is None


def test_a_box_has_twelve_edges_between_its_eight_corners():
    lines = np.array(edges(Box((3, 5, 7), (9, 20, 12))))
    assert lines.shape == (12, 2, 3)
    corners, uses = np.unique(lines.reshape(-1, 3), axis=0, return_counts=True)
    assert len(corners) == 8
    assert set(uses) == {3}


def test_a_ray_visits_each_voxel_of_the_image_once_in_order():
    voxels = voxels_on_ray((-5, 2, 2), (45, 2, 2), GRID)
    assert voxels[:, 0].tolist() == list(range(40))


@pytest.mark.parametrize(("positive", "expected"), [(False, 10), (True, 15)])
def test_a_click_on_the_preview(positive, expected):
    image, preview = np.zeros(GRID), np.zeros(GRID, np.uint8)
    image[30, 2, 2] = 9
    preview[10:15, 2, 2] = 1
    assert pick(image, preview, (-1, 2, 2), (41, 2, 2), positive) == (expected, 2, 2)


def test_a_click_beside_the_preview_takes_the_brightest_voxel():
    image = np.zeros(GRID)
    image[30, 2, 2], image[31, 2, 2] = 9, np.nan
    assert pick(image, np.zeros(GRID, np.uint8), (41, 2, 2), (-1, 2, 2), True) == (30, 2, 2)


def test_a_ray_beside_the_image_is_refused():
    with pytest.raises(PromptError, match="missed"):
        pick(np.zeros(GRID), np.zeros(GRID), (-5, -5, 2), (45, -5, 2), True)


def test_merge_keeps_what_is_there_drops_what_is_gone_and_appends_what_is_new():
    ink = np.zeros((4, 4, 4), np.uint8)
    old = (Point((1, 1, 1)), MaskPrompt(np.ones((1, 1, 1), bool)), Point((2, 2, 2), False), Box((0, 0, 0), (1, 1, 1)))
    box = Box((0, 0, 0), (2, 2, 2))
    new = merge(old, [Point((2, 2, 2), False), Point((3, 3, 3))], box, ink)
    assert new == (old[1], old[2], Point((3, 3, 3)), box)
    assert new[0] is old[1]
    assert same(merge(new, [Point((2, 2, 2), False), Point((3, 3, 3))], box, ink), new)


def test_strokes_become_scribbles_and_erasing_takes_from_them():
    ink = np.zeros((4, 4, 4), np.uint8)
    ink[0, :2, 0], ink[3, 3, 3] = 1, 2
    first = merge((), [], None, ink)
    assert [(s.positive, s.voxels.tolist()) for s in first] == [(True, [[0, 0, 0], [0, 1, 0]]), (False, [[3, 3, 3]])]
    ink[0, 1, 0], ink[2, 2, 2] = 0, 1
    second = merge(first, [], None, ink)
    assert [(s.positive, s.voxels.tolist()) for s in second] == [
        (True, [[0, 0, 0]]),
        (False, [[3, 3, 3]]),
        (True, [[2, 2, 2]]),
    ]
    assert second[1] is first[1]
    again = np.zeros_like(ink)
    paint(again, second)
    np.testing.assert_array_equal(again, ink)


def test_a_scribble_painted_over_with_the_other_polarity_is_gone():
    old = Scribble([[1, 1, 1]])
    ink = np.zeros((4, 4, 4), np.uint8)
    ink[1, 1, 1] = 2
    (only,) = merge((old,), [], None, ink)
    assert not only.positive
