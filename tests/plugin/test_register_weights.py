"""The Register dock begins a deformation with a network's answer, and refuses files that hold no such network."""

import numpy as np
import pytest
import torch
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog
from registering import Bench
from torch import nn

from voxelsmith.models.hvit import Architecture, HViT
from voxelsmith.plugin.docks.register.file_row import FileRow
from voxelsmith.plugin.docks.register.parameters import settings_for, values
from voxelsmith.register.learned import WEIGHTS, save_network

TINY = Architecture(start_channels=4, fpn_channels=8, num_stages=3, heads=2, refined=False)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """What a training of a tiny network leaves, with random weights."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    network = HViT(TINY)
    nn.init.normal_(network.reg_head.conv3d.weight, std=0.05)
    save_network(TINY, network.state_dict(), folder / WEIGHTS, {})
    return folder


@pytest.fixture
def bench(qtbot, viewer):
    bench = Bench(qtbot, viewer)
    bench.set_parameter("model", "none")
    bench.set_parameter("finest", 2)
    bench.dock.settings.widgets["iterations"].setValue(0)
    bench.looked()
    return bench


@pytest.fixture
def row(bench):
    return bench.dock.settings.widgets["weights"]


def write(bench, row, path):
    row.line.setText(str(path))
    row.line.editingFinished.emit()
    bench.looked()


def found(bench):
    bench.run()
    return bench.outcomes[-1].result


def test_a_run_begins_with_the_answer_of_the_network_and_without_it_with_none(bench, row, run_folder):
    assert row.line.text() == ""
    write(bench, row, run_folder)
    assert "4 parameters changed" in bench.dock.settings.note.text()
    started = found(bench)
    assert started.request.settings.weights == run_folder
    assert np.abs(started.transform.field.array).max() > 0.05
    assert row.line.text() == str(run_folder)
    row.line.clear()
    bench.looked()
    assert "weights" not in bench.dock.changes
    assert not found(bench).transform.field.array.any()


def test_a_file_that_holds_no_such_network_is_refused_before_the_run(bench, row, run_folder, tmp_path):
    stranger = tmp_path / "notes.safetensors"
    stranger.write_text("weights", encoding="utf-8")
    write(bench, row, stranger)
    assert "should hold weights of H-ViT as a training writes them" in bench.checks
    assert not bench.dock.run_button.isEnabled()
    assert row.line.text() == str(stranger)
    write(bench, row, tmp_path / "gone.safetensors")
    assert "there is none; name one" in bench.checks
    assert not bench.dock.run_button.isEnabled()
    write(bench, row, run_folder / WEIGHTS)
    assert "✕" not in bench.checks
    assert bench.dock.run_button.isEnabled()


def test_the_button_asks_for_the_file_and_the_preset_has_none(bench, row, run_folder, monkeypatch):
    asked = []

    def answer(parent, title, **files):
        asked.append((title, files))
        return (str(run_folder / WEIGHTS) if len(asked) == 1 else "", "")

    monkeypatch.setattr(QFileDialog, "getOpenFileName", answer)
    for _ in range(2):
        row.button.click()
        bench.looked()
        assert bench.dock.changes["weights"] == run_folder / WEIGHTS
    assert asked == [("H-ViT weights", {"filter": "Weights (*.safetensors)"})] * 2
    assert row.line.toolTip() == row.line.text() == str(run_folder / WEIGHTS)
    bench.dock.settings.reset_button.click()
    bench.looked()
    assert row.line.text() == ""


def test_what_is_being_written_stays_while_the_images_are_looked_at(bench, row):
    row.line.setText("/home/me/half a pa")
    bench.looked()
    assert row.line.text() == "/home/me/half a pa"
    assert "weights" not in bench.dock.changes


def test_without_a_deformation_there_are_no_weights(bench, row, run_folder):
    changes = {"weights": run_folder, "deform": False}
    assert settings_for("fast", changes, bench.fixed).weights is None
    assert values(settings_for("fast", {"weights": run_folder}, bench.fixed))["weights"] == run_folder
    bench.dock.settings.widgets["deform"].setChecked(False)
    bench.looked()
    assert not row.isEnabled()


def test_return_hands_the_path_over_once(qtbot, tmp_path):
    row = FileRow("Weights", "*")
    qtbot.addWidget(row)
    given = []
    row.chosen.connect(given.append)
    qtbot.keyClicks(row.line, f" {tmp_path} ")
    assert given == []
    qtbot.keyClick(row.line, Qt.Key.Key_Return)
    qtbot.keyClick(row.line, Qt.Key.Key_Return)
    assert given == [tmp_path]
    row.line.clear()
    assert given == [tmp_path, None]
