"""The Tumour dock in a real napari window: run, paint, correct with prompts, show together, and close in the middle."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from tumour_bench import FakeNetwork, depth, sequence, work_coarsely

from voxelsmith.plugin.layers import layer_data, to_stored
from voxelsmith.segment.tumour.names import MODALITIES

PLUGIN = "napari-voxelsmith"


@pytest.fixture
def network(monkeypatch):
    network = FakeNetwork()
    monkeypatch.setattr("voxelsmith.plugin.docks.tumour.jobs.load_network", lambda *_: network)
    work_coarsely(monkeypatch)
    return network


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    for modality in MODALITIES:
        data, arguments, _ = layer_data(sequence(modality))
        viewer.add_image(data, **arguments)
    return viewer


@pytest.fixture
def docked(viewer, qtbot, network):
    frame, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Tumour")
    qtbot.waitUntil(dock.run_button.isEnabled, timeout=30000)
    return frame, dock


def test_a_tumour_is_found_painted_corrected_with_prompts_and_let_go(viewer, qtbot, docked):
    frame, dock = docked
    with qtbot.waitActive(dock.window()):
        dock.window().activateWindow()
    dock.run_button.setFocus()
    qtbot.keyClick(dock.run_button, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: dock.results.layer is not None, timeout=60000)
    layer = dock.results.layer
    before = layer.data.copy()
    assert np.count_nonzero((to_stored(layer, before) == 4) != (depth() == 3)) < 20

    dock.result.brush_buttons["WT"].click()
    assert layer.mode == "paint"
    middle = np.argwhere(before == 4).mean(axis=0).round().astype(int)
    viewer.dims.point = layer.data_to_world(middle)
    with layer.block_history():
        for step in range(0, 12, 2):
            layer.paint((middle[0], middle[1], middle[2] + step), layer.selected_label, refresh=False)
    np.testing.assert_array_equal(layer.data[before > 0], before[before > 0])
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)

    dock.result.brush_buttons["ET"].click()
    dock.result.buttons["prompts"].click()
    _, prompt = viewer.window.add_plugin_dock_widget(PLUGIN, "Prompt")
    assert prompt.choices["mask"].currentText() == "ET to correct"
    assert prompt.choices["target"].currentText() == "ET corrected"
    prompt.session_button.click()
    qtbot.waitUntil(lambda: prompt.controller.prompting is not None, timeout=30000)
    prompt.press("mask")
    qtbot.waitUntil(lambda: prompt.controller.prompting.acceptable, timeout=60000)
    prompt.press("accept")
    accepted = np.asarray(viewer.layers["ET corrected"].data) != 0
    assert accepted.any()
    prompt.session_button.click()
    dock.result.buttons["taking"].click()
    np.testing.assert_array_equal(layer.data == 4, accepted)
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)

    dock.slots.together.setCurrentIndex(1)
    dock.slots.together.activated.emit(1)
    assert viewer.canvas.grid.actual_shape(viewer.layers) == (2, 2)
    viewer.window.remove_dock_widget(frame)
    assert not viewer.canvas.grid.enabled
    viewer.layers["T1"].name = "other"
    assert dock.slots.combos["t1"].currentText() == "T1"


def test_the_weights_that_ship_find_the_tumour_of_the_phantom(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.open_sample(PLUGIN, "glioma_phantom")
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Tumour")
    for slot in ("t1", "t2"):
        dock.slots.chosen.emit(slot, "none")
    assert "Two glioma patients" in dock.settings.note.text()
    qtbot.waitUntil(dock.preview_button.isEnabled, timeout=30000)
    dock.preview_button.click()
    qtbot.waitUntil(lambda: dock.results.layer is not None, timeout=120000)
    truth, layer = viewer.layers["glioma truth"], dock.results.layer
    dock.results.choose_reference(truth.name)
    qtbot.waitUntil(lambda: not dock.results.measures.busy, timeout=30000)
    dice = [float(dock.result.table.topLevelItem(n).text(2)) for n in range(3)]
    assert dice[0] > 0.75
    assert min(dice) > 0.4
    assert "Model: cmf-2" in dock.result.note.text()
    assert layer.data.shape == truth.data.shape


def test_a_window_that_closes_while_it_runs_gets_no_result(viewer, qtbot, docked, network, told):
    _, dock = docked
    network.gate.clear()
    dock.run_button.click()
    qtbot.waitUntil(network.reached.is_set, timeout=30000)
    viewer.close()
    network.gate.set()
    qtbot.wait(500)
    assert len(viewer.layers) == 0
    assert [message for message in told if "was removed" not in message] == []
