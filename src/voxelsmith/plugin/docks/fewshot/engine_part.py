"""Engine part of the dock: which engine proposes, why, and in which slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QGridLayout, QLabel, QWidget
from superqt import QLabeledRangeSlider

from voxelsmith.plugin.docks.fewshot.networks import Offer
from voxelsmith.plugin.docks.prompt.parts import label_for, picker_box
from voxelsmith.segment.fewshot import AUTOMATIC, ENGINES

OTHER_RUN = "Trained run…"


class EnginePart(QWidget):
    """A choice of engines, a sentence, and a range of slices.

    Attributes
    ----------
    changed : Signal()
        Another engine or another range.
    opening : Signal()
        The user turns to the list of engines.
    run_chosen : Signal(object)
        The folder of a trained run that the user wants as an engine, a path.
    """

    changed = Signal()
    opening = Signal()
    run_chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._engine = AUTOMATIC
        self.combo = picker_box()
        self.set_networks(())
        self.combo.setToolTip("Which engine proposes; the line below says which one suits, and why")
        self.combo.opening.connect(self.opening)
        self.combo.activated.connect(self._on_engine)
        self.reason = QLabel()
        self.reason.setWordWrap(True)
        self.reason.setTextFormat(Qt.TextFormat.PlainText)
        self.range_box = QCheckBox("Only in a &range of slices")
        self.range_box.setToolTip("For examples of other volumes: between which slices the classes lie, if you know it")
        self.range_slider = QLabeledRangeSlider(Qt.Orientation.Horizontal)
        self.range_slider.setTracking(False)
        self.range_slider.setEdgeLabelMode(QLabeledRangeSlider.EdgeLabelMode.NoLabel)
        self.range_slider.setToolTip("First and last slice with something to find")
        self.range_slider.hide()
        self.range_slider.valueChanged.connect(lambda _: self.changed.emit())
        self.range_box.toggled.connect(self._on_range)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        grid.addWidget(label_for("En&gine", self.combo), 0, 0)
        grid.addWidget(self.combo, 0, 1)
        grid.addWidget(self.reason, 1, 0, 1, 2)
        grid.addWidget(self.range_box, 2, 0, 1, 2)
        grid.addWidget(self.range_slider, 3, 0, 1, 2)
        grid.setColumnStretch(1, 1)
        self.set_range(None)

    @property
    def engine(self) -> str:
        """Name of the chosen engine, or "automatic"."""
        return self._engine

    def set_networks(self, offers: Sequence[Offer]) -> None:
        """Offer trained networks beside the engines; what is chosen stays so while it is there."""
        entries = [("Automatic", AUTOMATIC, ""), *((title, name, "") for name, title in ENGINES.items())]
        entries += [(offer.title, offer.name, offer.tip) for offer in offers]
        with QSignalBlocker(self.combo):
            self.combo.clear()
            for row, (title, name, tip) in enumerate(entries):
                self.combo.addItem(title, name)
                self.combo.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)
            self.combo.addItem(OTHER_RUN)
        self.choose(self._engine)

    def choose(self, name: str) -> None:
        """Show an engine as the chosen one; the first one if it is not there."""
        row = max(self.combo.findData(name), 0)
        self._engine = str(self.combo.itemData(row))
        with QSignalBlocker(self.combo):
            self.combo.setCurrentIndex(row)

    def _on_engine(self, row: int) -> None:
        if self.combo.itemData(row) is not None:
            self._engine = str(self.combo.itemData(row))
            self.changed.emit()
            return
        self.choose(self._engine)
        if path := QFileDialog.getExistingDirectory(self, "Folder of a trained run"):
            self.run_chosen.emit(Path(path))

    @property
    def known_range(self) -> tuple[int, int] | None:
        """First and last slice, if the user gave them."""
        if self.range_box.isHidden() or not self.range_box.isChecked():
            return None
        first, last = self.range_slider.value()
        return int(first), int(last)

    def set_reason(self, text: str) -> None:
        """Say which engine suits, and why."""
        self.reason.setText(text)
        self.reason.setVisible(bool(text))

    def set_range(self, count: int | None) -> None:
        """Offer so many slices; None if there is nothing to choose from."""
        offered = count is not None and count > 1
        self.range_box.setVisible(offered)
        self.range_slider.setVisible(offered and self.range_box.isChecked())
        if count is not None and count > 1 and self.range_slider.maximum() != count - 1:
            with QSignalBlocker(self.range_slider):
                self.range_slider.setRange(0, count - 1)
                self.range_slider.setValue((0, count - 1))

    def _on_range(self, wanted: bool) -> None:
        self.range_slider.setVisible(wanted)
        self.changed.emit()
