"""Choices of layers: the image that is worked on, and the labels layer that is painted in and accepted into.

Owns them by layer, not by name, so that a renamed layer stays chosen. Previews of any dock are never offered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxelsmith.plugin.docks.offered import offered

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.fewshot.view import FewShotDock

NEW_TARGET = "New labels layer"


class LayerChoices:
    """The chosen layers of a viewer.

    Attributes
    ----------
    image, target : layer or None
        No target means that a new one is wanted.
    """

    def __init__(self, view: FewShotDock, viewer: Any) -> None:
        self._view, self._viewer = view, viewer
        self.image: Any = None
        self.target: Any = None

    def offer(self) -> None:
        """Offer the layers that there are now; choose another image where the chosen one has gone."""
        from napari.layers import Image, Labels

        open_layers = offered(self._viewer)
        images = [layer for layer in open_layers if isinstance(layer, Image)]
        labels = [layer for layer in open_layers if isinstance(layer, Labels)]
        active = self._viewer.layers.selection.active
        if self.image not in images:
            self.image = active if active in images else next(iter(images), None)
        if self.target not in labels:
            self.target = None
        self._view.set_choices("image", [i.name for i in images], None if self.image is None else self.image.name)
        names = [NEW_TARGET, *(layer.name for layer in labels)]
        self._view.set_choices("target", names, NEW_TARGET if self.target is None else self.target.name)

    def choose(self, kind: str, name: str) -> None:
        """The user chose a layer by name."""
        setattr(self, kind, next((layer for layer in self._viewer.layers if layer.name == name), None))
