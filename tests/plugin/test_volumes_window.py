"""The Volumes dock in a real napari window."""

import numpy as np
import pytest
from napari.utils import cancelable_progress

from voxelsmith.core.progress import Progress
from voxelsmith.plugin.docks.volumes.view import VolumesDock
from voxelsmith.plugin.layers import layer_data
from voxelsmith.plugin.runner import JobRunner


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


def test_napari_closes_the_dock_and_it_lets_go(viewer, make_volume):
    _, dock = viewer.window.add_plugin_dock_widget("napari-voxelsmith", "Volumes")
    assert isinstance(dock, VolumesDock)
    data, kwargs, _ = layer_data(make_volume())
    viewer.add_image(data, **kwargs)
    assert dock.title.text() == "scan"
    viewer.window.remove_dock_widget(dock)
    viewer.layers[0].name = "other"
    assert dock.title.text() == "scan"


@pytest.mark.parametrize("tilt", [0, 15])
def test_what_is_drawn_has_anterior_up_and_right_on_the_left(viewer, make_volume, tilt):
    volume = make_volume(shape=(40, 42, 20), permutation=(1, 0, 2), signs=(-1, 1, 1), tilt=tilt, spacing=(1, 1, 1))
    array = np.zeros(volume.grid, np.uint8)
    # Axis i runs to P, so its first half is anterior; axis j runs to R, so its last quarter is the patient's right.
    array[:20, 30:] = 255
    data, kwargs, _ = layer_data(type(volume)(array, volume.affine))
    viewer.add_image(data, **kwargs, contrast_limits=(0, 255))
    picture = viewer.export_figure(flash=False)[..., 0] > 128
    rows, columns = np.nonzero(picture)
    assert rows.mean() < picture.shape[0] / 2
    assert columns.mean() < picture.shape[1] / 2


def test_the_activity_dock_can_cancel(viewer, qtbot, monkeypatch):
    bars = []

    class Recorded(cancelable_progress):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            bars.append(self)

    monkeypatch.setattr("napari.utils.cancelable_progress", Recorded)
    runner = JobRunner(viewer)
    cancelled = []

    def job():
        while True:
            yield Progress(1, 3)

    runner.start(job, title="Endless", on_cancelled=lambda: cancelled.append(True))
    qtbot.waitUntil(lambda: bars[0].total == 3 and bars[0].n == 1)
    with qtbot.waitSignal(runner.finished):
        bars[0].cancel()
    assert cancelled == [True]
