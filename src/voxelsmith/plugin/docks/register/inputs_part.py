"""Inputs part of the dock: which layers are fixed and moving, and what is known about them."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QPushButton, QWidget

from voxelsmith.plugin.docks.fold import Fold
from voxelsmith.plugin.docks.prompt.parts import combo_box, grid_part, label_for
from voxelsmith.plugin.docks.register.choices import KINDS

_IMAGES = {
    "fixed": ("&Fixed", "The image that stays; of a time series, the frame that is shown"),
    "moving": ("&Moving", "The image that is brought onto the fixed one; of a time series, the frame that is shown"),
}
_EXTRAS = {
    "mask": ("Mask", "Labels; where they are, voxels of the {side} image count, elsewhere they do not"),
    "labels": ("Labels", "Structures in the {side} image; the same number means the same structure in the other one"),
    "points": ("Points", "Landmarks in the {side} image; the first belongs to the first of the other image, and so on"),
}


class InputsPart(QWidget):
    """Choices of layers.

    Attributes
    ----------
    chosen : Signal(str, str)
        A part, such as "fixed_mask", and the name of the layer.
    swapped : Signal()
        Fixed and moving are to change their parts.
    """

    chosen = Signal(str, str)
    swapped = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.combos: dict[str, QComboBox] = {part: combo_box() for part in KINDS}
        for part, combo in self.combos.items():
            combo.activated.connect(lambda _=0, part=part: self._announce(part))
        self.swap_button = QPushButton("⇅")
        self.swap_button.setToolTip("Exchange fixed and moving, with their masks, labels and landmarks")
        self.swap_button.setAccessibleName("Exchange fixed and moving")
        self.swap_button.setFixedWidth(36)
        self.swap_button.clicked.connect(lambda: self.swapped.emit())
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        for row, (part, (text, tip)) in enumerate(_IMAGES.items()):
            self.combos[part].setToolTip(tip)
            grid.addWidget(label_for(text, self.combos[part]), row, 0)
            grid.addWidget(self.combos[part], row, 1)
        grid.addWidget(self.swap_button, 0, 2, 2, 1)
        self.extras = Fold("Masks, labels, landmarks", self._extras())
        grid.addWidget(self.extras, 2, 0, 1, 3)
        grid.setColumnStretch(1, 1)

    def _extras(self) -> QWidget:
        part, grid = grid_part()
        for column, side in enumerate(_IMAGES, start=1):
            grid.addWidget(QLabel(side), 0, column)
            grid.setColumnStretch(column, 1)
        for row, (kind, (text, tip)) in enumerate(_EXTRAS.items(), start=1):
            grid.addWidget(QLabel(text), row, 0)
            for column, side in enumerate(_IMAGES, start=1):
                combo = self.combos[f"{side}_{kind}"]
                combo.setToolTip(tip.format(side=side))
                combo.setAccessibleName(f"{text} of the {side} image")
                grid.addWidget(combo, row, column)
        return part

    def _announce(self, part: str) -> None:
        self.chosen.emit(part, self.combos[part].currentText())

    def set_choices(self, part: str, names: Sequence[str], current: str | None) -> None:
        """Offer layers by name, and show which one is chosen; without one the first line, or none, is."""
        combo = self.combos[part]
        with QSignalBlocker(combo):
            combo.clear()
            combo.addItems(list(names))
            combo.setCurrentIndex(names.index(current) if current in names else 0)
