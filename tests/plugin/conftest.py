"""Volumes in any orientation, and what the user was told, shared by the tests of the plugin."""

import numpy as np
import pytest
from desk import Desk, bright_block
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from orientations import oriented

from voxelsmith.core.volume import Volume


@pytest.fixture
def told():
    """Messages shown to the user during the test."""
    messages = []

    def note(event):
        messages.append(str(event.message))

    notification_manager.notification_ready.connect(note)
    yield messages
    notification_manager.notification_ready.disconnect(note)


@pytest.fixture
def make_volume():
    """Make a small volume with random voxels and the affine of :func:`oriented`."""

    def make(shape=(5, 6, 7), dtype=np.int16, **orientation):
        array = np.random.default_rng(7).integers(0, 1000, shape).astype(dtype)
        extra = {} if len(shape) == 3 else {"extra_axis": "time"}
        return Volume(array, oriented(**orientation), name="scan", **extra)

    return make


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def desk(qtbot, viewer):
    array = bright_block()
    angle = np.deg2rad(20)
    rotate = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    viewer.add_image(
        array.transpose(2, 1, 0), name="scan", scale=(3, 1, 1.5), rotate=rotate, translate=(5, 6, 7), units="mm"
    )
    desk = Desk(qtbot, viewer)
    yield desk
    desk.engine.gate.set()
    desk.controller.close()
