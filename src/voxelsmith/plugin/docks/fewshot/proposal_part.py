"""Proposal part of the dock: where it is unsure, and what of it is accepted."""

from __future__ import annotations

from collections.abc import Collection

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QHBoxLayout, QLabel, QPushButton, QSlider, QWidget

from voxelsmith.plugin.docks.fewshot.strip import ConfidenceStrip
from voxelsmith.segment.zoom import FloatArray

ACTIONS = {
    "worst": ("&Jump to worst", "Ctrl+J", "Go to the least sure slice that you have not seen yet"),
    "correct": (
        "Correct slice",
        "Ctrl+B",
        "Write this slice into the labels and take the brush; it becomes an example when you propose again",
    ),
    "accept_slice": ("Accept slice", "Ctrl+L", "Write all classes of the slice that is shown into the labels"),
    "accept_class": ("Accept class", "Ctrl+Shift+L", "Write the chosen class into the labels, in all slices"),
    "accept_all": ("Accept all", "Ctrl+Shift+Return", "Write the whole proposal into the labels"),
    "undo": ("Undo", "Ctrl+Z", "Take back what was accepted, or the last change of the examples"),
    "redo": ("Redo", "Ctrl+Shift+Z", "Do again what was taken back"),
}
"""Action to text, key and tooltip."""


class ProposalPart(QWidget):
    """Slider, strip and buttons.

    Attributes
    ----------
    asked : Signal(str)
        An action of :data:`ACTIONS`.
    slice_chosen : Signal(int)
        A slice to show.
    """

    asked = Signal(str)
    slice_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.slice_label = QLabel()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setToolTip("The slice that is shown, along the axis in which slices are annotated")
        self.slider.valueChanged.connect(self.slice_chosen)
        self.strip = ConfidenceStrip()
        self.strip.chosen.connect(self.slice_chosen)
        self.buttons: dict[str, QPushButton] = {}
        for action, (text, key, tip) in ACTIONS.items():
            button = QPushButton(text)
            button.setToolTip(f"{tip} ({key.replace('Return', 'Enter')})")
            button.clicked.connect(lambda _=False, a=action: self.asked.emit(a))
            self.buttons[action] = button
        self.overwrite_box = QCheckBox("Overwrite other labels")
        self.overwrite_box.setToolTip(
            "Let what you accept replace labels that are there; annotated slices stay as they are even then"
        )
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        head = QHBoxLayout()
        head.addWidget(self.slice_label, 1)
        head.addWidget(self.buttons["worst"])
        grid.addLayout(head, 0, 0, 1, 2)
        grid.addWidget(self.slider, 1, 0, 1, 2)
        grid.addWidget(self.strip, 2, 0, 1, 2)
        for row, pair in enumerate((("correct", "accept_slice"), ("accept_class", "accept_all")), start=3):
            for column, action in enumerate(pair):
                grid.addWidget(self.buttons[action], row, column)
        grid.addWidget(self.overwrite_box, 5, 0, 1, 2)
        grid.addWidget(self.buttons["undo"], 6, 0)
        grid.addWidget(self.buttons["redo"], 6, 1)
        self.set_slices(0, 0)
        self.set_possible(())

    @property
    def overwrite(self) -> bool:
        """Whether labels that are there may be replaced."""
        return self.overwrite_box.isChecked()

    def set_slices(self, count: int, current: int) -> None:
        """Offer so many slices, and show which one the viewer shows; none hides the slider."""
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, max(0, count - 1))
            self.slider.setValue(current)
        self.slider.setVisible(count > 1)
        self.slice_label.setText(f"Slice {current} of {count - 1}" if count else "No slices are shown")
        self.strip.set_current(current)

    def set_confidence(self, confidence: FloatArray | None, annotated: Collection[int] = ()) -> None:
        """Show how sure the proposal is of each slice; None hides the strip."""
        self.strip.set_confidence(confidence, annotated)

    def set_possible(self, actions: Collection[str]) -> None:
        """Enable what can be done now."""
        for action, button in self.buttons.items():
            button.setEnabled(action in actions)
