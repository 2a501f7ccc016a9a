"""Parts of the Tumour dock by themselves: its models, its width, its keys, its place in the manifest."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from npe2 import PluginManifest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QComboBox, QFileDialog, QLabel
from tumour_bench import Bench

from voxelsmith.plugin.docks.fold import Fold
from voxelsmith.plugin.docks.tumour import models
from voxelsmith.plugin.docks.tumour.settings_part import SettingsPart

SHIPPED = [
    SimpleNamespace(name="promptable", title="Another one", good_at="", trained_on=""),
    SimpleNamespace(name="cmf-2", title="Tumours, T1c and FLAIR", good_at="Gliomas.", trained_on="Two patients."),
    SimpleNamespace(name="cmf-4", title="Tumours", good_at="Gliomas.", trained_on="Made-up tumours."),
]


@pytest.fixture
def shipped(monkeypatch):
    monkeypatch.setattr(models, "entries", lambda: SHIPPED)


class TestModels:
    def test_the_tumour_networks_that_ship_are_offered(self, shipped):
        assert list(models.offered_models()) == ["auto", "cmf-2", "cmf-4"]

    def test_automatic_tells_what_answers_and_what_it_was_trained_on(self, shipped):
        assert "Two patients." in models.about("auto", ["t1c", "flair"])
        assert "Two patients." in models.about("auto", ["flair"])
        assert "Made-up tumours." in models.about("auto", ["t1", "t1c"])
        assert "voxelsmith train cmf" in models.about("cmf-4", ["t1c"])

    def test_without_weights_the_way_to_train_is_told(self, monkeypatch):
        monkeypatch.setattr(models, "entries", list)
        told = models.about("auto", ["t1c"])
        assert "ships no weights" in told
        assert "voxelsmith train cmf" in told

    def test_training_goes_on_from_the_weights_that_answer(self):
        folder = Path("patients")
        command = "voxelsmith train cmf patients --start {} --out RUN_DIR"
        assert models.training_command("auto", ["t1c"], folder) == command.format("cmf-2 --sequences 2")
        assert models.training_command("auto", ["t1", "t2"], folder) == command.format("cmf-4")
        assert models.training_command(Path("mine"), ["t1c"], folder) == command.format("mine")

    def test_a_file_or_a_run_of_the_user_s_can_be_chosen(self, shipped, qtbot, monkeypatch, tmp_path):
        part = SettingsPart()
        qtbot.addWidget(part)
        changes = []
        part.changed.connect(lambda: changes.append(part.settings.model))
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "tumour-1"))
        row = part.combo.findText("Trained run…")
        part.combo.setCurrentIndex(row)
        part.combo.activated.emit(row)
        assert changes == [tmp_path / "tumour-1"]
        assert part.combo.currentText() == "tumour-1"
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: ("", ""))
        row = part.combo.findText("Weights file…")
        part.combo.setCurrentIndex(row)
        part.combo.activated.emit(row)
        assert part.settings.model == tmp_path / "tumour-1"
        assert part.combo.currentText() == "tumour-1"
        part.combo.setCurrentIndex(1)
        part.combo.activated.emit(1)
        assert part.settings.model == "cmf-2"


class TestDock:
    @pytest.fixture
    def bench(self, qtbot, viewer, monkeypatch):
        return Bench(qtbot, viewer, monkeypatch)

    @pytest.fixture
    def shown(self, bench):
        with bench.qtbot.waitActive(bench.dock):
            bench.dock.show()
            bench.dock.activateWindow()
        return bench.dock

    def test_what_the_model_was_trained_on_is_seen(self, bench, shipped):
        bench.dock.settings.choose_model("auto")
        assert "Made-up tumours." in bench.dock.settings.note.text()
        for slot in ("t1", "t2"):
            bench.choose(slot, "none")
        assert "Two patients." in bench.dock.settings.note.text()

    def test_another_model_looks_at_nothing_again(self, bench, shipped):
        bench.dock.settings.choose_model("cmf-2")
        assert not bench.dock.controller.looking
        bench.pick(bench.dock.settings.choices["registration"], "all")
        assert bench.dock.controller.looking
        bench.looked()

    def test_it_fits_into_320_pixels_and_everything_is_explained(self, bench, shown):
        bench.viewer.layers["T1"].name = "an image with quite a long name, as file names of T1 scans often are"
        bench.run()
        shown.settings.findChild(Fold).set_opened(True)
        shown.slots.set_together("grid")
        shown.set_status("Stopped; nothing was changed. " * 5)
        shown.result.set_taking("ET")
        shown.resize(320, 900)
        assert shown.minimumSizeHint().width() <= 320
        bench.qtbot.wait(50)
        for widget in (shown.slots, shown.settings, shown.result, shown.run_button, shown.status):
            assert widget.mapTo(shown, widget.rect().topRight()).x() <= 320
            assert widget.width() >= widget.minimumSizeHint().width()
        buttons = shown.findChildren(QAbstractButton)
        controls = [w for w in (*buttons, *shown.findChildren(QComboBox)) if w.isEnabled()]
        assert [w for w in controls if not w.toolTip()] == []

    def test_keys_are_unique(self, shown):
        labels = [label.text() for label in shown.findChildren(QLabel) if label.buddy() is not None]
        texts = [*labels, *(button.text() for button in shown.findChildren(QAbstractButton))]
        keys = [text[text.index("&") + 1].lower() for text in texts if "&" in text]
        assert len(keys) >= 18
        assert sorted(keys) == sorted(set(keys))

    def test_keys_preview_run_and_stop(self, bench, shown, qtbot):
        wanted = []
        shown.run_wanted.connect(wanted.append)
        ctrl, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
        qtbot.keyClick(shown.run_button, Qt.Key.Key_Return, ctrl | shift)
        bench.settle()
        qtbot.keyClick(shown.run_button, Qt.Key.Key_Return, ctrl)
        bench.settle()
        assert wanted == [True, False]
        bench.network.gate.clear()
        qtbot.keyClick(shown.run_button, Qt.Key.Key_Return, ctrl)
        qtbot.waitUntil(lambda: shown.progress.isVisible())
        qtbot.keyClick(shown.slots, Qt.Key.Key_Escape)
        qtbot.waitUntil(lambda: "Stopped" in bench.status)
        bench.network.gate.set()


def test_the_manifest_names_the_dock():
    manifest = PluginManifest.from_file(Path(models.__file__).parents[3] / "napari.yaml")
    widget = next(w for w in manifest.contributions.widgets if w.display_name == "Tumour")
    command = next(c for c in manifest.contributions.commands if c.id == widget.command)
    assert command.python_name == "voxelsmith.plugin.docks.tumour.view:TumourDock"
    assert widget.command in [item.command for item in manifest.contributions.menus["napari/layers/segment"]]
