"""Checks part of the dock: what is known of the registration before it runs."""

from __future__ import annotations

from html import escape

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from voxelsmith.plugin.docks.register.preflight import Preflight


class ChecksPart(QWidget):
    """Facts in small print, notes, what stands in the way, and a button that clears it away if memory is short.

    Attributes
    ----------
    coarser_wanted : Signal(int)
        The deformation is to end at the level that shrinks the volumes so much.
    """

    coarser_wanted = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._coarser = 0
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 4)
        column.addWidget(self.text)
        self.coarser_button = QPushButton()
        self.coarser_button.setToolTip("End the deformation at the finest level that there is memory for")
        self.coarser_button.clicked.connect(lambda: self.coarser_wanted.emit(self._coarser))
        self.coarser_button.hide()
        column.addWidget(self.coarser_button)

    def set_preflight(self, known: Preflight) -> None:
        """Show what is known."""
        rows = [f"<b>{escape(name)}</b> {escape(value)}" for name, value in known.facts]
        warnings = [f"⚠ {escape(note)}" for note in known.notes]
        obstacle = [f"<b>✕ {escape(known.obstacle)}</b>"] if known.obstacle else []
        self.text.setText("<br>".join([*(f"<small>{row}</small>" for row in rows), *warnings, *obstacle]))
        self._coarser = known.coarser
        self.coarser_button.setText(f"Stop at 1/{known.coarser} resolution")
        self.coarser_button.setVisible(known.coarser > 0)
