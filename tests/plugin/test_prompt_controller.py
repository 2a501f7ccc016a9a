"""The Prompt dock decides: a controller with a specified view, a viewer model and a fast engine, without a window."""

import numpy as np
import pytest
from desk import BRIGHT, Desk, bright_block

from voxelsmith.core.prompts import Box, Point
from voxelsmith.plugin.docks.prompt.choices import NEW_TARGET
from voxelsmith.plugin.layers import from_ijk, label_names, labels_like, to_stored


def test_start_makes_prompt_layers_on_the_image(desk):
    desk.start()
    image = desk.viewer.layers["scan"]
    assert [layer.name for layer in desk.viewer.layers] == [
        "scan",
        *(f"scan · {kind}" for kind in ("preview", "scribbles", "box", "points")),
    ]
    for layer in desk.layers.values():
        for index in ([0, 0, 0], [13, 23, 19]):
            np.testing.assert_allclose(layer.data_to_world(index), image.data_to_world(index))
        assert layer.units == image.units
    assert image.locked
    assert desk.viewer.layers.selection.active is desk.layers["points"]
    assert desk.layers["points"].mode == "add"
    infos, chosen = desk.view.set_engines.call_args.args
    assert (infos[0].title, chosen) == ("Threshold", "threshold")


def test_start_without_an_image_says_so(qtbot, viewer, told):
    desk = Desk(qtbot, viewer).start()
    assert desk.live is None
    assert "open one" in told[-1]
    desk.controller.close()


def test_a_click_is_answered_in_the_preview(desk):
    desk.start().click((9, 10, 6))
    assert desk.live.prompts == (Point((9, 10, 6)),)
    desk.settle()
    assert Box.around(desk.mask) == BRIGHT
    assert f"{desk.mask.sum():,} voxels" in desk.status
    assert "accept" in desk.possible


def test_negative_points_differ_in_meaning_colour_and_symbol(desk):
    desk.start().click((9, 10, 6))
    desk.click((8, 9, 5), positive=False)
    desk.settle()
    assert desk.live.prompts == (Point((9, 10, 6)), Point((8, 9, 5), False))
    assert not desk.mask[8, 9, 5]
    points = desk.layers["points"]
    assert len(set(points.symbol)) == 2
    assert not np.array_equal(points.face_color[0], points.face_color[1])


def test_moving_and_deleting_points_are_steps(desk):
    desk.start().click((9, 10, 6))
    desk.click((10, 10, 6))
    points = desk.layers["points"]
    moved = points.data.copy()
    moved[0] = from_ijk(points, [(11, 12, 7)])[0]
    points.data = moved
    assert desk.live.prompts == (Point((10, 10, 6)), Point((11, 12, 7)))
    points.selected_data = {1}
    points.remove_selected()
    assert desk.live.prompts == (Point((11, 12, 7)),)
    desk.controller.do("undo")
    desk.controller.do("undo")
    assert desk.live.prompts == (Point((9, 10, 6)), Point((10, 10, 6)))
    assert [p.index for p in desk.live.layers.points()] == [(9, 10, 6), (10, 10, 6)]
    desk.settle()


def test_a_click_outside_the_image_is_taken_back_with_a_sentence(desk, told):
    desk.start().click((9, 10, 6))
    desk.click((9, 10, 60))
    assert "outside the image" in told[-1]
    assert len(desk.layers["points"].data) == 1
    assert desk.live.prompts == (Point((9, 10, 6)),)
    desk.settle()


def test_an_empty_box_is_taken_back_with_a_sentence(desk, told):
    desk.start().draw((5, 5, 6), (5, 5, 6))
    assert "drag from one corner" in told[-1]
    assert desk.layers["box"].nshapes == 0
    assert desk.live.prompts == ()


def test_a_box_has_depth_in_millimetres_and_a_slider_for_it(desk):
    # Sides of 9 voxels of 1.5 mm and 11 of 1 mm are 12.25 mm on average: two slices of 3 mm on each side.
    desk.start().draw((5, 7, 6), (13, 17, 6))
    assert desk.live.box == Box((5, 7, 4), (13, 17, 8))
    title, first, last, count = desk.view.set_depth.call_args.args
    assert (first, last, count) == (4, 8, 14)
    assert "along k" in title
    desk.controller.set_depth(2, 10)
    assert desk.live.box == Box((5, 7, 2), (13, 17, 10))
    desk.settle()
    assert Box.around(desk.mask) == BRIGHT


def test_a_second_rectangle_extends_the_box_on_any_axis(desk):
    desk.start().draw((5, 7, 5), (13, 17, 5))
    desk.draw((5, 7, 9), (14, 17, 9))
    assert desk.live.box == Box((5, 7, 5), (14, 17, 9))
    desk.draw((9, 6, 2), (9, 16, 11), axis=0)
    assert desk.live.box == Box((5, 6, 2), (14, 17, 11))
    assert len(desk.live.prompts) == 1
    desk.settle()


def test_the_outline_follows_the_slice_shown_and_has_edges_in_3d(desk):
    desk.start().draw((5, 7, 6), (13, 17, 6))
    box, dims = desk.layers["box"], desk.viewer.dims
    for slice_number, outlines in ((4, 1), (8, 1), (9, 0), (0, 0), (6, 1)):
        dims.set_point(0, box.data_to_world((slice_number, 0, 0))[0])
        assert box.nshapes == outlines
    dims.ndisplay = 3
    assert box.nshapes == 12
    assert box.mode == "pan_zoom"
    dims.ndisplay = 2
    assert box.nshapes == 1
    assert desk.live.box == Box((5, 7, 4), (13, 17, 8))
    desk.settle()


def test_moving_the_outline_moves_the_box(desk):
    desk.start().draw((5, 7, 6), (13, 17, 6))
    box = desk.layers["box"]
    desk.viewer.dims.set_point(0, box.data_to_world((6, 0, 0))[0])
    moved = box.data[0] + from_ijk(box, [(2, 1, 0)])[0]
    box.data = [moved]
    assert desk.live.box == Box((7, 8, 4), (15, 18, 8))
    desk.settle()


def test_scribbles_of_both_kinds_are_prompts(desk):
    desk.start().scribble((9, 10, 6))
    desk.scribble((3, 3, 3), positive=False)
    desk.qtbot.waitUntil(lambda: len(desk.live.prompts) == 2)
    assert [(s.positive, s.voxels.tolist()) for s in desk.live.prompts] == [(True, [[9, 10, 6]]), (False, [[3, 3, 3]])]
    desk.controller.do("undo")
    assert np.flatnonzero(desk.live.layers.ink).size == 1
    desk.settle()


def test_only_background_asks_for_the_object_and_shows_nothing(desk):
    desk.start().click((9, 10, 6))
    desk.settle()
    desk.layers["points"].data = np.empty((0, 3))
    desk.click((9, 10, 6), positive=False)
    desk.settle()
    assert "Say where the object is" in desk.status
    assert not desk.mask.any()


def test_without_live_update_run_answers(desk):
    desk.start()
    desk.controller.set_live(False)
    desk.click((9, 10, 6))
    desk.settle()
    assert desk.engine.calls == 0
    assert "press Run" in desk.status
    desk.controller.do("run")
    desk.settle()
    assert Box.around(desk.mask) == BRIGHT


def test_accept_writes_the_next_free_label_with_its_name(desk):
    desk.start().click((9, 10, 6))
    desk.settle()
    desk.view.object_name = "nodule"
    expected = desk.mask
    desk.controller.do("accept")
    target = desk.viewer.layers["scan · labels"]
    np.testing.assert_array_equal(to_stored(target, target.data) == 1, expected)
    assert label_names(target) == {1: "nodule"}
    assert desk.live.prompts == ()
    assert not desk.mask.any()
    assert len(desk.layers["points"].data) == 0
    (row,) = desk.view.set_accepted.call_args.args[0]
    assert (row.label, row.name, row.voxels) == (1, "nodule", expected.sum())
    assert row.cubic_mm == pytest.approx(expected.sum() * 4.5)
    desk.view.set_object_name.assert_called_with("")


def test_accepted_labels_are_overwritten_only_if_the_user_says_so(desk, told):
    desk.start()
    for _ in range(2):
        desk.click((9, 10, 6))
        desk.settle()
        desk.controller.do("accept")
    target = desk.viewer.layers["scan · labels"]
    assert "allow overwriting" in told[-1]
    assert target.data.max() == 1
    desk.view.overwrite = True
    desk.controller.do("accept")
    assert set(np.unique(target.data)) == {0, 2}


def test_undo_and_redo_step_over_prompts_and_commits(desk):
    desk.start().click((9, 10, 6))
    desk.settle()
    expected = desk.mask
    desk.view.object_name = "nodule"
    desk.controller.do("accept")
    target = desk.viewer.layers["scan · labels"]
    desk.controller.do("undo")
    assert not target.data.any()
    assert label_names(target) == {}
    assert desk.live.prompts == (Point((9, 10, 6)),)
    np.testing.assert_array_equal(desk.mask, expected)
    assert desk.view.set_accepted.call_args.args[0] == []
    desk.controller.do("undo")
    assert not desk.mask.any()
    assert len(desk.layers["points"].data) == 0
    desk.controller.do("undo")
    assert desk.status == "There is nothing to undo."
    desk.controller.do("redo")
    desk.controller.do("redo")
    np.testing.assert_array_equal(to_stored(target, target.data) == 1, expected)
    assert label_names(target) == {1: "nodule"}
    assert desk.engine.calls == 1


def test_reset_clears_the_object_and_undo_brings_it_back(desk):
    desk.start().click((9, 10, 6))
    desk.draw((5, 7, 6), (13, 17, 6))
    desk.settle()
    desk.controller.do("reset")
    assert desk.live.prompts == ()
    assert desk.layers["box"].nshapes == 0
    assert not desk.mask.any()
    desk.controller.do("undo")
    assert len(desk.live.prompts) == 2
    assert desk.mask.any()


def test_undo_of_a_commit_whose_layer_is_gone_says_so(desk, told):
    desk.start().click((9, 10, 6))
    desk.settle()
    desk.controller.do("accept")
    desk.viewer.layers.remove("scan · labels")
    desk.controller.do("undo")
    assert "was removed or got other data" in told[-1]
    assert desk.live.prompts == (Point((9, 10, 6)),)
    assert desk.mask.any()


def test_a_target_on_another_grid_is_refused(desk, told):
    other = desk.viewer.add_labels(np.zeros((14, 24, 20), np.uint8), name="other", scale=(2, 2, 2))
    desk.start().click((9, 10, 6))
    desk.settle()
    desk.controller.choices.choose("target", "other")
    desk.controller.do("accept")
    assert "must lie on the grid" in told[-1]
    assert not other.data.any()
    desk.controller.choices.choose("target", NEW_TARGET)
    desk.controller.do("accept")
    assert desk.viewer.layers["scan · labels"].data.any()


def test_accepting_before_the_answer_is_refused(desk, told):
    target = labels_like(desk.viewer.layers["scan"], name="target")
    desk.viewer.add_layer(target)
    desk.start()
    desk.controller.choices.choose("target", "target")
    desk.engine.gate.clear()
    desk.click((9, 10, 6))
    desk.controller.do("accept")
    assert "wait for it" in told[-1]
    assert not target.data.any()
    desk.engine.gate.set()
    desk.settle()


def test_a_newer_prompt_supersedes_a_running_answer(desk):
    desk.start()
    desk.engine.gate.clear()
    desk.click((9, 10, 6))
    desk.click((8, 9, 5), positive=False)
    desk.engine.gate.set()
    desk.settle()
    assert not desk.mask[8, 9, 5]
    assert desk.mask[9, 10, 6]


def test_cancel_leaves_the_preview_as_it_was(desk):
    desk.start().click((9, 10, 6))
    desk.settle()
    before = desk.mask
    desk.engine.gate.clear()
    desk.click((8, 9, 5), positive=False)
    desk.controller.do("cancel")
    desk.settle()
    np.testing.assert_array_equal(desk.mask, before)
    assert "Stopped" in desk.status
    desk.engine.gate.set()
    desk.controller.do("run")
    desk.settle()
    assert not desk.mask[8, 9, 5]


def test_start_from_a_mask_on_the_same_grid(desk):
    mask = bright_block(dtype=np.uint8).transpose(2, 1, 0) // 100
    layer = labels_like(desk.viewer.layers["scan"], mask, name="rough")
    desk.viewer.add_layer(layer)
    desk.start()
    desk.controller.choices.choose("mask", "rough")
    desk.controller.do("mask")
    desk.qtbot.waitUntil(lambda: bool(desk.live.prompts))
    (prompt,) = desk.live.prompts
    assert prompt.box == BRIGHT
    desk.settle()


def test_start_from_a_mask_on_another_grid_resamples_and_says_so(desk):
    image = desk.viewer.layers["scan"]
    coarse = bright_block(dtype=np.uint8).transpose(2, 1, 0)[::2, ::2, ::2] // 100
    layer = labels_like(image, name="rough")
    placement = {"rotate": layer.rotate, "translate": layer.translate, "units": layer.units}
    desk.viewer.add_labels(np.ascontiguousarray(coarse), name="coarse", scale=layer.scale * 2, **placement)
    desk.start()
    desk.controller.set_live(False)
    desk.controller.choices.choose("mask", "coarse")
    desk.controller.do("mask")
    desk.qtbot.waitUntil(lambda: bool(desk.live.prompts))
    (prompt,) = desk.live.prompts
    assert np.abs(np.subtract(prompt.box.lo, BRIGHT.lo)).max() <= 1
    assert np.abs(np.subtract(prompt.box.hi, BRIGHT.hi)).max() <= 1
    assert "resampled" in desk.status


def test_a_mask_elsewhere_in_space_is_refused(desk, told):
    desk.viewer.add_labels(np.ones((4, 4, 4), np.uint8), name="far", translate=(900, 900, 900), units="mm")
    desk.start()
    desk.controller.choices.choose("mask", "far")
    desk.controller.do("mask")
    desk.settle()
    assert "do not overlap" in told[-1]
    assert desk.live.prompts == ()


def test_an_empty_mask_is_refused(desk, told):
    desk.viewer.add_layer(labels_like(desk.viewer.layers["scan"], name="empty"))
    desk.start()
    desk.controller.choices.choose("mask", "empty")
    desk.controller.do("mask")
    assert "needs voxels" in told[-1]
