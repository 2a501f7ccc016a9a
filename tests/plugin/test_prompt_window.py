"""The Prompt dock in a real napari window, driven by mouse and keyboard, with the default engine."""

import gc
import weakref

import nibabel
import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent, QOpenGLContext
from qtpy.QtWidgets import QApplication

from blob import BlobEngine, offer
from voxelsmith.core.metrics import dice
from voxelsmith.core.prompts import Box, Point

PLUGIN = "napari-voxelsmith"


class Window:
    """A napari window with the Prompt dock, and a hand on its canvas."""

    def __init__(self, viewer, qtbot):
        self.viewer, self.qtbot = viewer, qtbot
        self.dock_widget, self.dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Prompt")
        viewer.show()
        self.canvas = next(
            w for w in QApplication.allWidgets() if "CanvasBackend" in type(w).__name__ and w.isVisible()
        )
        self.settle()

    @property
    def live(self):
        return self.dock.controller.prompting

    def settle(self):
        self.qtbot.waitUntil(lambda: not self.dock.runner.running, timeout=30000)
        self.qtbot.wait(50)

    def at(self, world):
        """Canvas position of a world point on the shown slice."""
        camera, dims = self.viewer.scene.camera, self.viewer.dims
        vertical, horizontal = dims.displayed
        offset = np.array([world[horizontal] - camera.center[-1], world[vertical] - camera.center[-2]]) * camera.zoom
        return QPoint(round(self.canvas.width() / 2 + offset[0]), round(self.canvas.height() / 2 + offset[1]))

    def click(self, position, modifier=Qt.KeyboardModifier.NoModifier):
        self.qtbot.mouseMove(self.canvas, position)
        self.qtbot.mouseClick(self.canvas, Qt.MouseButton.LeftButton, modifier, position)

    def drag(self, start, end):
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        self.qtbot.mouseMove(self.canvas, start)
        self.qtbot.mousePress(self.canvas, left, pos=start)
        for share in (0.3, 0.6, 1.0):
            here = QPointF(start + (end - start) * share)
            there = QPointF(self.canvas.mapToGlobal(here))
            # mouseMove of Qt's test library forgets which button is down.
            moved = QMouseEvent(QEvent.Type.MouseMove, here, there, Qt.MouseButton.NoButton, left, none)
            QApplication.sendEvent(self.canvas, moved)
            self.qtbot.wait(30)
        self.qtbot.mouseRelease(self.canvas, left, pos=end)

    def key(self, key, modifier=Qt.KeyboardModifier.NoModifier):
        self.canvas.setFocus()
        self.qtbot.keyClick(self.canvas, key, modifier)


@pytest.fixture
def scan(tmp_path):
    """A NIfTI file with a bright ball; flipped axes and thick slices. Returns path, truth and affine."""
    shape = (48, 56, 24)
    i, j, k = np.indices(shape)
    truth = (i - 20) ** 2 + (j - 30) ** 2 + (2 * (k - 12)) ** 2 < 9**2
    noise = np.random.default_rng(3).normal(100, 8, shape)
    affine = np.array([[-1, 0, 0, 30], [0, -1.0, 0, 20], [0, 0, 2, -10], [0, 0, 0, 1]])
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image((noise + 90 * truth).astype(np.int16), affine), path)
    return path, truth, affine


@pytest.fixture
def window(make_napari_viewer, qtbot, scan, monkeypatch):
    offer(monkeypatch, BlobEngine)
    viewer = make_napari_viewer(show=True)
    viewer.open(scan[0], plugin=PLUGIN)
    return Window(viewer, qtbot)


def test_box_click_accept_undo_and_save(window, scan, tmp_path):
    _, truth, affine = scan
    viewer = window.viewer
    image = viewer.layers[0]
    centre = image.data_to_world((12, 30, 20))
    viewer.dims.set_point(0, centre[0])
    window.dock.session_button.click()
    window.key(Qt.Key.Key_B)
    corners = [window.at(image.data_to_world((12, 30 + s * 12, 20 + s * 12))) for s in (-1, 1)]
    window.drag(*corners)
    window.settle()
    box = window.live.box
    assert np.abs(np.subtract(box.lo[:2], (8, 18))).max() <= 1
    assert np.abs(np.subtract(box.hi[:2], (32, 42))).max() <= 1
    window.key(Qt.Key.Key_P)
    window.click(window.at(image.data_to_world((12, 30, 20))))
    window.click(window.at(image.data_to_world((12, 30, 45))), Qt.KeyboardModifier.ControlModifier)
    window.settle()
    assert [(p.voxel, p.positive) for p in window.live.prompts if isinstance(p, Point)] == [
        ((20, 30, 12), True),
        ((45, 30, 12), False),
    ]
    window.dock.name_edit.setText("ball")
    preview = window.live.layers.mask.astype(bool)
    assert dice(truth, preview) > 0.9
    window.key(Qt.Key.Key_Return)
    target = viewer.layers["scan · labels"]
    found = target.data.transpose(2, 1, 0) == 1
    np.testing.assert_array_equal(found, preview)
    window.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not target.data.any()
    assert window.live.box == box
    window.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    (saved,) = target.save(str(tmp_path / "mask.nii.gz"), plugin=PLUGIN)
    back = nibabel.load(saved)
    np.testing.assert_array_equal(back.affine, affine)
    np.testing.assert_array_equal(np.asarray(back.dataobj) == 1, found)


def test_a_click_in_3d_lands_on_the_bright_ball(window, scan):
    _, truth, _ = scan
    window.dock.session_button.click()
    window.viewer.dims.ndisplay = 3
    window.settle()
    image = window.viewer.layers[0]
    window.viewer.scene.camera.center = image.data_to_world((12, 30, 20))
    window.qtbot.wait(50)
    window.click(QPoint(window.canvas.width() // 2, window.canvas.height() // 2))
    (point,) = window.live.prompts
    assert truth[point.voxel]
    window.settle()


def test_a_constant_image_is_refused_and_the_dock_stays_usable(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(np.full((10, 20, 30), 7.0), name="flat")
    window = Window(viewer, qtbot)
    window.dock.session_button.click()
    window.live.layers.layers["points"].add((5, 10, 15))
    window.settle()
    assert "constant" in notification_manager.records[-1].message
    window.dock.undo_button.click()
    assert window.live.prompts == ()


def test_taking_the_dock_away_ends_the_session(window):
    viewer = window.viewer
    before = dict(viewer.keymap)
    window.dock.session_button.click()
    viewer.window.remove_dock_widget(window.dock_widget)
    assert window.live is None
    assert viewer.keymap == before
    assert [layer.name for layer in viewer.layers] == ["scan"]
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Prompt")
    assert dock is not window.dock
    dock.session_button.click()
    assert dock.controller.prompting.session.image.grid == Box((0, 0, 0), (47, 55, 23)).shape


def test_the_layers_go_in_the_context_of_the_canvas(window):
    contexts = []
    window.dock.session_button.click()
    window.qtbot.wait(100)
    window.canvas.doneCurrent()
    # Callbacks run from the latest to the earliest, so that this one sees what napari's own is about to see.
    window.viewer.layers.events.end_batch.connect(
        lambda event: contexts.append(QOpenGLContext.currentContext() is window.canvas.context()), position="last"
    )
    window.dock.session_button.click()
    assert contexts == [True]
    window.qtbot.wait(100)


def test_a_session_can_be_started_again_after_it_was_finished_and_drawn(window):
    for _ in range(3):
        window.dock.session_button.click()
        layers = window.live.layers.layers
        layers["box"].add([[12, 18, 8], [12, 42, 8], [12, 42, 32], [12, 18, 32]], shape_type="rectangle")
        window.settle()
        assert window.live.layers.mask.any()
        window.dock.session_button.click()
        window.qtbot.wait(200)
    assert window.viewer.layers[0].name == "scan"


def test_nothing_of_a_finished_session_stays_in_memory(window):
    window.dock.session_button.click()
    window.click(window.at(window.viewer.layers[0].data_to_world((12, 30, 20))))
    window.settle()
    session = weakref.ref(window.live.session)
    window.dock.session_button.click()
    window.settle()
    gc.collect()
    assert session() is None


def choose(window, title):
    """Choose an engine as the user does."""
    combo = window.dock.engine_part.combo
    combo.setCurrentIndex(combo.findText(title))
    combo.activated.emit(combo.currentIndex())
    window.settle()
    window.settle()


def test_another_engine_a_threshold_and_probabilities_in_2d_and_3d(window):
    dock, layers = window.dock, window.viewer.layers
    dock.session_button.click()
    window.live.layers.layers["points"].add((12, 30, 20))
    window.settle()
    assert "Promptable network" in dock.threshold_part.maker.text()
    assert dock.threshold_part.slider.isEnabled()
    choose(window, "Training-free random walk")
    assert "Training-free" in dock.threshold_part.maker.text()
    assert not dock.threshold_part.slider.isEnabled()
    choose(window, "Gaussian blob")
    assert "Gaussian blob" in dock.threshold_part.maker.text()
    dock.threshold_part.box.click()
    size = window.live.layers.mask.sum()
    dock.threshold_part.slider.setValue(0.2)
    assert window.live.layers.mask.sum() > size
    window.viewer.dims.ndisplay = 3
    window.qtbot.wait(100)
    assert layers["scan · probability"].data.max() > 0.9
    dock.session_button.click()
    window.qtbot.wait(100)
    assert [layer.name for layer in layers] == ["scan", "scan · not accepted"]
