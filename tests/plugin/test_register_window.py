"""The Register dock in a real napari window, driven by its buttons and keys."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from registration_pairs import blobs, error_in_voxels, known_map, moved
from voxelsmith.plugin.layers import layer_data

PLUGIN = "napari-voxelsmith"


@pytest.fixture
def pair():
    fixed = blobs()
    matrix = known_map(fixed, angle=8, scale=(1.05, 1, 0.95), shift=(3, -2, 1))
    return fixed, moved(fixed, matrix), matrix


@pytest.fixture
def viewer(make_napari_viewer, pair):
    viewer = make_napari_viewer(show=True)
    for volume in pair[:2]:
        data, kwargs, _ = layer_data(volume)
        viewer.add_image(data, **kwargs)
    return viewer


@pytest.fixture
def docked(viewer, qtbot):
    frame, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Register")
    qtbot.waitUntil(lambda: "Overlap" in dock.checks.text.text(), timeout=30000)
    return frame, dock


def picture(viewer):
    return viewer.export_figure(flash=False)[..., :3].astype(float)


def test_two_images_are_registered_seen_and_let_go(viewer, qtbot, docked, pair):
    frame, dock = docked
    fixed, _, matrix = pair
    outcomes = []
    dock.outcome_made.connect(outcomes.append)
    viewer.layers["moving"].visible = False
    alone = picture(viewer)
    viewer.layers["moving"].visible = True
    before = picture(viewer)
    dock.settings.combo.setCurrentText("Fast preview")
    dock.settings.combo.activated.emit(dock.settings.combo.currentIndex())
    with qtbot.waitActive(dock.window()):
        dock.window().activateWindow()
    dock.run_button.setFocus()
    qtbot.keyClick(dock.run_button, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: not dock.run_button.isEnabled())
    qtbot.waitUntil(lambda: bool(outcomes), timeout=60000)
    found = outcomes[0].result.transform
    assert error_in_voxels(fixed, matrix, found.matrix).mean() < 1.5
    assert [layer.name for layer in viewer.layers] == ["fixed", "moving", "moving · warped"]
    assert dock.results.boxes["warped"].isChecked()
    after = picture(viewer)
    assert np.abs(after - alone).mean() < 0.5 * np.abs(before - alone).mean()
    dock.results.boxes["warped"].click()
    np.testing.assert_array_equal(picture(viewer), alone)
    viewer.window.remove_dock_widget(frame)
    viewer.layers["fixed"].name = "other"
    assert dock.inputs.combos["fixed"].currentText() == "fixed"


def test_the_same_layer_twice_leaves_the_viewer_usable(viewer, qtbot, docked):
    _, dock = docked
    combo = dock.inputs.combos["moving"]
    combo.setCurrentText("fixed")
    combo.activated.emit(combo.currentIndex())
    qtbot.waitUntil(lambda: not dock.run_button.isEnabled())
    assert "the same layer" in dock.checks.text.text()
    dock.inputs.swap_button.click()
    combo.setCurrentText("moving")
    combo.activated.emit(combo.currentIndex())
    qtbot.waitUntil(dock.run_button.isEnabled)
