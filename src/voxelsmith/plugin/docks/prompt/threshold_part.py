"""Threshold part of the dock: where probabilities are cut, whether they are shown, and which engine gave them."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QAbstractSlider, QCheckBox, QGridLayout, QLabel, QPushButton, QWidget
from superqt import QLabeledDoubleSlider

from voxelsmith.plugin.docks.prompt.parts import label_for
from voxelsmith.segment.session import USUAL_THRESHOLD

LOWEST, HIGHEST = 0.05, 0.95
_STEPS = {"Left": -0.01, "Right": 0.01, "Down": -0.01, "Up": 0.01, "PgDown": -0.1, "PgUp": 0.1}
_TIP = "How likely a voxel must be to belong to the object; lower makes the object larger. Nothing is computed again"


class ThresholdPart(QWidget):
    """A slider for the threshold and a check box for the probability layer.

    Attributes
    ----------
    moved : Signal(float)
        The threshold that the user asks for.
    probability_toggled : Signal(bool)
        Whether the user wants to see the probabilities.
    """

    moved = Signal(float)
    probability_toggled = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.slider = threshold_slider()
        self.slider.valueChanged.connect(lambda value: self.moved.emit(round(float(value), 2)))
        self.reset_button = QPushButton(f"{USUAL_THRESHOLD:g}")
        self.reset_button.setToolTip(f"Put the threshold back to {USUAL_THRESHOLD:g}")
        self.reset_button.setFixedWidth(36)
        self.reset_button.clicked.connect(lambda: self.slider.setValue(USUAL_THRESHOLD))
        self.box = QCheckBox("Show probabilit&y")
        self.box.setToolTip("A layer over the preview that glows where the object is likely; it goes with the session")
        self.box.toggled.connect(self.probability_toggled)
        self.maker = QLabel()
        self.maker.setWordWrap(True)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        grid.addWidget(self.maker, 0, 0, 1, 3)
        grid.addWidget(label_for("T&hreshold", self.slider), 1, 0)
        grid.addWidget(self.slider, 1, 1)
        grid.addWidget(self.reset_button, 1, 2)
        grid.addWidget(self.box, 2, 0, 1, 3)
        grid.setColumnStretch(1, 1)

    def set_threshold(self, value: float, why_not: str) -> None:
        """Show the threshold; a reason why it cannot be moved disables it."""
        with QSignalBlocker(self.slider):
            self.slider.setValue(value)
        for widget in (self.slider, self.reset_button):
            widget.setEnabled(not why_not)
        self.slider.setToolTip(why_not or _TIP)

    def set_probability(self, shown: bool) -> None:
        """Show whether there is a probability layer."""
        with QSignalBlocker(self.box):
            self.box.setChecked(shown)

    def set_maker(self, text: str) -> None:
        """Say which engine made the mask shown; nothing hides the line."""
        self.maker.setText(text)
        self.maker.setVisible(bool(text))


def threshold_slider() -> Any:
    """A slider of decimal numbers that listens to keys."""
    slider: Any = QLabeledDoubleSlider
    made = slider(Qt.Orientation.Horizontal)
    made.setRange(LOWEST, HIGHEST)
    made.setSingleStep(0.01)
    made.setDecimals(2)
    # superqt's sliders of decimal numbers do not listen to keys.
    inner = made.findChild(QAbstractSlider)
    made.setFocusProxy(inner)
    for key, step in _STEPS.items():
        shortcut = QShortcut(QKeySequence(key), inner)
        shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
        shortcut.activated.connect(lambda step=step: made.setValue(made.value() + step))
    return made
