"""Overlays: one Labels layer seen over several images of napari's grid at once.

Owns copies of the layer that share its voxels, one over each image but the last, which the layer itself lies over, and
the order of the layers: in the grid every two neighbours from the bottom on share a cell. Painting on any cell paints
the layer, and the copies follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voxelsmith.plugin.canvas import remove_layers
from voxelsmith.plugin.docks.offered import PREVIEW
from voxelsmith.plugin.layers import NAMESPACE, placement

PER_CELL = 2
"""Layers in a cell of the grid: an image, and the labels over it."""
_VOXELS = ("paint", "labels_update", "set_data")


class Overlays:
    """Copies of a Labels layer over images until :meth:`remove`.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    labels : napari.layers.Labels
        In the viewer.
    images : sequence of napari.layers.Image
        In the viewer; they and the labels become the lowest layers, in this order.
    """

    def __init__(self, viewer: Any, labels: Any, images: Sequence[Any]) -> None:
        self._viewer, self._labels = viewer, labels
        self._order = list(viewer.layers)
        self.copies = [self._copy(image) for image in images[:-1]]
        for name in _VOXELS:
            getattr(labels.events, name).connect(self._follow)
        for name in ("data", "colormap"):
            getattr(labels.events, name).connect(self._take)
        cells = [layer for pair in zip(images, [*self.copies, labels], strict=True) for layer in pair]
        active = viewer.layers.selection.active
        for copy in self.copies:
            viewer.layers.append(copy)
        self._arrange([*cells, *(layer for layer in self._order if layer not in cells)])
        viewer.layers.selection.active = active

    def remove(self) -> None:
        """Take the copies away and put the layers back in their order."""
        for name in _VOXELS:
            getattr(self._labels.events, name).disconnect(self._follow)
        for name in ("data", "colormap"):
            getattr(self._labels.events, name).disconnect(self._take)
        remove_layers(self._viewer, self.copies)
        came = [layer for layer in self._viewer.layers if layer not in self._order]
        self._arrange([*(layer for layer in self._order if layer in self._viewer.layers), *came])

    def _copy(self, image: Any) -> Any:
        from napari.layers import Labels

        layer = Labels(
            self._labels.data,
            name=f"{self._labels.name} on {image.name}",
            opacity=self._labels.opacity,
            metadata={NAMESPACE: {PREVIEW: True}},
            **placement(self._labels),
        )
        layer.colormap = self._labels.colormap
        layer.editable = False
        return layer

    def _follow(self, event: Any = None) -> None:
        for copy in self.copies:
            copy.refresh(extent=False, thumbnail=False)

    def _take(self, event: Any = None) -> None:
        for copy in self.copies:
            copy.data, copy.colormap = self._labels.data, self._labels.colormap
            copy.editable = False

    def _arrange(self, wanted: Sequence[Any]) -> None:
        for place, layer in enumerate(wanted):
            if self._viewer.layers[place] is not layer:
                self._viewer.layers.move(self._viewer.layers.index(layer), place)
