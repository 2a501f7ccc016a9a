"""The Few-shot dock in a real napari window with the real engine, driven by its buttons and keys."""

import numpy as np
from fewshot_bench import body, truth
from qtpy.QtCore import QPoint, Qt

from voxelsmith.core.metrics import dice
from voxelsmith.plugin.layers import from_ijk, layer_data, to_stored

PLUGIN = "napari-voxelsmith"


def test_three_painted_slices_become_a_volume(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    data, kwargs, _ = layer_data(body())
    image = viewer.add_image(data, **kwargs)
    frame, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Few-shot")
    dock.classes.paint_button.click()
    target = viewer.layers["scan · labels"]
    labels = to_stored(target, target.data)
    for index in (1, 5, 9):
        viewer.dims.point = image.data_to_world(from_ijk(image, [(10, 12, index)])[0])
        labels[:, :, index] = truth()[:, :, index]
        dock.support.buttons["slice"].click()
        qtbot.waitUntil(lambda: not dock.runner.running, timeout=30000)
    assert dock.support.items.count() == 3
    viewer.dims.point = image.data_to_world(from_ijk(image, [(10, 12, 4)])[0])
    before = viewer.export_figure(flash=False)[..., :3].astype(float)
    with qtbot.waitActive(dock.window()):
        dock.window().activateWindow()
    dock.propose_button.setFocus()
    qtbot.keyClick(dock.propose_button, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: "scan · proposal" in viewer.layers, timeout=60000)
    qtbot.waitUntil(lambda: not dock.runner.running, timeout=60000)
    after = viewer.export_figure(flash=False)[..., :3].astype(float)
    # The two blocks of the slice in view are coloured now.
    assert np.abs(after - before).max() > 50
    strip = dock.proposal.strip
    qtbot.mousePress(strip, Qt.MouseButton.LeftButton, pos=QPoint(round(strip.left_of(7)) + 3, 6))
    qtbot.waitUntil(lambda: dock.proposal.slice_label.text() == "Slice 7 of 11")
    qtbot.keyClick(
        dock.propose_button, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    )
    for value in (1, 2):
        assert dice(truth() == value, labels == value) > 0.9
    viewer.window.remove_dock_widget(frame)
    assert [layer.name for layer in viewer.layers] == ["scan", "scan · labels"]
    viewer.layers["scan"].name = "other"
    assert dock.choices["image"].currentText() == "scan"
