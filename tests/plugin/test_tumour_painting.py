"""Painting into tumour labels: nesting holds after every tool, and one undo takes everything back."""

import numpy as np
import pytest
from napari.layers import Labels

from voxelsmith.core.regions import CONVENTIONS, REGIONS
from voxelsmith.plugin.docks.tumour.painting import NestedPainting

MIDDLE = (4, 10, 10)


def nest(convention, shape=(9, 20, 20)):
    """Labels of three nested boxes."""
    depth = np.zeros(shape, np.uint8)
    for step, half in enumerate((7, 5, 2), start=1):
        depth[:, 10 - half : 10 + half + 1, 10 - half : 10 + half + 1] = step
    return convention.labels(depth)


@pytest.fixture(params=["brats2018", "brats2023", "msd", "brats2024"])
def convention(request):
    return CONVENTIONS[request.param]


@pytest.fixture
def layer(viewer, convention):
    layer = viewer.add_labels(nest(convention))
    layer.brush_size = 9
    return layer


@pytest.fixture
def chosen():
    return []


@pytest.fixture
def painting(layer, convention, chosen):
    return NestedPainting(layer, convention, chosen.append)


def depth(layer, convention):
    return convention.depth(layer.data)


def stroke(layer, *places, label=None):
    """A drag of the brush over places, one step of napari's history, as its mouse tool does it."""
    with layer.block_history():
        for place in places:
            layer.paint(place, layer.selected_label if label is None else label, refresh=False)


def test_whole_tumour_painted_over_the_core_leaves_the_core(layer, painting, convention):
    before = layer.data.copy()
    painting.choose("WT")
    stroke(layer, (4, 10, 2), (4, 10, 6), (4, 10, 10))
    was, now = convention.depth(before), depth(layer, convention)
    np.testing.assert_array_equal(now[was > 0], was[was > 0])
    assert np.count_nonzero((now == 1) & (was == 0)) > 10


def test_enhancing_tumour_painted_anywhere_lies_in_all_regions(layer, painting, convention):
    painting.choose("ET")
    layer.paint((4, 1, 1), layer.selected_label)
    assert depth(layer, convention)[4, 1, 1] == 3


@pytest.mark.parametrize("region", REGIONS)
def test_the_eraser_takes_a_region_with_what_lies_in_it(layer, painting, convention, region):
    was = depth(layer, convention)
    painting.choose(region)
    layer.brush_size = 41
    stroke(layer, MIDDLE, label=0)
    now, left = depth(layer, convention), REGIONS.index(region)
    np.testing.assert_array_equal(now[4], np.minimum(was[4], left))
    np.testing.assert_array_equal(now[5], was[5])


@pytest.mark.parametrize("label", ["brush", "eraser"])
def test_one_undo_takes_back_stroke_and_correction_and_one_redo_does_both(layer, painting, label):
    before = layer.data.copy()
    painting.choose("TC")
    stroke(layer, (4, 10, 4), (4, 10, 12), (4, 3, 12), label=0 if label == "eraser" else None)
    after = layer.data.copy()
    assert (after != before).any()
    for _ in range(2):
        layer.undo()
        np.testing.assert_array_equal(layer.data, before)
        layer.redo()
        np.testing.assert_array_equal(layer.data, after)


def test_two_strokes_are_two_steps(layer, painting):
    states = [layer.data.copy()]
    for region, place in (("WT", (4, 10, 3)), ("ET", (4, 10, 6))):
        painting.choose(region)
        stroke(layer, place)
        states.append(layer.data.copy())
    layer.undo()
    np.testing.assert_array_equal(layer.data, states[1])
    layer.undo()
    np.testing.assert_array_equal(layer.data, states[0])


@pytest.mark.parametrize("tool", ["fill", "polygon", "setitem"])
def test_other_tools_are_corrected_too(layer, painting, convention, tool):
    before = layer.data.copy()
    was = convention.depth(before)
    painting.choose("WT")
    label = layer.selected_label
    if tool == "fill":
        layer.fill(MIDDLE, label)
    elif tool == "polygon":
        layer.paint_polygon([(4, 6, 6), (4, 6, 14), (4, 14, 14), (4, 14, 6)], label)
    else:
        layer.data_setitem((np.array([4, 4]), np.array([10, 1]), np.array([10, 1])), label)
        assert depth(layer, convention)[4, 1, 1] == 1
    assert (depth(layer, convention)[was > 0] == was[was > 0]).all()
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)


def test_a_label_without_meaning_is_taken_back_and_told(layer, painting, told):
    before = layer.data.copy()
    layer.paint(MIDDLE, 9)
    np.testing.assert_array_equal(layer.data, before)
    assert "9 was painted and taken back" in told[0]


def test_the_brush_follows_the_region_and_the_region_the_label(layer, painting, convention, chosen):
    painting.choose("TC")
    assert layer.selected_label == convention.codes[1]
    layer.selected_label = convention.codes[2]
    assert painting.region == "ET"
    assert chosen == ["ET"]
    layer.selected_label = 0
    assert painting.region == "ET"


def test_after_release_painting_is_napari_s_again(layer, painting, convention):
    painting.choose("WT")
    painting.release()
    layer.paint(MIDDLE, layer.selected_label)
    assert depth(layer, convention)[MIDDLE] == 1


def test_a_transposed_array_is_corrected_where_it_lies(convention):
    stored = np.asfortranarray(nest(convention).transpose(2, 1, 0))
    layer = Labels(stored.transpose(2, 1, 0))
    painting = NestedPainting(layer, convention, lambda region: None)
    painting.choose("WT")
    layer.paint(MIDDLE, layer.selected_label)
    assert convention.depth(stored)[MIDDLE[::-1]] == 3
