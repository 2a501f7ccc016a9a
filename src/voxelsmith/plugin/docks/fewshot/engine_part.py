"""Engine part of the dock: which engine proposes, why, and in which slices."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QWidget
from superqt import QLabeledRangeSlider

from voxelsmith.plugin.docks.prompt.parts import combo_box, label_for
from voxelsmith.segment.fewshot import AUTOMATIC, ENGINES


class EnginePart(QWidget):
    """A choice of engines, a sentence, and a range of slices.

    Attributes
    ----------
    changed : Signal()
        Another engine or another range.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.combo = combo_box()
        self.combo.addItem("Automatic", AUTOMATIC)
        for name, title in ENGINES.items():
            self.combo.addItem(title, name)
        self.combo.setToolTip("Which engine proposes; the line below says which one suits, and why")
        self.combo.activated.connect(lambda _=0: self.changed.emit())
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
        return str(self.combo.currentData())

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
