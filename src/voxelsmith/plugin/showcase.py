"""Showcase: the real window with finished masks, for the demo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import napari
import numpy as np

from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.plugin.layers import layer_data


def show(results: Sequence[tuple[Volume, LabelVolume]], screenshot: Path, *, stay: bool) -> None:
    """Open napari on images and their masks with the Prompt dock, and save a picture of the window.

    Parameters
    ----------
    results
        Pairs of image and labels; the first pair is visible, the others are hidden.
    screenshot
        PNG file to write.
    stay
        Leave the window open and return when the user closes it.
    """
    viewer = napari.Viewer(title="Voxelsmith demo")
    for number, pair in enumerate(results):
        for volume in pair:
            data, options, kind = layer_data(volume)
            layer = getattr(viewer, f"add_{kind}")(data, **options)
            layer.visible = number == 0
    viewer.window.add_plugin_dock_widget("napari-voxelsmith", "Prompt")
    labels = viewer.layers[1]
    viewer.dims.point = labels.data_to_world(np.argwhere(labels.data).mean(axis=0))
    viewer.reset_view()
    viewer.screenshot(str(screenshot), canvas_only=False, flash=False)
    if stay:
        napari.run()
    viewer.close()
