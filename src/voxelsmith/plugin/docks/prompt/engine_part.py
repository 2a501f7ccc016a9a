"""Engine part of the dock: which engine answers, and what is worth knowing about it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QLabel, QPushButton, QWidget

from voxelsmith.plugin.docks.prompt.parts import label_for, picker_box
from voxelsmith.segment.engine import EngineInfo

OTHER_RUN = "Trained run…"


class EnginePart(QWidget):
    """A choice of engines with a note about the chosen one.

    Attributes
    ----------
    chosen : Signal(str)
        Name of the engine that the user chose.
    opening : Signal()
        The user turns to the list of engines.
    run_chosen : Signal(object)
        The folder of a trained run that the user wants as an engine, a path.
    weights_wanted : Signal()
        The user wants the weights that are missing.
    """

    chosen = Signal(str)
    opening = Signal()
    run_chosen = Signal(object)
    weights_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._infos: Sequence[EngineInfo] = ()
        self._row = 0
        self.combo = picker_box()
        self.combo.setToolTip("What answers the prompts; a change keeps prompts and accepted objects")
        self.combo.activated.connect(self._announce)
        self.combo.opening.connect(self.opening)
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.note.setTextFormat(Qt.TextFormat.RichText)
        self.weights_button = QPushButton()
        self.weights_button.setToolTip("Open the Models dock, where weights are fetched or added")
        self.weights_button.clicked.connect(lambda: self.weights_wanted.emit())
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        grid.addWidget(label_for("En&gine", self.combo), 0, 0)
        grid.addWidget(self.combo, 0, 1)
        grid.addWidget(self.note, 1, 0, 1, 2)
        grid.addWidget(self.weights_button, 2, 0, 1, 2)
        grid.setColumnStretch(1, 1)
        self.offer_weights("")

    def _announce(self, row: int) -> None:
        if row < len(self._infos):
            self._row = row
            self._describe()
            self.chosen.emit(self._infos[row].name)
            return
        self.combo.setCurrentIndex(self._row)
        path = QFileDialog.getExistingDirectory(self, "Folder of a trained run")
        if path:
            self.run_chosen.emit(Path(path))

    def set_engines(self, infos: Sequence[EngineInfo], chosen: str) -> None:
        """Offer engines, and show which one is chosen."""
        self._infos = infos
        with QSignalBlocker(self.combo):
            self.combo.clear()
            self.combo.addItems([*(info.title for info in infos), OTHER_RUN])
            self._row = [info.name for info in infos].index(chosen)
            self.combo.setCurrentIndex(self._row)
        self._describe()

    def offer_weights(self, title: str) -> None:
        """Offer to get what an engine lacks; nothing hides the offer."""
        self.weights_button.setText(f"Get {title} in the Mo&dels dock")
        self.weights_button.setVisible(bool(title))

    def _describe(self) -> None:
        info = self._infos[self._row]
        facts = " · ".join(fact for fact in (info.speed, info.licence) if fact)
        self.note.setText(f"<small>{escape(' '.join(text for text in (info.good_at, facts) if text))}</small>")
