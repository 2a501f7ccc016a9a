"""Choices of layers: which image, mask and target the dock offers, and which of them are chosen.

Owns them by layer, not by name, so that a renamed layer stays chosen. Layers of a session are never offered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxelsmith.plugin.docks.offered import offered

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.prompt.view import PromptDock

NEW_TARGET = "New labels layer"


class LayerChoices:
    """The chosen layers of a viewer.

    Attributes
    ----------
    image, mask, target : layer or None
        No target means that a new one is wanted.
    """

    def __init__(self, view: PromptDock, viewer: Any) -> None:
        self._view, self._viewer = view, viewer
        self.image: Any = None
        self.mask: Any = None
        self.target: Any = None

    def offer(self) -> None:
        """Offer the layers that there are now; choose another one where the chosen one has gone."""
        from napari.layers import Image, Labels

        open_layers = offered(self._viewer)
        images = [layer for layer in open_layers if isinstance(layer, Image)]
        labels = [layer for layer in open_layers if isinstance(layer, Labels)]
        active = self._viewer.layers.selection.active
        if self.image not in images:
            self.image = active if active in images else next(iter(images), None)
        if self.mask not in labels:
            self.mask = next(iter(labels), None)
        if self.target not in labels:
            self.target = None
        for kind, layers, first in (("image", images, []), ("mask", labels, []), ("target", labels, [NEW_TARGET])):
            now = getattr(self, kind)
            names = [*first, *(layer.name for layer in layers)]
            self._view.set_choices(kind, names, now.name if now is not None else None)

    def choose(self, kind: str, name: str) -> None:
        """The user chose a layer by name."""
        setattr(self, kind, next((layer for layer in self._viewer.layers if layer.name == name), None))
