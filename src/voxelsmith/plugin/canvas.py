"""Canvas: taking layers out of a window safely.

Owns one work-around. When layers go, napari frees what was uploaded for them in whatever OpenGL context is current.
That may be the one with which Qt puts the window together rather than the canvas's, and then a driver may read freed
memory at the next frame: with Mesa's software renderer the process dies once a Shapes layer was removed.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any


def make_current(event: Any = None) -> None:
    """Make the OpenGL context of the canvas that was drawn last the current one; does nothing without a canvas."""
    from vispy.gloo import get_current_canvas

    canvas = get_current_canvas()
    if canvas is not None:
        # Qt may have deleted its widget already.
        with suppress(RuntimeError):
            canvas.set_current()


def remove_layers(viewer: Any, layers: Iterable[Any]) -> None:
    """Take those of the layers that are in the viewer out of it, with one update of the window for all."""
    with viewer.layers.batched_update():
        for layer in layers:
            if layer in viewer.layers:
                viewer.layers.remove(layer)
        make_current()
