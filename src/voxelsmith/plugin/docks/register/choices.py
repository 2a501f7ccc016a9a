"""Choices: which layers play which part in a registration.

Owns them by layer, not by name, so that a renamed layer stays chosen. Fixed and moving are two images; masks, labels
and landmarks are there or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from voxelsmith.plugin.docks.offered import offered

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.register.view import RegisterDock

NONE = "none"
KINDS: Mapping[str, str] = {
    f"{side}_{kind}".strip("_"): kind for kind in ("", "mask", "labels", "points") for side in ("fixed", "moving")
}
"""Part ("fixed", "moving", "fixed_mask", ...) to kind: "" is an image."""


class LayerChoices:
    """The chosen layers of a viewer.

    Parameters
    ----------
    view
        Where they are offered.
    viewer : napari.components.ViewerModel

    Attributes
    ----------
    chosen : dict
        By part, a key of :data:`KINDS`; None where no layer is chosen.
    """

    def __init__(self, view: RegisterDock, viewer: Any) -> None:
        self._view, self._viewer = view, viewer
        self.chosen: dict[str, Any] = dict.fromkeys(KINDS)

    def offer(self) -> None:
        """Offer the layers that there are now; choose another image where the chosen one has gone."""
        for part, layer in self.chosen.items():
            if layer not in self._candidates(part):
                self.chosen[part] = None
        images = self._candidates("fixed")
        for part, other in (("fixed", "moving"), ("moving", "fixed")):
            if self.chosen[part] is None:
                self.chosen[part] = next((i for i in images if i is not self.chosen[other]), None)
        self.show()

    def show(self) -> None:
        """Show what is offered and chosen."""
        for part, kind in KINDS.items():
            now = self.chosen[part]
            names = [layer.name for layer in self._candidates(part)]
            self._view.set_choices(part, [NONE, *names] if kind else names, None if now is None else now.name)

    def choose(self, part: str, name: str) -> None:
        """The user chose a layer by name, or none."""
        self.chosen[part] = next((layer for layer in self._candidates(part) if layer.name == name), None)

    def swap(self) -> None:
        """Let fixed and moving change their parts, with all that belongs to them."""
        self.chosen = {part: self.chosen[_other_side(part)] for part in KINDS}
        self.show()

    @property
    def layers(self) -> list[Any]:
        """The chosen layers, each once."""
        found: list[Any] = []
        for layer in self.chosen.values():
            if layer is not None and layer not in found:
                found.append(layer)
        return found

    def _candidates(self, part: str) -> list[Any]:
        from napari.layers import Image, Labels, Points

        kind = {"": Image, "mask": Labels, "labels": Labels, "points": Points}[KINDS[part]]
        return [layer for layer in reversed(offered(self._viewer)) if isinstance(layer, kind)]


def _other_side(part: str) -> str:
    return part.replace("fixed", "moving") if part.startswith("fixed") else part.replace("moving", "fixed")


def moving_side(chosen: Mapping[str, Any]) -> list[Any]:
    """Mask, labels and landmarks that belong to the moving image alone."""
    fixed = [layer for part, layer in chosen.items() if part.startswith("fixed")]
    beside = [layer for part, layer in chosen.items() if part.startswith("moving_") and layer is not None]
    return [layer for layer in beside if layer not in fixed]
