"""Opening: the way from another dock to the Models dock."""

from __future__ import annotations

from typing import Any

PLUGIN = "napari-voxelsmith"


def open_models(viewer: Any, name: str) -> None:
    """Show the Models dock of a viewer, with the weights of this name chosen.

    Parameters
    ----------
    viewer : napari.Viewer
        With its window.
    name
        Entry of the model zoo.
    """
    frame, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Models", tabify=True)
    frame.show()
    frame.raise_()
    dock.controller.speak_of(name)
