"""Results part of the dock: which looks at a registration are shown as layers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QPushButton, QSlider, QSpinBox, QWidget

from voxelsmith.plugin.docks.prompt.parts import label_for
from voxelsmith.plugin.docks.register.results import ResultsController
from voxelsmith.plugin.runner import JobRunner

KINDS = {
    "warped": ("Warped image", "The moving image on the fixed grid; the slider below blends it with the fixed one"),
    "labels": ("Warped labels", "The moving labels on the fixed grid"),
    "checkerboard": ("Checkerboard", "Fields of both images in turn; where they fit, edges go on across the fields"),
    "difference": (
        "Difference",
        "Fixed minus warped, for images of one kind; orange where the fixed image is brighter, blue where the other is",
    ),
    "arrows": ("Vectors", "From places of the slice to where they belong in the moving image; colour is their length"),
    "grid": ("Deformed grid", "A regular grid on the slice, moved as the vectors say"),
    "jacobian": (
        "Jacobian map",
        "Where volumes grow (orange) and shrink (blue) from fixed to moving; 0 and below folds",
    ),
}
"""What can be shown, with title and tooltip, in the order of the boxes."""

_FEWEST, _USUAL, _MOST = 4, 24, 80


class ResultsPart(QWidget):
    """Boxes for what is shown of the last registration; ``controller.show(outcome)`` gives it one.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Where layers are shown.
    runner
        Runs the jobs that make them.

    Attributes
    ----------
    toggled : Signal(str, bool)
        A key of :data:`KINDS`, and whether it is wanted.
    blend_moved : Signal(float)
        How much of the warped image is wanted over the fixed one, 0 to 1.
    drawing_changed : Signal()
        Vectors and lines are to be drawn otherwise.
    removal_wanted : Signal()
        Everything shown is to go.
    """

    toggled = Signal(str, bool)
    blend_moved = Signal(float)
    drawing_changed = Signal()
    removal_wanted = Signal()

    def __init__(self, viewer: Any, runner: JobRunner) -> None:
        super().__init__()
        self.boxes: dict[str, QCheckBox] = {}
        for kind, (title, tip) in KINDS.items():
            box = QCheckBox(title)
            box.setToolTip(tip)
            box.toggled.connect(lambda on, kind=kind: self.toggled.emit(kind, on))
            self.boxes[kind] = box
        self.blend = QSlider(Qt.Orientation.Horizontal)
        self.blend.setRange(0, 100)
        self.blend.setPageStep(10)
        self.blend.setToolTip("From the fixed image (left) to the warped one (right)")
        self.blend.valueChanged.connect(lambda value: self.blend_moved.emit(value / 100))
        self.whole_box = QCheckBox("With affine part")
        self.whole_box.setToolTip("Vectors, grid and Jacobian map of the whole transform, not of the deformation alone")
        self.whole_box.toggled.connect(lambda _: self.drawing_changed.emit())
        self.across = QSpinBox()
        self.across.setRange(_FEWEST, _MOST)
        self.across.setValue(_USUAL)
        self.across.setToolTip("How many vectors or lines lie along the longest side of the image; half as many in 3-D")
        self.across.valueChanged.connect(lambda _: self.drawing_changed.emit())
        self.readout = QLabel()
        self.readout.setWordWrap(True)
        self.readout.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.remove_button = QPushButton("Remove these layers")
        self.remove_button.setToolTip("Take all layers away that these boxes show")
        self.remove_button.clicked.connect(lambda: self.removal_wanted.emit())
        self._lay_out()
        self.controller = ResultsController(self, viewer, runner)

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        rows: tuple[tuple[QWidget, ...], ...] = (
            (self.boxes["warped"], self.boxes["labels"]),
            (label_for("&Blend", self.blend), self.blend),
            (self.boxes["checkerboard"], self.boxes["difference"]),
            (self.boxes["arrows"], self.boxes["grid"]),
            (self.boxes["jacobian"], self.whole_box),
            (label_for("De&nsity", self.across), self.across),
        )
        for row, widgets in enumerate(rows):
            for column, widget in enumerate(widgets):
                grid.addWidget(widget, row, column)
        grid.addWidget(self.readout, len(rows), 0, 1, 2)
        grid.addWidget(self.remove_button, len(rows) + 1, 0, 1, 2)
        grid.setColumnStretch(1, 1)

    @property
    def whole(self) -> bool:
        """Whether the affine part is to be drawn too."""
        return self.whole_box.isChecked()

    @property
    def number_across(self) -> int:
        """How many vectors or lines lie along the longest side."""
        return self.across.value()

    def set_possible(self, kinds: Collection[str], *, deforms: bool) -> None:
        """Say what can be shown, and whether there is a deformation that the affine part can be added to."""
        for kind, box in self.boxes.items():
            box.setEnabled(kind in kinds)
        with QSignalBlocker(self.whole_box):
            self.whole_box.setChecked(self.whole if deforms else bool(kinds))
        self.whole_box.setEnabled(deforms)
        self.across.setEnabled("arrows" in kinds)

    def set_shown(self, kinds: Collection[str]) -> None:
        """Say what is shown, or being made."""
        for kind, box in self.boxes.items():
            with QSignalBlocker(box):
                box.setChecked(kind in kinds)
        self.blend.setEnabled("warped" in kinds)
        self.remove_button.setEnabled(bool(kinds))

    def set_blend(self, opacity: float) -> None:
        """Show how much of the warped image lies over the fixed one, 0 to 1."""
        with QSignalBlocker(self.blend):
            self.blend.setValue(round(100 * opacity))

    def set_readout(self, text: str) -> None:
        """Tell numbers about what is shown; nothing hides the line."""
        self.readout.setText(text)
        self.readout.setVisible(bool(text))
