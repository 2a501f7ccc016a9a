"""Result part of the dock: the model of a run at work on the image.

Owns widgets and signals; it knows no layer and no model.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QGridLayout, QMenu, QPushButton, QSpinBox, QWidget

from voxelsmith.plugin.docks.prompt.parts import combo_box, label_for
from voxelsmith.plugin.docks.prompt.threshold_part import threshold_slider
from voxelsmith.plugin.docks.train.exporting import FORMATS

ACTIONS = {
    "apply": ("App&ly to volume", "Ctrl+L", "Apply the model of the chosen run to the whole image"),
    "next": ("Ne&xt slice", "Ctrl+J", "Go to the slice that is worth annotating next, where the answer is least sure"),
    "accept": ("Accept", "Ctrl+Shift+Return", "Write the answer into the labels; annotated slices stay as they are"),
    "undo": ("Undo", "Ctrl+Z", "Take back what was accepted"),
    "redo": ("Redo", "Ctrl+Shift+Z", "Accept again what was taken back"),
}
"""Action to text, key and tooltip."""

_MOST_VOXELS = 10_000_000


class ResultPart(QWidget):
    """Widgets that are about the answer of a model.

    Attributes
    ----------
    asked : Signal(str)
        An action of :data:`ACTIONS`.
    cut_changed : Signal()
        Another threshold or filter.
    export_wanted : Signal(str, str)
        A format by its name, and where to.
    """

    asked = Signal(str)
    cut_changed = Signal()
    export_wanted = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self.weights = combo_box()
        self.weights.addItems(["Best model", "Last model"])
        self.weights.setToolTip("The weights with the best validation, if there was one, or the last ones")
        self.shapes_box = QCheckBox("Keep to the shapes of annotated slices")
        self.shapes_box.setToolTip(
            "Between annotated slices of this image their shapes count beside what the network says; without the tick, "
            "for pieces that begin and end between two of them, the network answers alone"
        )
        self.shapes_box.setChecked(True)
        self.buttons: dict[str, QPushButton] = {}
        for action, (text, key, tip) in ACTIONS.items():
            button = QPushButton(text)
            button.setToolTip(f"{tip} ({key.replace('Return', 'Enter')})")
            button.clicked.connect(lambda _=False, a=action: self.asked.emit(a))
            self.buttons[action] = button
        self.slider = threshold_slider()
        self.slider.setToolTip("How likely a voxel must be to belong to a class; nothing is computed again")
        self.slider.setValue(0.5)
        self.slider.valueChanged.connect(lambda _: self.cut_changed.emit())
        self.least = QSpinBox()
        self.least.setRange(1, _MOST_VOXELS)
        self.least.setKeyboardTracking(False)
        self.least.setToolTip("Pieces with fewer voxels go")
        self.least.valueChanged.connect(lambda _: self.cut_changed.emit())
        self.largest_box, self.fill_box = QCheckBox("Largest piece only"), QCheckBox("Fill cavities")
        self.largest_box.setToolTip("Keep one piece of each class")
        self.fill_box.setToolTip("Fill what is closed all round")
        self.overwrite_box = QCheckBox("Overwrite other labels")
        self.overwrite_box.setToolTip("Let Accept replace labels that are there; annotated slices stay even then")
        for box in (self.largest_box, self.fill_box):
            box.toggled.connect(lambda _: self.cut_changed.emit())
        self.export_button = QPushButton("&Export")
        self.export_button.setToolTip("Save the model of the chosen run for other programs")
        menu = QMenu(self.export_button)
        for name, kind in FORMATS.items():
            entry = menu.addAction(kind.title)
            assert entry is not None
            entry.triggered.connect(lambda _=False, n=name: self._ask_place(n))
        self.export_button.setMenu(menu)
        self._lay_out()

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        grid.addWidget(self.weights, 0, 0)
        grid.addWidget(self.buttons["apply"], 0, 1)
        grid.addWidget(self.shapes_box, 1, 0, 1, 2)
        line = QGridLayout()
        line.addWidget(label_for("T&hreshold", self.slider), 0, 0)
        line.addWidget(self.slider, 0, 1)
        line.addWidget(label_for("Least voxels", self.least), 1, 0)
        line.addWidget(self.least, 1, 1)
        line.setColumnStretch(1, 1)
        grid.addLayout(line, 2, 0, 1, 2)
        grid.addWidget(self.largest_box, 3, 0)
        grid.addWidget(self.fill_box, 3, 1)
        grid.addWidget(self.overwrite_box, 4, 0, 1, 2)
        for place, action in enumerate(("next", "accept", "undo", "redo")):
            grid.addWidget(self.buttons[action], 5 + place // 2, place % 2)
        grid.addWidget(self.export_button, 7, 0, 1, 2)
        for column in range(2):
            grid.setColumnStretch(column, 1)

    # -- what the user says ------------------------------------------------------------------------------------

    @property
    def best(self) -> bool:
        """Whether the best weights are wanted rather than the last ones."""
        return self.weights.currentIndex() == 0

    @property
    def shapes(self) -> bool:
        """Whether the shapes of annotated slices count beside what the network says."""
        return self.shapes_box.isChecked()

    @property
    def threshold(self) -> float:
        """Where probabilities are cut."""
        return round(float(self.slider.value()), 2)

    @property
    def filters(self) -> dict[str, Any]:
        """As for :func:`voxelsmith.segment.trained.cut`."""
        return {
            "largest_only": self.largest_box.isChecked(),
            "least_voxels": self.least.value(),
            "fill": self.fill_box.isChecked(),
        }

    @property
    def overwrite(self) -> bool:
        """Whether labels that are there may be replaced."""
        return self.overwrite_box.isChecked()

    # -- what the user sees ------------------------------------------------------------------------------------

    def set_possible(self, actions: Collection[str]) -> None:
        """Enable what can be done now; "cut" and "export" beside the actions."""
        for action, button in self.buttons.items():
            button.setEnabled(action in actions)
        for widget in (self.slider, self.least, self.largest_box, self.fill_box):
            widget.setEnabled("cut" in actions)
        self.export_button.setEnabled("export" in actions)

    def reset_cut(self) -> None:
        """Show the usual threshold and no filter, without a word to anybody."""
        with QSignalBlocker(self.slider), QSignalBlocker(self.least):
            self.slider.setValue(0.5)
            self.least.setValue(1)
        for box in (self.largest_box, self.fill_box):
            with QSignalBlocker(box):
                box.setChecked(False)

    def _ask_place(self, name: str) -> None:
        title, ending = FORMATS[name].title, FORMATS[name].ending
        if ending:
            path, _ = QFileDialog.getSaveFileName(self, f"Export as {title}", filter=f"{title} (*{ending})")
            if path and not path.lower().endswith(ending):
                path += ending
        else:
            path, _ = QFileDialog.getSaveFileName(self, f"Export as {title}: name of the new folder")
        if path:
            self.export_wanted.emit(name, path)
