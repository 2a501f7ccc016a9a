"""The window of the demo."""

import napari
import numpy as np
import pytest
from PIL import Image

from voxelsmith.core.volume import Volume
from voxelsmith.plugin.showcase import DOCK_WIDTH, WINDOW_SIZE, show


@pytest.fixture
def results():
    """Two scans with a square object each."""
    pairs = []
    for name in ("first", "second"):
        image = Volume(np.random.default_rng(1).normal(100, 5, (40, 40, 12)).astype(np.int16), name=name)
        mask = np.zeros(image.grid, np.uint8)
        mask[10:20, 22:32, 3:6] = 1
        pairs.append((image, image.labels(mask, name=f"{name} mask")))
    return pairs


def test_the_picture_shows_the_whole_window(qtbot, tmp_path, results):
    show(results, tmp_path / "demo.png", stay=False)
    picture = np.asarray(Image.open(tmp_path / "demo.png"))
    height, width = picture.shape[:2]
    assert (width, height) == WINDOW_SIZE
    assert len(np.unique(picture[:, -DOCK_WIDTH:].reshape(-1, picture.shape[2]), axis=0)) > 20
    assert napari.current_viewer() is None


def test_a_window_that_stays_has_everything_and_shows_the_first_object(qtbot, monkeypatch, tmp_path, results):
    seen = {}

    def user_looks_and_closes():
        viewer = napari.current_viewer()
        seen["visible"] = {layer.name: layer.visible for layer in viewer.layers}
        seen["slice"] = viewer.dims.point[0]
        seen["docks"] = list(viewer.window.dock_widgets)
        viewer.close()

    monkeypatch.setattr(napari, "run", user_looks_and_closes)
    show(results, tmp_path / "demo.png", stay=True)
    assert seen["visible"] == {"first": True, "first mask": True, "second": False, "second mask": False}
    assert seen["slice"] == 4
    assert seen["docks"] == ["Prompt (napari-voxelsmith)"]
