"""Follower: drawings that are made for the slice that is shown.

Owns the watch over the viewer's slider, and which slice of a grid is shown. Arrows and lines through a whole volume
would be too many to draw; those of one slice are few, and in 3-D a coarse set of them is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer

from voxelsmith.plugin.docks.register.place import Place
from voxelsmith.plugin.layers import stored_axes
from voxelsmith.register.looks import Plane


class SliceFollower(QObject):
    """Calls back when another slice is shown.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    redraw
        Called without arguments, at once for the first time by whoever makes it, later after each change.
    parent
        What it lives with.
    """

    def __init__(self, viewer: Any, redraw: Callable[[], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._events = [getattr(viewer.dims.events, name) for name in ("point", "order", "ndisplay")]
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(redraw)
        for emitter in self._events:
            emitter.connect(self._on_change)

    def _on_change(self, event: Any = None) -> None:
        self._soon.start()

    def close(self) -> None:
        """Let go of the viewer."""
        self._soon.stop()
        for emitter in self._events:
            emitter.disconnect(self._on_change)


def shown_plane(viewer: Any, place: Place) -> Plane | None:
    """The slice of a grid that a viewer shows; None in 3-D. Beyond the grid the outermost slice is meant."""
    dims = viewer.dims
    spatial = [axis for axis in dims.not_displayed if axis >= dims.ndim - 3]
    if len(spatial) != 1:
        return None
    shown = spatial[0] - (dims.ndim - 3)
    at = float(place.frame.world_to_data(np.asarray(dims.point)[-3:])[shown])
    axis = stored_axes(place.frame)[shown]
    return Plane(axis, min(max(at, 0.0), place.grid[axis] - 1.0))
