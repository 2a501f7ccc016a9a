"""Adapt part of the dock: for how long an encoder learns from the open images, and the button that begins it."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QSpinBox, QWidget

from voxelsmith.plugin.docks.prompt.parts import label_for


class AdaptPart(QWidget):
    """A number of minutes and a button.

    Attributes
    ----------
    wanted : Signal(int)
        For so many minutes.
    """

    wanted = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.note = QLabel(
            "The features that prototypes compare are trained on the open images; no labels are needed. It runs in the "
            "background, and the network is offered as an engine afterwards."
        )
        self.note.setWordWrap(True)
        self.minutes = QSpinBox()
        self.minutes.setRange(1, 240)
        self.minutes.setValue(20)
        self.minutes.setSuffix(" min")
        self.minutes.setToolTip("How long to train; 20 to 30 minutes are usual without a graphics card")
        self.button = QPushButton("A&dapt to the open images")
        self.button.setToolTip("Train an encoder for examples of other volumes on all 3-D images that are open")
        self.button.clicked.connect(lambda: self.wanted.emit(self.minutes.value()))
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        grid.addWidget(self.note, 0, 0, 1, 2)
        grid.addWidget(label_for("For", self.minutes), 1, 0)
        grid.addWidget(self.minutes, 1, 1)
        grid.addWidget(self.button, 2, 0, 1, 2)
        grid.setColumnStretch(1, 1)

    def set_running(self, running: bool) -> None:
        """While it runs it cannot be begun again."""
        self.button.setEnabled(not running)
