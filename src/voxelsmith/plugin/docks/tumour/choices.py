"""Choices: which layer is which sequence, and which one is the brain mask.

Owns them by layer, not by name, so that a renamed layer stays chosen. A slot that the user has not touched is filled
by name: what a layer is called, else the file that it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from voxelsmith.plugin.docks.offered import offered
from voxelsmith.segment.tumour.names import MODALITIES, Modality, match_files, modality_of

MASK = "mask"
NONE = "none"
SLOTS: tuple[str, ...] = (*MODALITIES, MASK)


class SlotChoices:
    """The chosen layers of a viewer.

    Parameters
    ----------
    show
        Called with a slot, the names to choose from, and the chosen one.
    viewer : napari.components.ViewerModel

    Attributes
    ----------
    chosen : dict
        By slot; None where no layer is chosen.
    """

    def __init__(self, show: Callable[[str, list[str], str], None], viewer: Any) -> None:
        self._show, self._viewer = show, viewer
        self.chosen: dict[str, Any] = dict.fromkeys(SLOTS)
        self._decided: set[str] = set()

    @property
    def images(self) -> Mapping[Modality, Any]:
        """The chosen images by sequence, without empty slots."""
        return {m: self.chosen[m] for m in MODALITIES if self.chosen[m] is not None}

    @property
    def layers(self) -> list[Any]:
        """The chosen layers."""
        return [layer for layer in self.chosen.values() if layer is not None]

    def offer(self) -> None:
        """Offer the layers that there are now; forget those that have gone and fill untouched slots by name."""
        for slot, layer in self.chosen.items():
            if layer is not None and layer not in self._candidates(slot):
                self.chosen[slot] = None
                self._decided.discard(slot)
        for slot in SLOTS:
            if self.chosen[slot] is None and slot not in self._decided:
                fitting = (layer for layer in self._candidates(slot) if layer not in self.layers)
                self.chosen[slot] = next((layer for layer in fitting if _fits(layer, slot)), None)
        self.show()

    def show(self) -> None:
        """Show what is offered and chosen."""
        for slot, now in self.chosen.items():
            names = [NONE, *(layer.name for layer in self._candidates(slot))]
            self._show(slot, names, NONE if now is None else now.name)

    def choose(self, slot: str, name: str) -> None:
        """The user chose a layer by name, or none; the slot that had it gets what this one had."""
        before = self.chosen[slot]
        self.chosen[slot] = next((layer for layer in self._candidates(slot) if layer.name == name), None)
        self._decided.add(slot)
        for other in SLOTS:
            if other != slot and self.chosen[other] is not None and self.chosen[other] is self.chosen[slot]:
                self.chosen[other] = before
                self._decided.add(other)
        self.show()

    def fill(self, layers: Mapping[str, Any]) -> None:
        """Make these the layers of their slots, and empty the others: another patient."""
        self.chosen = {slot: layers.get(slot) for slot in SLOTS}
        self._decided = set(layers)
        self.show()

    def _candidates(self, slot: str) -> list[Any]:
        from napari.layers import Image, Labels

        kind = Labels if slot == MASK else Image
        return [layer for layer in reversed(offered(self._viewer)) if isinstance(layer, kind)]


def _fits(layer: Any, slot: str) -> bool:
    """Whether a layer belongs into a slot by its name or that of its file."""
    names = [layer.name, *([] if layer.source.path is None else [Path(layer.source.path).name])]
    if slot == MASK:
        return any(match_files([Path(name)]).mask is not None for name in names)
    return next((found for name in names if (found := modality_of(name))), None) == slot
