"""Together: the sequences side by side or blended, in windows that mean the same.

Owns what is changed for that, visibility, contrast, colours and napari's grid mode, and puts everything back. Layers
that were deleted meanwhile stay so, and layers that came meanwhile are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voxelsmith.plugin.docks.tumour.overlays import PER_CELL, Overlays
from voxelsmith.segment.tumour.names import Modality

KINDS = {"apart": "As they are", "grid": "Side by side", "blend": "Blended"}
"""How sequences are shown, with title."""

# Colour and opacity; T1 gives the shape, the others what is special of them.
_BLEND: Mapping[Modality, tuple[str, float]] = {
    "t1": ("gray", 0.3),
    "t1c": ("red", 0.7),
    "t2": ("blue", 0.7),
    "flair": ("green", 0.7),
}
_LOOKS = ("visible", "contrast_limits", "colormap", "blending", "opacity")
_GRID = ("enabled", "stride", "shape")


class Together:
    """Shows the sequences of a viewer together until :meth:`restore`.

    Parameters
    ----------
    viewer : napari.components.ViewerModel

    Attributes
    ----------
    kind : str
        A key of :data:`KINDS`.
    labels : napari.layers.Labels or None
        What lies over the sequences that are shown together.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._before: list[tuple[Any, dict[str, Any]]] = []
        self._grid: dict[str, Any] = {}
        self._overlays: Overlays | None = None
        self.kind = "apart"
        self.labels: Any = None

    def show(self, kind: str, images: Mapping[Modality, Any], labels: Any = None) -> None:
        """Show sequences in a way of :data:`KINDS`, with a Labels layer over them if there is one."""
        self.restore()
        if kind == "apart" or not images:
            return
        self.labels = labels
        shown = [*images.values(), *([] if labels is None else [labels])]
        self._before = [(layer, _look(layer)) for layer in self._viewer.layers]
        grid = self._viewer.canvas.grid
        self._grid = {name: getattr(grid, name) for name in _GRID}
        self.kind = kind
        for layer, _ in self._before:
            layer.visible = layer in shown
        if kind == "blend":
            for modality, layer in images.items():
                if layer.rgb:
                    continue
                (layer.colormap, layer.opacity), layer.blending = _BLEND[modality], "additive"
        else:
            if labels is not None:
                self._overlays = Overlays(self._viewer, labels, list(images.values()))
            grid.stride, grid.shape, grid.enabled = 1 if labels is None else PER_CELL, (-1, -1), True
        self._viewer.reset_view()

    def set_windows(self, windows: Mapping[Any, tuple[float, float]]) -> None:
        """Give layers that are shown together their grey values, lowest and highest."""
        if self.kind != "apart":
            for layer, window in windows.items():
                if not layer.rgb:
                    layer.contrast_limits = window

    def restore(self) -> None:
        """Show all layers as they were before."""
        if self.kind == "apart":
            return
        self.kind, self.labels = "apart", None
        if self._overlays is not None:
            self._overlays.remove()
            self._overlays = None
        for layer, look in self._before:
            if layer in self._viewer.layers:
                for name, value in look.items():
                    setattr(layer, name, value)
        for name, value in self._grid.items():
            setattr(self._viewer.canvas.grid, name, value)
        self._before = []
        self._viewer.reset_view()


def _look(layer: Any) -> dict[str, Any]:
    return {name: getattr(layer, name) for name in _LOOKS if hasattr(layer, name) and _is_own(layer, name)}


def _is_own(layer: Any, name: str) -> bool:
    """Whether this module changes a property of such a layer."""
    from napari.layers import Image

    return name == "visible" or (isinstance(layer, Image) and not layer.rgb)
