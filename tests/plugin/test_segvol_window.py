"""SegVol in a real napari window: a word typed in the dock, and the way to missing weights."""

import nibabel
import numpy as np
import pytest
from qtpy.QtCore import Qt

from segvol_cases import Glow, ct_like, install

PLUGIN = "napari-voxelsmith"
BONE = ct_like() > 500


@pytest.fixture
def window(make_napari_viewer, tmp_path):
    """A napari window with a small CT and the Prompt dock."""
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(ct_like(), np.diag([2.0, 2.0, 3.0, 1.0])), path)
    viewer = make_napari_viewer(show=True)
    viewer.open(path, plugin=PLUGIN)
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Prompt")
    return viewer, dock


def choose(dock, qtbot, title):
    combo = dock.engine_part.combo
    combo.setCurrentIndex(combo.findText(title))
    combo.activated.emit(combo.currentIndex())
    qtbot.waitUntil(lambda: not dock.runner.running, timeout=20000)


def test_a_word_is_typed_answered_accepted_and_undone(window, qtbot, monkeypatch):
    viewer, dock = window
    network = Glow()
    install(monkeypatch, network)
    choose(dock, qtbot, "SegVol")
    dock.session_button.click()
    qtbot.waitUntil(lambda: dock.controller.prompting is not None)
    edit = dock.word_part.edit
    assert edit.isVisible()
    dock.press("word")
    qtbot.keyClicks(edit, "vertebra")
    qtbot.keyClick(edit, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dock.controller.prompting.acceptable, timeout=20000)
    live = dock.controller.prompting
    assert network.words == ["vertebra"]
    assert live.layers.mask.astype(bool)[BONE].mean() > 0.9
    assert [layer.name for layer in viewer.layers if layer.name.endswith("labels")] == []
    encoded = len(network.encoded)
    live.layers.layers["points"].add((20, 24, 46))
    qtbot.waitUntil(lambda: not dock.runner.running, timeout=20000)
    assert len(network.encoded) == encoded
    dock.accept_button.click()
    labels = viewer.layers["scan · labels"]
    assert labels.data.any()
    assert (edit.text(), dock.accepted.topLevelItem(0).text(1)) == ("", "vertebra")
    dock.undo_button.click()
    assert not labels.data.any()
    assert edit.text() == "vertebra"


def test_missing_weights_are_one_click_away(window, qtbot):
    viewer, dock = window
    dock.session_button.click()
    choose(dock, qtbot, "SegVol")
    button = dock.engine_part.weights_button
    assert button.isVisible()
    button.click()
    _, models = viewer.window.add_plugin_dock_widget(PLUGIN, "Models")
    assert models.isVisible()
    assert models.models.currentItem().text().startswith("SegVol")
    assert models.buttons["get"].isEnabled()
    assert not button.isVisible()
    assert dock.controller.prompting.session.engine.name == "promptable"
