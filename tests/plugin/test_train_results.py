"""The Train dock uses what was trained: applied, cut, accepted, exported, and listed."""

import numpy as np
import pytest
from training_bench import LEAST_SURE, PAINTED, bench_for, row, truth

from voxelsmith.core.progress import Progress
from voxelsmith.plugin.docks.train import runs
from voxelsmith.plugin.layers import to_stored
from voxelsmith.train.history import HistoryFile
from voxelsmith.train.tvunet import settings


@pytest.fixture
def bench(qtbot, viewer, tmp_path, monkeypatch):
    with bench_for(qtbot, viewer, tmp_path, monkeypatch) as bench:
        yield bench


@pytest.fixture
def dock(bench):
    return bench.dock


@pytest.fixture
def trained(bench, monkeypatch):
    """A bench with a finished run that was applied."""
    bench.add()
    bench.train()
    bench.finish()
    bench.apply(monkeypatch)
    return bench


class TestResult:
    def test_the_chosen_run_is_applied_and_shown(self, trained):
        assert trained.applied == (trained.folder / "scan-1", True, "auto")
        layer = trained.preview["labels"]
        expected = truth()
        expected[18, 1, 6] = 1
        np.testing.assert_array_equal(to_stored(layer, layer.data), expected)
        assert "Look twice." in trained.dock.status.text()

    def test_shapes_of_annotated_slices_count_unless_the_user_says_no(self, trained, bench, monkeypatch):
        assert trained.told == [(2, PAINTED)]
        bench.dock.result.shapes_box.click()
        bench.apply(monkeypatch)
        assert trained.told == []

    def test_threshold_and_filters_act_on_cached_probabilities(self, trained, qtbot):
        part, layer = trained.dock.result, trained.preview["labels"]
        assert to_stored(layer, layer.data)[18, 1, 6] == 1
        part.largest_box.click()
        qtbot.waitUntil(lambda: to_stored(layer, layer.data)[18, 1, 6] == 0)
        np.testing.assert_array_equal(to_stored(layer, layer.data), truth())
        part.slider.setValue(0.9)
        qtbot.waitUntil(lambda: not layer.data.any())
        part.slider.setValue(0.5)
        part.largest_box.click()
        part.least.setValue(2)
        qtbot.waitUntil(lambda: bool(layer.data.any()) and to_stored(layer, layer.data)[18, 1, 6] == 0)

    def test_uncertainty_of_the_volume(self, trained, qtbot):
        trained.dock.training.boxes["uncertainty"].click()
        qtbot.waitUntil(lambda: "uncertainty" in trained.preview)
        assert trained.preview["uncertainty"].data.min() > 0
        trained.dock.training.boxes["uncertainty"].click()
        assert "uncertainty" not in trained.preview

    def test_next_slice_is_the_least_sure_one_and_then_another(self, trained):
        trained.ask("next")
        assert trained.controller.marking.slices.position(2) == LEAST_SURE
        assert "confidence 0.20" in trained.dock.status.text()
        trained.ask("next")
        assert trained.controller.marking.slices.position(2) not in {LEAST_SURE, *PAINTED}

    def test_accept_spares_painted_slices_and_is_undone_and_redone(self, trained):
        trained.stored[0, 0, 5] = 4
        trained.stored[3:9, 4:12, 7] = 0
        before = trained.stored.copy()
        trained.ask("accept")
        after = trained.stored.copy()
        for index in PAINTED:
            np.testing.assert_array_equal(after[:, :, index], before[:, :, index])
        np.testing.assert_array_equal(after[:, :, 4], truth()[:, :, 4])
        assert "ball" in trained.dock.status.text()
        trained.ask("undo")
        np.testing.assert_array_equal(trained.stored, before)
        trained.ask("redo")
        np.testing.assert_array_equal(trained.stored, after)

    def test_accept_into_a_new_layer(self, trained):
        trained.dock.data.chosen.emit("labels", "New labels layer")
        trained.ask("accept")
        layer = trained.controller.marking.labels
        assert layer.name == "scan · labels"
        stored = to_stored(layer, layer.data)
        np.testing.assert_array_equal(stored[:, :, 4], truth()[:, :, 4])
        np.testing.assert_array_equal(stored[:, :, PAINTED], truth()[:, :, PAINTED])

    def test_a_new_training_takes_the_answer_away(self, trained):
        trained.fake.gate.clear()
        trained.train()
        assert trained.controller.applying.proposal is None
        assert not trained.preview["labels"].data.any()
        assert not trained.dock.result.buttons["accept"].isEnabled()

    def test_export_hands_over_run_format_and_place(self, trained, monkeypatch, tmp_path):
        asked = []

        def job(folder, name, path, *, best):
            asked.append((folder, name, path, best))
            yield Progress(0, 1)
            return path

        monkeypatch.setattr("voxelsmith.plugin.docks.train.applying.exporting", job)
        monkeypatch.setattr(
            "voxelsmith.plugin.docks.train.result_part.QFileDialog.getSaveFileName",
            lambda *args, **kwargs: (str(tmp_path / "net"), ""),
        )
        trained.dock.result.weights.setCurrentIndex(1)
        trained.dock.result.export_button.menu().actions()[1].trigger()
        trained.qtbot.waitUntil(lambda: "Saved" in trained.dock.status.text())
        assert asked == [(trained.folder / "scan-1", "torchscript", str(tmp_path / "net.pt"), False)]


class TestRuns:
    def test_another_folder_lists_its_runs_and_a_choice_shows_its_curve(self, bench, dock, qtbot, tmp_path):
        runs.write_record(tmp_path / "elsewhere" / "a", settings(), {"classes": [1]})
        HistoryFile(tmp_path / "elsewhere" / "a", (row(10, 2.0, 0.5),))
        dock.runs.home_chosen.emit(tmp_path / "elsewhere")
        qtbot.waitUntil(lambda: dock.runs.table.rowCount() == 1)
        assert bench.controller.chosen == tmp_path / "elsewhere" / "a"
        assert bench.looked_in == [tmp_path / "elsewhere"]
        assert dock.result.buttons["apply"].isEnabled()
        dock.runs.table.clearSelection()
        dock.runs.table.selectRow(0)
        assert dock.training.curve.readout() == "step 10 · loss 2 · validation Dice 0.500"
