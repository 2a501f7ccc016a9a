"""The Few-shot dock on a viewer model: a proposal is shown, accepted, corrected and taken back."""

import numpy as np
import pytest
from fewshot_bench import GRID, UNSURE, Bench, body, truth
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QComboBox

from voxelsmith.core.affine import Affine
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import write
from voxelsmith.plugin.layers import from_ijk, namespaced
from voxelsmith.segment.fewshot import AUTOMATIC


@pytest.fixture
def bench(qtbot, viewer, monkeypatch):
    bench = Bench(qtbot, viewer, monkeypatch)
    yield bench
    bench.engine.gate.set()
    bench.controller.close()


class TestProposal:
    def test_the_visible_slice_comes_first_then_the_volume(self, bench):
        bench.add_slice(3)
        bench.look_at(5)
        bench.engine.gate.clear()
        bench.dock.propose_button.click()
        bench.qtbot.waitUntil(lambda: bench.shown is not None)
        np.testing.assert_array_equal(bench.shown[:, :, 5], truth()[:, :, 5])
        assert not bench.shown[:, :, np.arange(GRID[2]) != 5].any()
        assert not bench.dock.propose_button.isEnabled()
        bench.engine.gate.set()
        bench.settle()
        np.testing.assert_array_equal(bench.shown, truth())
        assert "A note." in bench.status
        assert not bench.dock.proposal.strip.isHidden()
        made = namespaced(bench.controller.proposing.preview.layer)["provenance"]
        assert made["support"] == [bench.support.examples[0].content_hash]
        assert bench.engine.requests[0].engine == AUTOMATIC

    def test_cancel_leaves_everything_as_it_was(self, bench):
        bench.add_slice(3)
        before = bench.names
        for start in ("nothing", "a proposal"):
            shown = bench.shown
            bench.engine.labels = np.roll(truth(), 2, 0)
            bench.engine.gate.clear()
            bench.engine.seen.clear()
            bench.look_at(6)
            bench.dock.propose_button.click()
            bench.qtbot.waitUntil(lambda: bench.shown is not None and "from shapes" in bench.status)
            bench.dock.progress.cancel_button.click()
            bench.settle()
            assert "nothing was changed" in bench.status
            if start == "nothing":
                assert bench.names == before
                bench.engine.labels = truth()
                bench.engine.gate.set()
                bench.propose()
            else:
                np.testing.assert_array_equal(bench.shown, shown)

    def test_a_result_for_an_image_that_changed_is_parked(self, bench, told):
        bench.add_slice(3)
        bench.engine.gate.clear()
        bench.dock.propose_button.click()
        bench.qtbot.waitUntil(bench.engine.seen.is_set)
        bench.image.data = bench.image.data + 1
        bench.engine.gate.set()
        bench.settle()
        assert "was changed" in told[-1]
        assert bench.shown is None
        assert len(bench.dock.runner.parked) == 1

    def test_unsure_slices_are_visited_in_turn_without_the_annotated_ones(self, bench):
        bench.add_slice(UNSURE[1])
        bench.propose()
        visited = []
        for _ in range(2):
            bench.press("worst")
            visited.append(bench.controller.slices.position(2))
        assert visited == [UNSURE[0], UNSURE[2]]
        bench.viewer.dims.order = (1, 0, 2)
        bench.press("worst")
        assert bench.controller.slices.axis == 2

    def test_the_strip_and_the_slider_move_the_viewer(self, bench):
        bench.add_slice(3)
        bench.propose()
        bench.dock.proposal.strip.chosen.emit(8)
        assert bench.controller.slices.position(2) == 8
        bench.qtbot.waitUntil(lambda: bench.dock.proposal.slider.value() == 8)
        bench.dock.proposal.slider.setValue(2)
        assert bench.controller.slices.position(2) == 2
        bench.look_at(6)
        bench.qtbot.waitUntil(lambda: bench.dock.proposal.slice_label.text() == "Slice 6 of 11")

    def test_deleting_the_preview_discards_the_proposal(self, bench):
        bench.add_slice(3)
        bench.propose()
        bench.viewer.layers.remove(bench.controller.proposing.preview.layer)
        assert bench.shown is None
        assert not bench.dock.proposal.buttons["accept_all"].isEnabled()

    def test_what_was_not_accepted_is_left_when_the_dock_closes(self, bench):
        bench.add_slice(3)
        bench.propose()
        bench.controller.close()
        assert "scan · not accepted" in bench.names


class TestAccepting:
    @pytest.fixture
    def proposed(self, bench):
        bench.add_slice(3)
        bench.look_at(5)
        bench.propose()
        return bench

    def test_a_slice_a_class_all_and_back(self, proposed):
        bench = proposed
        start = bench.labels.copy()
        bench.press("accept_slice")
        np.testing.assert_array_equal(bench.labels[:, :, 5], truth()[:, :, 5])
        np.testing.assert_array_equal(np.delete(bench.labels, 5, 2), np.delete(start, 5, 2))
        bench.dock.classes.choose(2)
        bench.press("accept_class")
        np.testing.assert_array_equal(bench.labels == 2, truth() == 2)
        assert (bench.labels == 1).sum() < (truth() == 1).sum()
        bench.press("accept_all")
        np.testing.assert_array_equal(bench.labels, truth())
        assert namespaced(bench.target)["made_by"][2]["engine"] == "same-volume"
        for _ in range(3):
            bench.press("undo")
        np.testing.assert_array_equal(bench.labels, start)
        for _ in range(3):
            bench.press("redo")
        np.testing.assert_array_equal(bench.labels, truth())

    def test_painted_slices_and_other_labels_stay(self, proposed):
        bench = proposed
        changed = np.roll(truth(), 3, 0)
        bench.engine.labels = changed
        bench.propose()
        bench.labels[:, :, 9] = 7
        bench.press("accept_all")
        np.testing.assert_array_equal(bench.labels[:, :, 3], truth()[:, :, 3])
        assert (bench.labels[:, :, 9] == 7).all()
        bench.dock.proposal.overwrite_box.setChecked(True)
        bench.press("accept_all")
        np.testing.assert_array_equal(bench.labels[:, :, 3], truth()[:, :, 3])
        np.testing.assert_array_equal(bench.labels[:, :, 9] == 1, changed[:, :, 9] == 1)

    def test_into_a_new_layer(self, proposed):
        bench = proposed
        bench.choose("target", "New labels layer")
        bench.press("accept_all")
        assert bench.target.name == "scan · labels [1]"
        np.testing.assert_array_equal(bench.labels, truth())

    def test_undo_when_the_layer_is_gone_says_so(self, proposed, told):
        bench = proposed
        bench.press("accept_all")
        bench.viewer.layers.remove(bench.target)
        bench.press("undo")
        assert "taken back" in told[-1]
        assert bench.dock.proposal.buttons["undo"].isEnabled()

    def test_correct_and_propose_again(self, proposed):
        bench = proposed
        bench.press("correct")
        assert bench.viewer.layers.selection.active is bench.target
        assert bench.target.mode == "paint"
        np.testing.assert_array_equal(bench.labels[:, :, 5], truth()[:, :, 5])
        bench.labels[0, :, 5] = 1
        bench.propose()
        assert [e.slices for e in bench.support.examples] == [(3,), (5,)]
        request = bench.engine.requests[-1]
        assert (request.support.examples[1].labels.array[0, :, 5] == 1).all()
        assert len(bench.engine.requests) == 2


class TestSpaces:
    def test_slices_of_an_oblique_flipped_image_are_the_right_ones(self, qtbot, viewer, monkeypatch):
        turned = Affine(np.array([[0, 0, -3.0, 5], [-1.5, 0.1, 0, 2], [0.1, 1.2, 0, 9], [0, 0, 0, 1]]))
        bench = Bench(qtbot, viewer, monkeypatch, affine=turned)
        bench.controller.slices.face(2)
        bench.add_slice(4)
        bench.look_at(6)
        bench.propose()
        np.testing.assert_array_equal(bench.shown, truth())
        assert bench.engine.requests[0].view == 6
        bench.press("accept_slice")
        np.testing.assert_array_equal(bench.labels[:, :, 6], truth()[:, :, 6])
        bench.controller.close()

    def test_a_proposal_stays_with_its_frame(self, bench, told):
        one = body()
        series = Volume(np.stack([one.array, one.array[::-1]], 3), one.affine, "series", extra_axis="time")
        layer = bench.open(series)
        bench.choose("image", "series")
        middle = layer.data_to_world(from_ijk(layer, [(10, 12, 3)])[0])
        bench.viewer.dims.point = middle
        bench.dock.classes.paint_button.click()
        bench.labels[:, :, 3] = truth()[:, :, 3]
        bench.dock.support.buttons["slice"].click()
        bench.settle()
        np.testing.assert_array_equal(bench.support.examples[0].image.array, one.array)
        bench.propose()
        bench.viewer.dims.point = (1, *middle[1:])
        bench.press("accept_all")
        assert "of frame 0, but frame 1" in told[-1]
        bench.viewer.dims.point = middle
        bench.press("accept_all")
        np.testing.assert_array_equal(bench.labels, truth())

    def test_a_single_2d_image_is_a_sentence(self, bench):
        bench.viewer.add_image(np.zeros((8, 9)), name="flat")
        bench.choose("image", "flat")
        assert "single 2-D image" in bench.dock.engine_part.reason.text()

    def test_a_range_goes_to_the_engine(self, bench, tmp_path):
        write(body(seed=2), tmp_path / "other.nii.gz")
        write(LabelVolume(truth(), body().affine), tmp_path / "organs.nii.gz")
        bench.dock.support.pair_chosen.emit(str(tmp_path / "other.nii.gz"), str(tmp_path / "organs.nii.gz"))
        bench.settle()
        bench.dock.engine_part.range_box.setChecked(True)
        bench.dock.engine_part.range_slider.setValue((2, 9))
        bench.settle()
        assert "range of slices" in bench.dock.engine_part.reason.text()
        bench.propose()
        assert bench.engine.requests[0].known_range == (2, 9)


class TestLooks:
    def test_it_fits_into_320_pixels(self, bench):
        bench.image.name = "an image with quite a long name, as file names of scans often are"
        for index in range(5):
            bench.add_slice(2 + index)
        bench.propose()
        bench.dock.set_status("A note. " * 30)
        bench.dock.show()
        bench.dock.resize(320, 1200)
        assert bench.dock.minimumSizeHint().width() <= 320
        bench.qtbot.wait(50)
        dock = bench.dock
        for widget in (dock.support, dock.classes, dock.engine_part, dock.propose_button, dock.proposal, dock.status):
            assert widget.mapTo(dock, widget.rect().topRight()).x() <= 320
            assert widget.width() >= widget.minimumSizeHint().width()

    def test_everything_has_a_tooltip_and_keys_are_unique(self, bench):
        controls = [w for kind in (QAbstractButton, QComboBox) for w in bench.dock.findChildren(kind)]
        assert bench.dock.propose_button in controls
        assert [w for w in controls if not w.toolTip()] == []
        keys = [w.shortcut().toString() for w in bench.dock.findChildren(QAbstractButton) if not w.shortcut().isEmpty()]
        assert len(set(keys)) == len(keys)
        assert bench.dock.propose_button.shortcut().toString() == "Alt+O"

    def test_the_main_action_by_keyboard(self, bench):
        bench.add_slice(3)
        with bench.qtbot.waitActive(bench.dock):
            bench.dock.show()
            bench.dock.activateWindow()
        bench.dock.choices["image"].setFocus()
        bench.qtbot.keyClick(bench.dock.choices["image"], Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
        bench.settle()
        np.testing.assert_array_equal(bench.shown, truth())
