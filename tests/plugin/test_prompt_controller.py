"""The Prompt dock decides: a controller with a specified view, a viewer model and a fast engine, without a window."""

import threading
from unittest.mock import MagicMock

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Progress
from voxelsmith.core.prompts import Box, MaskPrompt, Point, Scribble
from voxelsmith.plugin.docks.prompt import looks
from voxelsmith.plugin.docks.prompt.controller import NEW_TARGET, PromptController
from voxelsmith.plugin.docks.prompt.view import PromptDock
from voxelsmith.plugin.layers import from_ijk, label_names, labels_like, to_stored
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.engine import Segmentation, check_request

BRIGHT = Box((6, 8, 4), (12, 15, 8))


class ThresholdEngine:
    """Bright voxels in the box, or everywhere, without the voxels that are marked as background."""

    name = "threshold"
    title = "Threshold"
    accepts = frozenset({Point, Box, Scribble, MaskPrompt})

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.calls = 0

    def segment(self, request):
        check_request(request, self)
        self.calls += 1
        yield Progress(0, 2, "waiting")
        while not self.gate.wait(0.005):
            yield Progress(1, 2, "waiting")
        full = Box((0, 0, 0), tuple(n - 1 for n in request.image.grid))
        box = request.prompts.boxes[-1] if request.prompts.boxes else full
        mask = request.image.array[box.slices] > 50
        for i, j, k in request.prompts.seeds(False):
            if box.contains((i, j, k)):
                mask[i - box.lo[0], j - box.lo[1], k - box.lo[2]] = False
        return Segmentation(request, box, mask, self.name)


class Desk:
    """A viewer with a controller on it."""

    def __init__(self, qtbot, viewer):
        self.qtbot, self.viewer = qtbot, viewer
        self.view = MagicMock(spec=PromptDock)
        self.view.live, self.view.overwrite, self.view.only_selected, self.view.object_name = True, False, False, ""
        self.view.press.side_effect = lambda action: self.controller.do(action)
        self.runner = JobRunner(viewer)
        self.engine = ThresholdEngine()
        self.controller = PromptController(self.view, viewer, self.runner, self.engine)

    @property
    def live(self):
        return self.controller.prompting

    @property
    def layers(self):
        return self.live.layers.layers

    @property
    def mask(self):
        """The preview in stored axes."""
        return to_stored(self.layers["preview"], np.asarray(self.layers["preview"].data)) != 0

    @property
    def status(self):
        return self.view.set_status.call_args.args[0]

    @property
    def possible(self):
        return self.view.set_possible.call_args.args[0]

    def settle(self):
        self.qtbot.waitUntil(lambda: not self.runner.running)

    def start(self):
        self.controller.start()
        return self

    def click(self, index, positive=True):
        self.controller.set_positive(positive)
        layer = self.layers["points"]
        layer.add(from_ijk(layer, [index])[0])

    def draw(self, lo, hi, axis=2):
        a = min({0, 1, 2} - {axis})
        corners = np.array([lo, lo, hi, hi], dtype=float)
        corners[1, a], corners[3, a] = hi[a], lo[a]
        layer = self.layers["box"]
        layer.add(from_ijk(layer, corners), shape_type="rectangle")

    def scribble(self, index, positive=True):
        layer = self.layers["scribbles"]
        layer.n_edit_dimensions = 3
        layer.brush_size = 1
        layer.paint(tuple(from_ijk(layer, [index])[0].astype(int)), 1 if positive else 2)
        self.qtbot.waitUntil(lambda: any(isinstance(p, Scribble) for p in self.live.prompts))


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def told():
    """The notifications of a test."""
    start = len(notification_manager.records)
    return lambda: [record.message for record in list(notification_manager.records)[start:]]


def bright_block(shape=(20, 24, 14), dtype=np.float32):
    """An image [i, j, k] whose voxels in BRIGHT are bright."""
    array = np.zeros(shape, dtype)
    array[BRIGHT.slices] = 100
    return array


@pytest.fixture
def desk(qtbot, viewer):
    array = bright_block()
    angle = np.deg2rad(20)
    rotate = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    viewer.add_image(
        array.transpose(2, 1, 0), name="scan", scale=(3, 1, 1.5), rotate=rotate, translate=(5, 6, 7), units="mm"
    )
    desk = Desk(qtbot, viewer)
    yield desk
    desk.engine.gate.set()
    desk.controller.close()


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
    desk.view.set_engine.assert_called_with("Threshold")


def test_start_without_an_image_says_so(qtbot, viewer, told):
    desk = Desk(qtbot, viewer).start()
    assert desk.live is None
    assert "open one" in told()[-1]
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
    assert "outside the image" in told()[-1]
    assert len(desk.layers["points"].data) == 1
    assert desk.live.prompts == (Point((9, 10, 6)),)
    desk.settle()


def test_an_empty_box_is_taken_back_with_a_sentence(desk, told):
    desk.start().draw((5, 5, 6), (5, 5, 6))
    assert "drag from one corner" in told()[-1]
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
    assert "allow overwriting" in told()[-1]
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
    assert "was removed or got other data" in told()[-1]
    assert desk.live.prompts == (Point((9, 10, 6)),)
    assert desk.mask.any()


def test_a_target_on_another_grid_is_refused(desk, told):
    other = desk.viewer.add_labels(np.zeros((14, 24, 20), np.uint8), name="other", scale=(2, 2, 2))
    desk.start().click((9, 10, 6))
    desk.settle()
    desk.controller.choose("target", "other")
    desk.controller.do("accept")
    assert "must lie on the grid" in told()[-1]
    assert not other.data.any()
    desk.controller.choose("target", NEW_TARGET)
    desk.controller.do("accept")
    assert desk.viewer.layers["scan · labels"].data.any()


def test_accepting_before_the_answer_is_refused(desk, told):
    target = labels_like(desk.viewer.layers["scan"], name="target")
    desk.viewer.add_layer(target)
    desk.start()
    desk.controller.choose("target", "target")
    desk.engine.gate.clear()
    desk.click((9, 10, 6))
    desk.controller.do("accept")
    assert "wait for it" in told()[-1]
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
    desk.controller.choose("mask", "rough")
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
    desk.controller.choose("mask", "coarse")
    desk.controller.do("mask")
    desk.qtbot.waitUntil(lambda: bool(desk.live.prompts))
    (prompt,) = desk.live.prompts
    assert np.abs(np.subtract(prompt.box.lo, BRIGHT.lo)).max() <= 1
    assert np.abs(np.subtract(prompt.box.hi, BRIGHT.hi)).max() <= 1
    assert "resampled" in desk.status


def test_a_mask_elsewhere_in_space_is_refused(desk, told):
    desk.viewer.add_labels(np.ones((4, 4, 4), np.uint8), name="far", translate=(900, 900, 900), units="mm")
    desk.start()
    desk.controller.choose("mask", "far")
    desk.controller.do("mask")
    desk.settle()
    assert "do not overlap" in told()[-1]
    assert desk.live.prompts == ()


def test_an_empty_mask_is_refused(desk, told):
    desk.viewer.add_layer(labels_like(desk.viewer.layers["scan"], name="empty"))
    desk.start()
    desk.controller.choose("mask", "empty")
    desk.controller.do("mask")
    assert "needs voxels" in told()[-1]


def test_a_changed_image_ends_the_session_and_keeps_the_preview(desk, told):
    desk.start().click((9, 10, 6))
    desk.settle()
    expected = np.array(desk.layers["preview"].data)
    desk.engine.gate.clear()
    desk.click((8, 9, 5), positive=False)
    desk.viewer.layers["scan"].data = np.zeros((14, 24, 20))
    assert desk.live is None
    assert any("was changed" in message for message in told())
    desk.engine.gate.set()
    desk.settle()
    kept = desk.viewer.layers["scan · not accepted"]
    np.testing.assert_array_equal(kept.data, expected)
    assert [layer.name for layer in desk.viewer.layers] == ["scan", "scan · not accepted"]


def test_a_removed_image_ends_the_session_during_its_job(desk):
    desk.start()
    desk.engine.gate.clear()
    desk.click((9, 10, 6))
    desk.viewer.layers.remove("scan")
    desk.qtbot.waitUntil(lambda: desk.live is None)
    desk.engine.gate.set()
    desk.settle()
    assert len(desk.viewer.layers) == 0


@pytest.mark.parametrize("kind", ["points", "box", "scribbles", "preview"])
def test_a_deleted_prompt_layer_comes_back_with_what_the_session_holds(desk, kind):
    desk.start().click((9, 10, 6))
    desk.draw((5, 7, 6), (13, 17, 6))
    desk.scribble((9, 11, 6))
    desk.settle()
    before, mask = desk.live.prompts, desk.mask
    gone = desk.layers[kind]
    desk.viewer.layers.remove(gone)
    desk.qtbot.waitUntil(lambda: desk.layers[kind] in desk.viewer.layers)
    assert desk.layers[kind] is not gone
    assert desk.live.prompts == before
    np.testing.assert_array_equal(desk.mask, mask)
    assert [p.index for p in desk.live.layers.points()] == [(9, 10, 6)]
    desk.click((10, 10, 6))
    assert len(desk.live.prompts) == 4
    desk.settle()


def test_closing_during_a_job_gives_everything_back(desk):
    viewer = desk.viewer
    before = dict(viewer.keymap)
    desk.start().click((9, 10, 6))
    assert len(viewer.keymap) > len(before)
    desk.engine.gate.clear()
    desk.click((8, 9, 5), positive=False)
    desk.controller.close()
    assert not desk.runner.running
    assert viewer.keymap == before
    assert not viewer.layers["scan"].locked
    assert not any(looks.is_helper(layer) for layer in viewer.layers)
    calls = desk.view.set_choices.call_count
    viewer.add_image(np.zeros((3, 3)))
    viewer.layers["scan"].data = np.zeros((14, 24, 20))
    assert desk.view.set_choices.call_count == calls


def test_keys_that_belonged_to_others_are_given_back(desk):
    def other(viewer):
        raise AssertionError

    desk.viewer.bind_key("N", other)
    desk.start()
    assert other not in desk.viewer.keymap.values()
    desk.controller.finish()
    assert desk.viewer.bind_key("N", None) is other


def test_keys_work_on_the_viewer_and_on_prompt_layers(desk):
    desk.start().click((9, 10, 6))
    desk.settle()
    for provider in (desk.viewer, desk.layers["points"], desk.layers["scribbles"]):
        function = provider.bind_key("Control-Z", None)
        provider.bind_key("Control-Z", function)
        desk.view.press.reset_mock()
        function(provider)
        desk.view.press.assert_called_once_with("undo")


def test_a_second_dock_is_told_that_one_session_is_enough(desk, told):
    desk.start()
    second = Desk(desk.qtbot, desk.viewer)
    second.controller.start()
    assert second.live is None
    assert "One prompting session at a time" in told()[-1]
    second.controller.close()
    desk.click((9, 10, 6))
    desk.settle()
    assert desk.mask.any()


def test_a_second_session_begins_where_the_first_was_finished(desk):
    desk.start().click((9, 10, 6))
    desk.settle()
    desk.controller.do("session")
    assert desk.live is None
    assert "not accepted" in desk.status
    desk.viewer.add_image(np.zeros((9, 9, 9)), name="second")
    desk.controller.choose("image", "second")
    desk.start()
    assert desk.live.image.name == "second"
    assert "second · points" in desk.viewer.layers


def test_the_choices_follow_the_layers(desk):
    def offered(kind):
        calls = [call.args for call in desk.view.set_choices.call_args_list if call.args[0] == kind]
        return calls[-1][1:]

    desk.viewer.add_labels(np.zeros((3, 3, 3), np.uint8), name="seg")
    desk.controller.choose("target", "seg")
    desk.viewer.layers["seg"].name = "renamed"
    assert offered("target") == ([NEW_TARGET, "renamed"], "renamed")
    desk.start()
    assert offered("image") == (["scan"], "scan")
    assert offered("mask")[0] == ["renamed"]
    desk.viewer.layers.remove("renamed")
    assert offered("target") == ([NEW_TARGET], None)


def test_a_2d_image_needs_no_depth(qtbot, viewer):
    viewer.add_image(bright_block()[:, :, 6].T, name="photo", scale=(2, 1))
    desk = Desk(qtbot, viewer).start()
    layer = desk.layers["box"]
    layer.add(np.array([[7, 5], [7, 13], [17, 13], [17, 5]], float), shape_type="rectangle")
    desk.settle()
    assert desk.live.box == Box((5, 7, 0), (13, 17, 0))
    desk.view.set_depth.assert_called_with(None)
    assert layer.nshapes == 1
    desk.layers["points"].add((10, 9))
    desk.settle()
    desk.controller.do("accept")
    assert viewer.layers["photo · labels"].data.shape == (24, 20)
    assert viewer.layers["photo · labels"].data[10, 9] == 1
    desk.controller.close()


def test_colours_are_turned_into_luminance_and_the_user_is_told(qtbot, viewer):
    array = np.repeat(bright_block()[:, :, 6].T[..., None], 3, axis=2).astype(np.uint8)
    viewer.add_image(array, rgb=True, name="photo")
    desk = Desk(qtbot, viewer).start()
    assert "luminance" in desk.status
    np.testing.assert_allclose(desk.live.source.volume.array[:, :, 0], array[..., 0].T, atol=1e-3)
    desk.layers["points"].add((10, 9))
    desk.settle()
    assert desk.mask.any()
    desk.controller.close()


def test_of_a_time_series_the_frame_shown_is_used(qtbot, viewer):
    frames = np.zeros((3, 14, 24, 20), np.float32)
    frames[2] = bright_block().transpose(2, 1, 0)
    viewer.add_image(frames, name="series", axis_labels=("t", "k", "j", "i"))
    viewer.dims.set_point(0, 2)
    desk = Desk(qtbot, viewer).start()
    assert desk.live.source.frame == 2
    desk.click((9, 10, 6))
    desk.settle()
    assert Box.around(desk.mask) == BRIGHT
    target = viewer.add_labels(np.zeros_like(frames, dtype=np.uint8), name="all", axis_labels=("t", "k", "j", "i"))
    desk.controller.choose("target", "all")
    desk.controller.do("accept")
    assert target.data[2].any()
    assert not target.data[:2].any()
    viewer.dims.set_point(0, 1)
    assert "Frame 1 is shown" in desk.status
    viewer.dims.set_point(0, 2)
    assert "Frame" not in desk.status
    desk.controller.close()


def test_an_engine_that_refuses_is_heard_and_the_dock_goes_on(desk, told):
    class Picky(ThresholdEngine):
        def segment(self, request):
            yield Progress(0, 1)
            raise InputError("The image is constant; there is nothing to find in it.")

    desk.engine = desk.controller._engine = Picky()
    desk.start().click((9, 10, 6))
    desk.settle()
    assert "constant" in told()[-1]
    assert "constant" in desk.status
    desk.click((8, 10, 6))
    desk.settle()
    assert len(desk.live.prompts) == 2


def test_an_image_that_is_too_large_to_be_loaded_is_refused_with_a_sentence(qtbot, viewer, told):
    from dask.array import zeros

    viewer.add_image(zeros((4000, 4000, 4000), chunks=(1, 4000, 4000), dtype=np.uint16), contrast_limits=(0, 1))
    desk = Desk(qtbot, viewer).start()
    assert desk.live is None
    assert "128.0 GB" in told()[-1]
    assert [layer.name for layer in viewer.layers] == ["Image"]
    desk.controller.close()


@pytest.fixture
def lazy_desk(qtbot, viewer):
    """A desk on an image that is read piece by piece; ``gate`` lets the reading go on."""
    from dask.array import from_array

    gate = threading.Event()
    gate.set()

    def read(block):
        assert gate.wait(10)
        return block

    blocks = from_array(bright_block(), chunks=(4, -1, -1)).map_blocks(read, dtype=np.float32)
    viewer.add_image(blocks, name="lazy", contrast_limits=(0, 100))
    gate.clear()
    made = Desk(qtbot, viewer)
    made.gate = gate
    yield made
    gate.set()
    made.controller.close()


def test_a_lazy_image_is_read_in_a_job_before_the_session_begins(lazy_desk):
    lazy_desk.controller.do("session")
    assert lazy_desk.live is None
    assert lazy_desk.runner.running
    assert "Reading" in lazy_desk.status
    lazy_desk.gate.set()
    lazy_desk.settle()
    lazy_desk.click((9, 10, 6))
    lazy_desk.settle()
    assert isinstance(lazy_desk.live.source.volume.array, np.ndarray)
    assert lazy_desk.mask.any()


def test_reading_a_lazy_image_can_be_cancelled(lazy_desk):
    lazy_desk.controller.do("session")
    lazy_desk.controller.do("cancel")
    lazy_desk.gate.set()
    lazy_desk.settle()
    assert lazy_desk.live is None
    assert [layer.name for layer in lazy_desk.viewer.layers] == ["lazy"]
    assert "Stopped" in lazy_desk.status


def test_the_preview_and_scribbles_have_a_colour_for_their_own_values_only(desk):
    desk.start()
    values = np.array([0, 1, 2, 3, 255], dtype=np.uint8)
    preview, scribbles = (desk.layers[kind].colormap.map(values) for kind in ("preview", "scribbles"))
    assert preview[:, 3].tolist() == [0, 1, 0, 0, 0]
    assert scribbles[:, 3].tolist() == [0, 1, 1, 0, 0]
    assert not np.array_equal(scribbles[1], scribbles[2])
