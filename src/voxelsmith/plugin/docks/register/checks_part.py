"""Checks part of the dock: what is known of the registration before it runs."""

from __future__ import annotations

from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from voxelsmith.plugin.docks.register.preflight import Preflight


class ChecksPart(QWidget):
    """Facts in small print, notes, and what stands in the way."""

    def __init__(self) -> None:
        super().__init__()
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 4)
        column.addWidget(self.text)

    def set_preflight(self, known: Preflight) -> None:
        """Show what is known."""
        rows = [f"<b>{escape(name)}</b> {escape(value)}" for name, value in known.facts]
        warnings = [f"⚠ {escape(note)}" for note in known.notes]
        obstacle = [f"<b>✕ {escape(known.obstacle)}</b>"] if known.obstacle else []
        self.text.setText("<br>".join([*(f"<small>{row}</small>" for row in rows), *warnings, *obstacle]))
