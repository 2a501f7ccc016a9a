"""Settings part of the dock: which network answers, what it was trained on, and how the sequences are prepared."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QGridLayout, QLabel, QWidget

from voxelsmith.plugin.docks.fold import Fold
from voxelsmith.plugin.docks.prompt.parts import combo_box, grid_part, label_for
from voxelsmith.plugin.docks.tumour.models import AUTO, offered_models
from voxelsmith.segment.tumour.request import TumourSettings

_FILE, _RUN = "Weights file…", "Trained run…"
_CHOICES = {
    "registration": (
        "Re&gistration",
        "Which sequences are brought onto the reference, T1 with contrast if there is one",
        {"auto": "what lies on another grid", "always": "all", "never": "none"},
    ),
    "strip": (
        "S&kull",
        "Whether the package deepbet looks for the brain where there is no mask and the skull is still there",
        {"auto": "strip if needed", "never": "never strip"},
    ),
    "device": ("&Device", "Where the network runs", {"auto": "automatic", "cpu": "CPU", "cuda": "CUDA", "mps": "MPS"}),
}


class SettingsPart(QWidget):
    """A choice of models, and settings behind a fold.

    Attributes
    ----------
    changed : Signal()
        Another model or another setting.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._model: str | Path = AUTO
        self.combo = combo_box()
        self.combo.setToolTip("The network; your own comes from voxelsmith train cmf")
        self.combo.activated.connect(self._choose)
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.note.setTextFormat(Qt.TextFormat.RichText)
        self.note.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.choices: dict[str, QComboBox] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        grid.addWidget(label_for("M&odel", self.combo), 0, 0)
        grid.addWidget(self.combo, 0, 1)
        grid.addWidget(self.note, 1, 0, 1, 2)
        grid.addWidget(Fold("Preparation", self._form()), 2, 0, 1, 2)
        grid.setColumnStretch(1, 1)
        self._offer()

    def _form(self) -> QWidget:
        part, grid = grid_part()
        for row, (key, (title, tip, options)) in enumerate(_CHOICES.items()):
            combo = combo_box()
            combo.setToolTip(tip)
            for value, text in options.items():
                combo.addItem(text, value)
            combo.activated.connect(lambda _=0: self.changed.emit())
            self.choices[key] = combo
            grid.addWidget(label_for(title, combo), row, 0)
            grid.addWidget(combo, row, 1)
        grid.setColumnStretch(1, 1)
        return part

    @property
    def settings(self) -> TumourSettings:
        """What the user chose, at full resolution."""
        chosen: dict[str, Any] = {key: combo.currentData() for key, combo in self.choices.items()}
        return TumourSettings(model=self._model, **chosen)

    def set_note(self, text: str) -> None:
        """Tell what is worth knowing of the model."""
        self.note.setText(f"<small>{escape(text)}</small>")

    def choose_model(self, model: str | Path) -> None:
        """Take a model from now on."""
        self._model = model
        self._offer()
        self.changed.emit()

    def _offer(self) -> None:
        models = offered_models()
        with QSignalBlocker(self.combo):
            self.combo.clear()
            for name, title in models.items():
                self.combo.addItem(title, name)
            if isinstance(self._model, Path):
                self.combo.addItem(self._model.name, self._model)
            self.combo.addItem(_FILE)
            self.combo.addItem(_RUN)
            self.combo.setCurrentIndex(self.combo.findData(self._model))

    def _choose(self, row: int) -> None:
        wanted = self.combo.itemText(row)
        if self.combo.itemData(row) is not None:
            self.choose_model(self.combo.itemData(row))
            return
        if wanted == _FILE:
            path, _ = QFileDialog.getOpenFileName(self, "Weights of a tumour network", filter="Weights (*.safetensors)")
        else:
            path = QFileDialog.getExistingDirectory(self, "Run folder of voxelsmith train cmf")
        if path:
            self.choose_model(Path(path))
        else:
            self._offer()
