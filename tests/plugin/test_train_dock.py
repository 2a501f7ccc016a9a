"""The Train dock with a training that does what the test tells it to."""

from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QTableWidget
from training_bench import PAINTED, bench_for, preview_of, row, truth

from voxelsmith.core.errors import ResourceError
from voxelsmith.plugin.layers import labels_like, to_stored
from voxelsmith.train.state import TrainingState
from voxelsmith.train.tvunet import ShowSlice, TakeLabels, settings


@pytest.fixture
def bench(qtbot, viewer, tmp_path, monkeypatch):
    with bench_for(qtbot, viewer, tmp_path, monkeypatch) as bench:
        yield bench


@pytest.fixture
def dock(bench):
    return bench.dock


class TestData:
    def test_painted_slices_are_added_along_the_axis_that_is_shown(self, bench, dock):
        bench.add()
        assert [(one.axis, one.slices) for one in bench.controller.marking.annotations] == [(2, PAINTED)]
        assert "k 3, 5, 7, 9" in dock.data.annotated.text()

    def test_an_empty_slice_counts_when_it_is_added_and_no_more_when_it_is_removed(self, bench, dock):
        bench.go(0)
        dock.data.buttons["slice"].click()
        assert bench.controller.marking.annotations.of(bench.image, 2) == {0}
        dock.data.buttons["remove"].click()
        assert len(bench.controller.marking.annotations) == 0

    def test_classes_are_those_of_annotated_slices_and_keep_their_names(self, bench, dock, qtbot):
        bench.labels.metadata["voxelsmith"] = {"names": {1: "ball"}}
        bench.add()
        assert dock.data.choice.names == {1: "ball", 4: "class 4"}
        dock.data.classes.item(1, 1).setText("rod")
        dock.data.classes.item(0, 0).setCheckState(Qt.CheckState.Unchecked)
        bench.stored[0, 0, 3] = 6
        bench.labels.events.paint(value=[])
        qtbot.waitUntil(lambda: dock.data.classes.rowCount() == 3)
        assert dock.data.choice.names == {1: "ball", 4: "rod", 6: "class 6"}
        assert dock.data.choice.left_out == {1}

    def test_without_labels_or_on_another_grid_a_sentence_says_what_to_do(self, bench, dock, told):
        bench.viewer.add_layer(labels_like(bench.image, np.zeros((12, 24, 20), np.uint8), name="other"))
        bench.viewer.layers["other"].translate = (5, 0, 0)
        dock.data.chosen.emit("labels", "other")
        dock.data.buttons["slice"].click()
        assert "must lie on the grid" in told[-1]
        dock.data.chosen.emit("labels", "New labels layer")
        dock.data.buttons["slice"].click()
        assert "add one and paint" in told[-1]
        bench.viewer.dims.ndisplay = 3
        dock.data.chosen.emit("labels", "painted")
        dock.data.buttons["slice"].click()
        assert "switch to 2-D" in told[-1]

    def test_layers_that_go_take_their_annotation_along(self, bench, dock):
        bench.add()
        bench.viewer.layers.remove(bench.labels)
        assert len(bench.controller.marking.annotations) == 0
        bench.viewer.layers.remove(bench.image)
        assert not dock.training.train_button.isEnabled()

    def test_a_click_on_the_strip_goes_to_the_slice(self, bench, dock):
        bench.add()
        dock.data.strip.chosen.emit(8)
        assert bench.controller.marking.slices.position(2) == 8


class TestTraining:
    def test_nothing_annotated_is_told(self, bench, dock, told):
        dock.training.train_button.click()
        assert "press Add slice" in told[-1]
        assert bench.controller.training.state is TrainingState.idle

    def test_what_the_user_chose_is_trained(self, bench, dock):
        bench.add()
        dock.settings.main.widgets["width"].activated.emit(1)
        dock.settings.more.widgets["steps"].setValue(40)
        bench.train()
        (plan,) = bench.fake.plans
        assert (plan.settings, plan.resume, plan.show) == (settings(width=16, steps=40), False, ShowSlice(5))
        assert plan.folder == bench.folder / "scan-1"
        assert plan.choice.names == {1: "class 1", 4: "class 4"}
        assert [one.slices for one in plan.material] == [PAINTED]

    def test_state_curve_notes_and_run_are_shown(self, bench, dock, qtbot):
        bench.add()
        bench.train()
        qtbot.waitUntil(lambda: "step 10 of 40" in dock.training.state_label.text())
        assert dock.training.state_label.text() == "Training · step 10 of 40 · 0.25 s a step · 8 s left"
        assert dock.training.curve.readout() == "step 10 · loss 1 · validation Dice 0.500"
        assert dock.training.notes.text() == "A note."
        texts = [dock.runs.table.item(0, column).text() for column in range(4)]
        assert texts == ["scan-1", "10 / 2000", "0.500", "1"]
        assert dock.training.bar.value() / dock.training.bar.maximum() == 0.25
        bench.finish()
        assert dock.training.state_label.text() == "Done: step 40 of 40, best Dice 0.500 at step 10."
        assert dock.training.train_button.isEnabled()

    def test_pause_resume_and_stop(self, bench, dock):
        bench.add()
        bench.train()
        assert not dock.training.train_button.isEnabled()
        dock.training.pause_button.click()
        bench.reached(TrainingState.paused)
        assert dock.training.pause_button.text() == "&Resume"
        dock.training.pause_button.click()
        bench.reached(TrainingState.training)
        bench.qtbot.waitUntil(bench.fake.seen.is_set)
        dock.training.stop_button.click()
        bench.reached(TrainingState.stopped)
        assert bench.fake.ended == 1
        assert "Resume goes on" in dock.training.state_label.text()

    def test_a_stopped_run_is_resumed_with_its_own_settings(self, bench, dock):
        bench.add()
        bench.train()
        dock.training.stop_button.click()
        bench.reached(TrainingState.stopped)
        dock.settings.more.widgets["batch"].setValue(9)
        dock.settings.main.widgets["minutes"].setValue(2)
        bench.fake.steps = (row(10, 5.0), row(15, 4.0))
        dock.training.pause_button.click()
        bench.reached(TrainingState.training)
        first, second = bench.fake.plans
        assert second.resume
        assert second.folder == first.folder
        assert second.settings == settings(max_seconds=120.0)
        assert second.choice.always == {1, 4}
        bench.qtbot.waitUntil(lambda: dock.training.curve.loss.steps == (5, 10, 15))
        assert dock.training.curve.loss.values == (2.0, 5.0, 4.0)

    def test_a_death_of_the_process_is_told_and_the_run_can_be_resumed(self, bench, dock, told):
        bench.add()
        bench.train()
        bench.qtbot.waitUntil(lambda: bool(dock.training.curve.loss.steps))
        bench.fake.error = ResourceError("The training broke off: killed.")
        bench.reached(TrainingState.failed)
        assert told == ["The training broke off: killed."]
        assert dock.training.state_label.text() == told[0]
        assert dock.training.train_button.isEnabled()
        assert dock.training.pause_button.text() == "&Resume"
        assert dock.training.pause_button.isEnabled()

    def test_painting_and_deleting_layers_do_not_disturb_it(self, bench, dock, told):
        bench.fake.preview = preview_of(truth(), 5)
        bench.add()
        bench.train()
        bench.qtbot.waitUntil(lambda: "labels" in bench.preview)
        bench.labels.paint((4, 4, 4), 2)
        for layer in (bench.image, bench.labels):
            bench.viewer.layers.remove(layer)
        bench.fake.preview = preview_of(truth(), 6)
        bench.qtbot.wait(150)
        assert bench.controller.training.state is TrainingState.training
        assert len(bench.viewer.layers) == 0
        bench.finish()
        assert told == []

    def test_new_labels_are_handed_over_when_the_user_agrees(self, bench, dock):
        bench.add()
        bench.train()
        bench.paint((4,))
        bench.go(4)
        dock.data.buttons["slice"].click()
        assert not any(isinstance(message, TakeLabels) for message in bench.fake.sent)
        dock.training.labels_button.click()
        bench.qtbot.waitUntil(lambda: any(isinstance(message, TakeLabels) for message in bench.fake.sent))
        (message,) = [message for message in bench.fake.sent if isinstance(message, TakeLabels)]
        assert message.examples[0].slices == (3, 4, 5, 7, 9)
        bench.qtbot.waitUntil(lambda: "5 annotated slices were handed over" in dock.training.notes.text())
        bench.fake.notes = ("A note.", "From step 12 on, the training learns from 4 slices.")
        bench.qtbot.waitUntil(lambda: "From step 12 on" in dock.training.notes.text())
        told = dock.training.notes.text().splitlines()
        assert [line.split()[0] for line in told] == ["A", "5", "From"]

    def test_slices_of_another_image_are_learned_from_and_previewed_there(self, bench, dock):
        bench.add()
        bench.viewer.add_image(bench.image.data[:, ::-1], scale=bench.image.scale, units="mm", name="other")
        dock.data.chosen.emit("image", "other")
        assert "4 in other images" in dock.data.annotated.text()
        bench.fake.preview = preview_of(truth(), 5)
        bench.train()
        (plan,) = bench.fake.plans
        assert plan.show is None
        assert [one.source.volume.name for one in plan.material] == ["scan"]
        layer = bench.preview["labels"]
        assert layer.name == "scan · learning"
        bench.qtbot.waitUntil(lambda: bool(layer.data.any()))
        bench.viewer.add_layer(labels_like(bench.viewer.layers["other"], bench.labels.data.copy(), name="more"))
        dock.data.chosen.emit("labels", "more")
        dock.data.buttons["painted"].click()
        dock.training.labels_button.click()
        bench.qtbot.waitUntil(lambda: any(isinstance(message, TakeLabels) for message in bench.fake.sent))
        (message,) = [message for message in bench.fake.sent if isinstance(message, TakeLabels)]
        assert [example.image.name for example in message.examples] == ["scan", "other"]

    def test_closing_the_dock_ends_it(self, bench, dock):
        bench.add()
        bench.train()
        bench.qtbot.waitUntil(bench.fake.seen.is_set)
        dock.close()
        assert bench.fake.ended == 1
        assert [layer.name for layer in bench.viewer.layers] == ["scan", "painted"]


class TestPreview:
    def test_the_slice_in_view_is_asked_for_and_shown_alone(self, bench, dock):
        bench.fake.preview = preview_of(truth(), 5)
        bench.add()
        bench.train()
        layer = bench.preview["labels"]
        stored = to_stored(layer, layer.data)
        bench.qtbot.waitUntil(lambda: bool(to_stored(layer, layer.data)[:, :, 5].any()))
        np.testing.assert_array_equal(to_stored(layer, layer.data)[:, :, 5], truth()[:, :, 5])
        bench.go(8)
        bench.qtbot.waitUntil(lambda: ShowSlice(8) in bench.fake.sent)
        bench.fake.preview = preview_of(truth(), 8)
        bench.qtbot.waitUntil(lambda: bool(to_stored(layer, layer.data)[:, :, 8].any()))
        stored = to_stored(layer, layer.data)
        assert np.flatnonzero(stored.any(axis=(0, 1))).tolist() == [8]
        np.testing.assert_array_equal(layer.colormap.colors, bench.labels.colormap.colors)

    def test_uncertainty_of_the_slice(self, bench, dock):
        unsure = preview_of(truth(), 5)
        unsure.probabilities[:, 0, 0] = 85
        bench.fake.preview = unsure
        dock.training.boxes["uncertainty"].click()
        bench.add()
        bench.train()
        bench.qtbot.waitUntil(lambda: bool(bench.preview["uncertainty"].data.any()))
        levels = to_stored(bench.preview["uncertainty"], bench.preview["uncertainty"].data)
        assert levels[0, 0, 5] >= 254
        assert levels[5, 8, 5] == 0

    def test_a_layer_that_the_user_removes_stays_away(self, bench, dock):
        bench.fake.preview = preview_of(truth(), 5)
        bench.add()
        bench.train()
        bench.viewer.layers.remove(bench.preview["labels"])
        assert not dock.training.boxes["labels"].isChecked()
        bench.fake.preview = preview_of(truth(), 6)
        bench.qtbot.wait(150)
        assert bench.preview == {}
        dock.training.boxes["labels"].click()
        bench.fake.preview = preview_of(truth(), 7)
        bench.qtbot.waitUntil(lambda: "labels" in bench.preview)


class TestView:
    @pytest.fixture
    def shown(self, dock, qtbot):
        with qtbot.waitActive(dock):
            dock.show()
            dock.activateWindow()
        return dock

    def test_it_fits_into_320_pixels(self, bench, shown, qtbot):
        bench.image.name = "an image with quite a long name, as file names of scans often are"
        bench.add()
        shown.data.set_pairs(Path("/data/a_folder_with_quite_a_long_name_as_data_sets_often_have"), "A sentence. " * 9)
        shown.settings.fold.set_opened(True)
        shown.training.set_rows((row(5), row(10)))
        shown.training.set_text("A long text. " * 20)
        shown.training.set_notes(["A note. " * 20])
        shown.set_status("A status. " * 20)
        shown.resize(320, 900)
        qtbot.wait(50)
        assert shown.minimumSizeHint().width() <= 320
        for part in (shown.data, shown.settings, shown.training, shown.runs, shown.result, shown.status):
            assert part.mapTo(shown, part.rect().topRight()).x() <= 320
            assert part.width() >= part.minimumSizeHint().width()

    def test_everything_has_a_tooltip_and_keys_are_unique(self, shown):
        shown.settings.fold.set_opened(True)
        kinds = (QAbstractButton, QComboBox, QAbstractSpinBox)
        controls = [w for kind in kinds for w in shown.findChildren(kind) if w.isVisible()]
        # Tables bring a button for their corner.
        assert [w for w in controls if not w.toolTip() and not isinstance(w.parent(), QTableWidget)] == []
        keys = [w.shortcut().toString() for w in shown.findChildren(QAbstractButton) if not w.shortcut().isEmpty()]
        assert len(set(keys)) == len(keys)

    def test_train_and_stop_by_keyboard(self, bench, shown, qtbot):
        bench.add()
        combo = shown.data.combos["image"]
        combo.setFocus()
        qtbot.keyClick(combo, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
        bench.reached(TrainingState.training)
        qtbot.waitUntil(bench.fake.seen.is_set)
        qtbot.keyClick(combo, Qt.Key.Key_Escape)
        bench.reached(TrainingState.stopped)

    def test_a_slice_is_added_by_keyboard(self, bench, shown, qtbot):
        qtbot.keyClick(shown.data.combos["image"], Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
        assert bench.controller.marking.annotations.of(bench.image, 2) == {5}
