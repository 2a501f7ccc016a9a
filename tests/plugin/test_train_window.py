"""The Train dock in a real napari window: a network is really trained, killed, resumed, applied and accepted."""

import multiprocessing
import os
import signal

import numpy as np
import pytest
from qtpy.QtCore import Qt
from training_bench import PAINTED, truth

from voxelsmith.core.affine import Affine
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.layers import from_ijk, labels_like, layer_data, to_stored
from voxelsmith.train.checkpoint import load
from voxelsmith.train.state import TrainingState

PLUGIN = "napari-voxelsmith"
PATIENCE_MS = 240_000
QUICK = {"steps": 400, "width": 4, "batch": 2, "patch": 32, "seed": 1, "device": "cpu"}
QUICK |= {"validate_every": 10, "checkpoint_every": 5, "log_every": 2, "preview_seconds": 0.2, "warm_up": 0}


@pytest.fixture
def docked(make_napari_viewer, tmp_path, monkeypatch):
    monkeypatch.setenv("VOXELSMITH_RUNS", str(tmp_path))
    viewer = make_napari_viewer(show=True)
    array = (100 * truth() + np.random.default_rng(0).normal(0, 10, truth().shape)).astype(np.float32)
    data, arguments, _ = layer_data(Volume(array, Affine.from_spacing((1, 1, 2.5)), "scan"))
    image = viewer.add_image(data, **arguments)
    painted = labels_like(image, name="painted")
    for index in PAINTED:
        to_stored(painted, painted.data)[:, :, index] = truth()[:, :, index]
    viewer.add_layer(painted)
    viewer.dims.point = image.data_to_world(from_ijk(image, [(5, 5, 5)])[0])
    frame, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Train")
    dock.settings.changes.update(QUICK)
    return viewer, frame, dock


def test_a_network_is_trained_killed_resumed_applied_and_let_go(qtbot, docked, told):
    viewer, frame, dock = docked
    painted = viewer.layers["painted"]
    dock.data.buttons["painted"].click()
    with qtbot.waitActive(dock.window()):
        dock.window().activateWindow()
    dock.training.train_button.setFocus()
    qtbot.keyClick(dock.training.train_button, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    preview = dock.controller.preview.layers["labels"]
    training = dock.controller.training
    qtbot.waitUntil(lambda: bool(preview.data.any()), timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: dock.training.curve.loss.steps[-1:] > (20,), timeout=PATIENCE_MS)
    before = dock.training.curve.loss

    (process,) = multiprocessing.active_children()
    os.kill(process.pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: training.state is TrainingState.failed, timeout=PATIENCE_MS)
    assert "SIGKILL" in told[0]
    dock.training.pause_button.click()
    qtbot.waitUntil(lambda: dock.training.curve.loss.steps[-1] > before.steps[-1] + 20, timeout=PATIENCE_MS)
    after = dock.training.curve.loss
    # Computed again from the last checkpoint on, and the same.
    assert after.steps[: len(before.steps)] == before.steps
    np.testing.assert_allclose(after.values[: len(before.values)], before.values, rtol=1e-3)
    qtbot.waitUntil(lambda: bool(dock.training.curve.score.steps), timeout=PATIENCE_MS)
    dock.training.stop_button.click()
    qtbot.waitUntil(lambda: training.state is TrainingState.stopped, timeout=PATIENCE_MS)

    dock.result.buttons["apply"].click()
    qtbot.waitUntil(lambda: dock.controller.applying.proposal is not None, timeout=PATIENCE_MS)
    stored = dock.controller.applying.proposal.labels.array
    inside = truth()[:, :, 4] > 0
    assert (stored[:, :, 4] == truth()[:, :, 4])[inside].mean() > 0.5
    dock.result.buttons["accept"].click()
    qtbot.waitUntil(lambda: "Accepted" in dock.status.text(), timeout=PATIENCE_MS)
    labels = to_stored(painted, painted.data)
    np.testing.assert_array_equal(labels[:, :, PAINTED], truth()[:, :, PAINTED])
    assert labels[:, :, 4].any()
    viewer.window.remove_dock_widget(frame)
    assert [layer.name for layer in viewer.layers] == ["scan", "painted"]


def test_painting_deleting_layers_and_closing_the_window_while_it_trains(qtbot, docked, told, tmp_path):
    viewer, _, dock = docked
    painted, training = viewer.layers["painted"], dock.controller.training
    dock.data.buttons["painted"].click()
    dock.training.train_button.click()
    qtbot.waitUntil(lambda: dock.training.curve.loss.steps[-1:] > (4,), timeout=PATIENCE_MS)

    viewer.dims.point = painted.data_to_world(from_ijk(painted, [(5, 5, 4)])[0])
    painted.paint((4, 8, 5), 1)
    to_stored(painted, painted.data)[:, :, 4] = truth()[:, :, 4]
    dock.data.buttons["slice"].click()
    dock.training.labels_button.click()
    # Five are annotated, one of which judges.
    learned = f"learns from {len(PAINTED)} slices"
    qtbot.waitUntil(lambda: learned in dock.training.notes.text(), timeout=PATIENCE_MS)

    for name in ("painted", "scan"):
        viewer.layers.remove(name)
    before = dock.training.curve.loss.steps[-1]
    qtbot.waitUntil(lambda: dock.training.curve.loss.steps[-1] > before + 10, timeout=PATIENCE_MS)
    assert training.state is TrainingState.training
    assert told == []

    viewer.close()
    qtbot.waitUntil(lambda: not multiprocessing.active_children(), timeout=PATIENCE_MS)
    assert load(tmp_path / "scan-1").step >= before
