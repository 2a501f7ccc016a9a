"""The Prompt dock lives: layers come and go, docks open and close, and images are of every kind."""

import threading

import numpy as np
import pytest
from desk import BRIGHT, Desk, ThresholdEngine, bright_block

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Progress
from voxelsmith.core.prompts import Box
from voxelsmith.plugin.docks.prompt import looks
from voxelsmith.plugin.docks.prompt.choices import NEW_TARGET


def test_a_changed_image_ends_the_session_and_keeps_the_preview(desk, told):
    desk.start().click((9, 10, 6))
    desk.settle()
    expected = np.array(desk.layers["preview"].data)
    desk.engine.gate.clear()
    desk.click((8, 9, 5), positive=False)
    desk.viewer.layers["scan"].data = np.zeros((14, 24, 20))
    assert desk.live is None
    assert any("was changed" in message for message in told)
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
    assert "One prompting session at a time" in told[-1]
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
    desk.controller.choices.choose("image", "second")
    desk.start()
    assert desk.live.image.name == "second"
    assert "second · points" in desk.viewer.layers


def test_the_choices_follow_the_layers(desk):
    def offered(kind):
        calls = [call.args for call in desk.view.set_choices.call_args_list if call.args[0] == kind]
        return calls[-1][1:]

    desk.viewer.add_labels(np.zeros((3, 3, 3), np.uint8), name="seg")
    desk.controller.choices.choose("target", "seg")
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
    desk.controller.choices.choose("target", "all")
    desk.controller.do("accept")
    assert target.data[2].any()
    assert not target.data[:2].any()
    viewer.dims.set_point(0, 1)
    assert "Frame 1 is shown" in desk.status
    viewer.dims.set_point(0, 2)
    assert "Frame" not in desk.status
    desk.controller.close()


def test_an_engine_that_refuses_is_heard_and_the_dock_goes_on(qtbot, viewer, told):
    class Picky(ThresholdEngine):
        def segment(self, request):
            yield Progress(0, 1)
            raise InputError("The image is constant; there is nothing to find in it.")

    viewer.add_image(bright_block(), name="scan")
    desk = Desk(qtbot, viewer, Picky()).start()
    desk.click((9, 10, 6))
    desk.settle()
    assert "constant" in told[-1]
    assert "constant" in desk.status
    desk.click((8, 10, 6))
    desk.settle()
    assert len(desk.live.prompts) == 2
    desk.controller.close()


def test_an_image_that_is_too_large_to_be_loaded_is_refused_with_a_sentence(qtbot, viewer, told):
    from dask.array import zeros

    viewer.add_image(zeros((4000, 4000, 4000), chunks=(1, 4000, 4000), dtype=np.uint16), contrast_limits=(0, 1))
    desk = Desk(qtbot, viewer).start()
    assert desk.live is None
    assert "128.0 GB" in told[-1]
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
