"""Choices of layers: the image that is shown to the network, and the labels that are painted in and accepted into.

Owns them by layer, not by name, so that a renamed layer stays chosen. Layers that only show something are not offered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxelsmith.plugin.docks.offered import offered

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.train.data_part import DataPart

NEW_LABELS = "New labels layer"


class LayerChoices:
    """The chosen layers of a viewer.

    Parameters
    ----------
    part
        Where they are offered.
    viewer : napari.components.ViewerModel

    Attributes
    ----------
    image, labels : layer or None
        Without labels a new layer is wanted when one is needed.
    """

    def __init__(self, part: DataPart, viewer: Any) -> None:
        self._part, self._viewer = part, viewer
        self.image: Any = None
        self.labels: Any = None

    def offer(self) -> None:
        """Offer the layers that there are now; choose others where chosen ones have gone."""
        from napari.layers import Image, Labels

        open_layers = offered(self._viewer)
        images = [layer for layer in open_layers if isinstance(layer, Image)]
        labels = [layer for layer in open_layers if isinstance(layer, Labels)]
        if self.image not in images:
            self.image = next(iter(images), None)
        if self.labels not in labels:
            self.labels = next(iter(labels), None)
        self._part.set_choices("image", [i.name for i in images], None if self.image is None else self.image.name)
        names = [NEW_LABELS, *(layer.name for layer in labels)]
        self._part.set_choices("labels", names, NEW_LABELS if self.labels is None else self.labels.name)

    def choose(self, kind: str, name: str) -> None:
        """The user chose a layer by name."""
        setattr(self, kind, next((layer for layer in self._viewer.layers if layer.name == name), None))
