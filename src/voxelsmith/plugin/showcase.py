"""Showcase: the real window with finished masks, for the demo.

Owns how the window is laid out and how the slice through the centre of the first mask is framed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QDockWidget

from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.plugin.layers import layer_data

WINDOW_SIZE = (1500, 900)
_MASK_COLOR = "#ffa62b"
DOCK_WIDTH = 340
_TURNS = 20


def show(results: Sequence[tuple[Volume, LabelVolume]], screenshot: Path, *, stay: bool) -> None:
    """Open napari on an image and its mask with the Prompt dock, and save a picture of the window.

    Parameters
    ----------
    results
        Pairs of image and labels. The first is shown; the others are there, hidden, if the window stays open.
    screenshot
        PNG file to write.
    stay
        Leave the window open and return when the user closes it.
    """
    viewer = napari.Viewer(title="Voxelsmith demo")
    dock, _ = viewer.window.add_plugin_dock_widget("napari-voxelsmith", "Prompt")
    image, labels = (_add(viewer, volume) for volume in results[0])
    labels.colormap = DirectLabelColormap(color_dict={None: _MASK_COLOR, 0: "transparent"})
    arrange(dock)
    viewer.dims.point = labels.data_to_world(np.argwhere(labels.data).mean(axis=0))
    viewer.layers.selection.active = image
    viewer.reset_view()
    settle()
    viewer.screenshot(str(screenshot), canvas_only=False, flash=False)
    if stay:
        centre = viewer.dims.point
        for pair in results[1:]:
            for volume in pair:
                _add(viewer, volume).visible = False
        viewer.dims.point = centre
        viewer.layers.selection.active = image
        napari.run()
    else:
        viewer.close()


def arrange(dock: QDockWidget, size: tuple[int, int] = WINDOW_SIZE) -> None:
    """Give the window of a dock its size, and the dock its width."""
    window: Any = dock.parentWidget()
    window.resize(*size)
    settle()
    window.resizeDocks([dock], [DOCK_WIDTH], Qt.Orientation.Horizontal)
    settle()


def settle() -> None:
    """Let the window take its shape and draw."""
    for _ in range(_TURNS):
        QApplication.processEvents()


def _add(viewer: Any, volume: Volume) -> Any:
    data, options, kind = layer_data(volume)
    return getattr(viewer, f"add_{kind}")(data, **options)
