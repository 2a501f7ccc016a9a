"""The Prompt dock chooses between engines, moves the threshold, and shows probabilities."""

import numpy as np
import pytest
from desk import Desk, ThresholdEngine
from napari.layers import Image

from blob import BlobEngine, EmptyEngine, MissingEngine, PointBlobEngine, offer
from voxelsmith.core.prompts import Box, Point
from voxelsmith.plugin.docks.prompt import looks
from voxelsmith.plugin.layers import namespaced, to_stored
from voxelsmith.segment.session import PromptSession

CLICK = (9, 10, 6)


@pytest.fixture
def desk(desk, monkeypatch, qtbot):
    """The desk again, made when more engines are offered."""
    offer(monkeypatch, BlobEngine, PointBlobEngine, MissingEngine, EmptyEngine)
    desk.controller.close()
    made = Desk(qtbot, desk.viewer)
    yield made
    made.engine.gate.set()
    made.controller.close()


def picked(desk):
    """The name that the picker shows."""
    return desk.view.set_engines.call_args.args[1]


def choose(desk, name):
    desk.controller.choose_engine(name)
    desk.settle()


def threshold(desk):
    """What the slider shows, and why it cannot be moved."""
    return desk.view.set_threshold.call_args.args


def maker(desk):
    return desk.view.set_maker.call_args.args[0]


def test_engines_are_offered_the_first_choice_first(desk):
    infos, chosen = desk.view.set_engines.call_args.args
    assert [i.name for i in infos] == [
        "threshold",
        "promptable",
        "training-free",
        "segvol",
        "segvol-official",
        "blob",
        "point-blob",
        "missing",
        "empty",
    ]
    assert chosen == "threshold"


def test_before_a_session_the_choice_is_stored_and_start_makes_the_engine_in_a_job(desk):
    choose(desk, "blob")
    assert (picked(desk), desk.live) == ("blob", None)
    desk.start()
    assert desk.live is None
    assert "Loading Gaussian blob" in desk.status
    desk.settle()
    assert isinstance(desk.live.session.engine, BlobEngine)
    desk.controller.finish()
    desk.start()
    assert desk.live is not None


def test_an_engine_that_cannot_be_made_starts_no_session(desk, told):
    choose(desk, "missing")
    desk.start()
    desk.settle()
    assert desk.live is None
    assert "run voxelsmith weights get missing" in told[-1]
    assert "weights get missing" in desk.status
    assert picked(desk) == "threshold"
    desk.start().click(CLICK)
    desk.settle()
    assert desk.mask.any()


def test_a_change_keeps_prompts_and_accepted_objects_and_answers_at_once(desk):
    desk.start().click(CLICK)
    desk.settle()
    desk.controller.do("accept")
    desk.click((5, 5, 5))
    desk.settle()
    labels = desk.viewer.layers["scan · labels"].data.copy()
    before, prompts = desk.mask, desk.live.prompts
    choose(desk, "blob")
    assert picked(desk) == "blob"
    assert desk.live.prompts == prompts
    np.testing.assert_array_equal(desk.viewer.layers["scan · labels"].data, labels)
    assert not np.array_equal(desk.mask, before)
    assert maker(desk) == "Mask by Gaussian blob, threshold 0.50"
    choose(desk, "threshold")
    np.testing.assert_array_equal(desk.mask, before)
    assert maker(desk) == "Mask by Threshold"
    assert desk.engine.calls == 2


def test_without_live_update_the_old_mask_says_who_made_it_until_run(desk):
    desk.start().click(CLICK)
    desk.settle()
    before = desk.mask
    desk.controller.set_live(False)
    choose(desk, "blob")
    np.testing.assert_array_equal(desk.mask, before)
    assert maker(desk) == "Mask by Threshold"
    assert "press Run" in desk.status
    desk.controller.do("run")
    desk.settle()
    assert maker(desk).startswith("Mask by Gaussian blob")


def test_a_change_during_an_answer_drops_that_answer(desk):
    desk.start()
    desk.engine.gate.clear()
    desk.click(CLICK)
    desk.controller.choose_engine("blob")
    desk.qtbot.waitUntil(lambda: picked(desk) == "blob" and not desk.controller._rack.loading)
    desk.engine.gate.set()
    desk.settle()
    assert desk.live.session.segmentation().engine == "blob"
    assert maker(desk).startswith("Mask by Gaussian blob")


def test_an_engine_that_does_not_read_the_prompts_is_refused_and_the_picker_returns(desk, told):
    desk.start().draw((5, 7, 6), (13, 17, 6))
    desk.settle()
    before = desk.mask
    choose(desk, "point-blob")
    assert "Point blob does not read boxes" in told[-1]
    assert picked(desk) == "threshold"
    np.testing.assert_array_equal(desk.mask, before)
    desk.click(CLICK)
    desk.settle()
    assert desk.live.session.segmentation().engine == "threshold"


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_an_engine_without_its_model_gives_way_to_the_one_before(desk, told, name):
    desk.start().click(CLICK)
    desk.settle()
    before = desk.mask
    choose(desk, name)
    assert f"weights get {name}" in told[-1]
    assert picked(desk) == "threshold"
    np.testing.assert_array_equal(desk.mask, before)
    assert "accept" in desk.possible
    desk.click((9, 11, 6))
    desk.settle()
    assert desk.live.session.segmentation().engine == "threshold"


def test_the_loading_of_an_engine_can_be_cancelled(desk):
    desk.start()
    desk.controller.choose_engine("blob")
    desk.controller.do("cancel")
    desk.settle()
    assert picked(desk) == "threshold"
    assert desk.live.session.engine is desk.engine


def test_the_latest_of_two_quick_choices_counts(desk):
    desk.start()
    desk.controller.choose_engine("blob")
    desk.controller.choose_engine("point-blob")
    desk.settle()
    assert (picked(desk), desk.live.session.engine.name) == ("point-blob", "point-blob")
    desk.controller.choose_engine("blob")
    desk.controller.choose_engine("threshold")
    desk.settle()
    assert (picked(desk), desk.live.session.engine.name) == ("threshold", "threshold")


def test_tools_that_the_engine_does_not_read_are_disabled(desk):
    desk.viewer.add_labels(np.zeros((14, 24, 20), np.uint8), name="rough")
    desk.start()
    assert desk.view.set_tools.call_args.args[0] >= {"points", "box", "scribbles"}
    assert "mask" in desk.possible
    desk.controller.use_tool("box")
    choose(desk, "point-blob")
    assert desk.view.set_tools.call_args.args[0] == {"points"}
    assert desk.live.layers.tool == "points"
    assert "mask" not in desk.possible
    desk.controller.use_tool("box")
    assert "does not read box" in desk.status
    assert desk.live.layers.tool == "points"
    desk.controller.do("mask")
    assert "does not start from masks" in desk.status


def test_the_engine_is_kept_with_the_accepted_object_and_undone_with_it(desk):
    desk.start()
    choose(desk, "blob")
    desk.click(CLICK)
    desk.settle()
    desk.controller.set_threshold(0.3)
    desk.controller.do("accept")
    target = desk.viewer.layers["scan · labels"]
    (row,) = desk.view.set_accepted.call_args.args[0]
    assert row.made_by == "Mask by Gaussian blob, threshold 0.30"
    assert namespaced(target)["made_by"] == {1: {"engine": "blob", "threshold": 0.3}}
    choose(desk, "threshold")
    (row,) = desk.view.set_accepted.call_args.args[0]
    assert "Gaussian blob" in row.made_by
    desk.controller.do("undo")
    assert namespaced(target)["made_by"] == {}
    assert maker(desk) == "Mask by Gaussian blob, threshold 0.30"
    desk.controller.do("redo")
    assert namespaced(target)["made_by"] == {1: {"engine": "blob", "threshold": 0.3}}


def test_the_threshold_cuts_the_preview_as_python_does_without_the_engine(desk):
    choose(desk, "blob")
    desk.start()
    desk.settle()
    desk.click(CLICK)
    desk.settle()
    assert threshold(desk) == (0.5, "")
    session = PromptSession(BlobEngine())
    session.set_image(desk.live.source.volume)
    session.prompt(Point(CLICK))
    for value in (0.12, 0.81, 0.4):
        desk.controller.set_threshold(value)
        session.set_threshold(value)
        np.testing.assert_array_equal(desk.mask, session.mask())
        assert threshold(desk) == (value, "")
        assert f"{session.mask().sum():,} voxels" in desk.status
    assert desk.live.session.engine.calls == 1
    desk.controller.do("accept")
    target = desk.viewer.layers["scan · labels"]
    np.testing.assert_array_equal(to_stored(target, target.data) == 1, session.mask())
    assert threshold(desk)[0] == 0.5


def test_the_threshold_stays_with_undo_and_new_prompts(desk):
    choose(desk, "blob")
    desk.start()
    desk.settle()
    desk.click(CLICK)
    desk.settle()
    desk.controller.set_threshold(0.2)
    wide = desk.mask
    desk.click((11, 12, 7))
    desk.settle()
    assert threshold(desk) == (0.2, "")
    desk.controller.do("undo")
    np.testing.assert_array_equal(desk.mask, wide)
    desk.controller.do("undo")
    assert "mark an object first" in threshold(desk)[1]


def test_a_mask_without_probabilities_says_why_its_threshold_is_fixed(desk, told):
    desk.start().click(CLICK)
    desk.settle()
    assert threshold(desk) == (0.5, "Threshold gives no probabilities, so its mask has no threshold")
    before = desk.mask
    desk.controller.set_threshold(0.3)
    assert "gives none" in told[-1]
    np.testing.assert_array_equal(desk.mask, before)


def probability(desk):
    layer = desk.viewer.layers["scan · probability"]
    return to_stored(layer, np.asarray(layer.data))


def test_the_probability_layer_follows_and_goes_with_the_session(desk):
    choose(desk, "blob")
    desk.view.probability_wanted = True
    desk.start()
    desk.settle()
    image, layer = desk.viewer.layers["scan"], desk.viewer.layers["scan · probability"]
    assert isinstance(layer, Image)
    np.testing.assert_allclose(layer.data_to_world((3, 4, 5)), image.data_to_world((3, 4, 5)))
    assert layer.units == image.units
    assert tuple(layer.contrast_limits) == (0, 1)
    assert desk.viewer.layers.selection.active is desk.layers["points"]
    assert desk.layers["points"].mode == "add"
    assert not probability(desk).any()
    desk.click(CLICK)
    desk.settle()
    first = probability(desk).copy()
    expected = desk.live.session.probability().on_grid((20, 24, 14))
    np.testing.assert_allclose(first, expected, atol=1e-3)
    desk.click((14, 16, 9))
    desk.settle()
    assert np.unravel_index(probability(desk).argmax(), first.shape) != np.unravel_index(first.argmax(), first.shape)
    desk.controller.do("undo")
    np.testing.assert_array_equal(probability(desk), first)
    desk.controller.do("accept")
    assert not probability(desk).any()
    choose(desk, "threshold")
    desk.click(CLICK)
    desk.settle()
    assert not probability(desk).any()
    desk.controller.finish()
    assert not any(looks.is_helper(layer) or "probability" in layer.name for layer in desk.viewer.layers)


def test_the_probability_layer_comes_and_goes_and_is_no_image_to_choose(desk):
    choose(desk, "blob")
    desk.start()
    desk.settle()
    desk.click(CLICK)
    desk.settle()
    desk.controller.show_probability(True)
    layers = desk.viewer.layers
    assert probability(desk).max() > 0.9
    assert layers.index(layers["scan · probability"]) == layers.index(desk.layers["preview"]) + 1
    offered = [call.args[1] for call in desk.view.set_choices.call_args_list if call.args[0] == "image"]
    assert offered[-1] == ["scan"]
    desk.controller.show_probability(False)
    assert "scan · probability" not in layers
    assert desk.viewer.layers.selection.active is desk.layers["points"]
    desk.controller.show_probability(True)
    layers.remove("scan · probability")
    desk.qtbot.waitUntil(lambda: desk.view.set_probability.called)
    desk.view.set_probability.assert_called_with(False)
    desk.controller.set_threshold(0.3)
    assert "scan · probability" not in layers


def test_cancel_leaves_mask_and_probabilities(desk):
    choose(desk, "blob")
    desk.view.probability_wanted = True
    desk.start()
    desk.settle()
    desk.click(CLICK)
    desk.settle()
    before = desk.mask, probability(desk).copy()
    choose(desk, "threshold")
    choose(desk, "blob")
    desk.engine.gate.clear()
    desk.live.use_engine(ThresholdEngineLike(desk.engine.gate))
    desk.controller.do("cancel")
    desk.settle()
    np.testing.assert_array_equal(desk.mask, before[0])
    np.testing.assert_array_equal(probability(desk), before[1])
    desk.controller.do("accept")
    assert namespaced(desk.viewer.layers["scan · labels"])["made_by"][1]["engine"] == "blob"


class ThresholdEngineLike(ThresholdEngine):
    """Another engine that waits at a gate."""

    name = "waiting"

    def __init__(self, gate):
        super().__init__()
        self.gate = gate


def test_a_box_prompt_asks_the_blob_for_its_middle(desk):
    choose(desk, "blob")
    desk.start()
    desk.settle()
    desk.draw((5, 7, 6), (13, 17, 6))
    desk.settle()
    assert desk.live.box is not None
    assert Box.around(desk.mask).contains((9, 12, 6))
