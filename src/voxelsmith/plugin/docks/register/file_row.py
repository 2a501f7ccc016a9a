"""File row: a path to write or to choose, which may be empty."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget

_BUTTON_WIDTH = 30


class FileRow(QWidget):
    """A line for a path and a button that asks for a file.

    Parameters
    ----------
    title
        What the file is, for the dialog.
    files
        Filter of the dialog, as Qt has it.

    Attributes
    ----------
    chosen : Signal(object)
        The Path that the user gave, or None for none.
    """

    chosen = Signal(object)

    def __init__(self, title: str, files: str) -> None:
        super().__init__()
        self._title, self._files = title, files
        self.line = QLineEdit()
        self.line.setPlaceholderText("none")
        self.line.setMinimumWidth(60)
        self.line.editingFinished.connect(self._announce)
        self.line.textChanged.connect(lambda text: None if text else self._announce())
        self.button = QPushButton("…")
        self.button.setToolTip(f"Choose a file: {title}")
        self.button.setFixedWidth(_BUTTON_WIDTH)
        self.button.clicked.connect(lambda: self._ask())
        self._path: Path | None = None
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.line, 1)
        row.addWidget(self.button)
        self.setFocusProxy(self.line)

    def set_path(self, path: Path | None) -> None:
        """Show a path, or none; what is being written stays as long as that is no news."""
        if path != self._path:
            self._path = path
            with QSignalBlocker(self.line):
                self.line.setText(self._text)
            self.line.setToolTip(self._text)

    @property
    def _text(self) -> str:
        return "" if self._path is None else str(self._path)

    def _written(self) -> Path | None:
        text = self.line.text().strip()
        return Path(text) if text else None

    def _announce(self) -> None:
        if self._written() != self._path:
            self._path = self._written()
            self.line.setToolTip(self._text)
            self.chosen.emit(self._path)

    def _ask(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, self._title, filter=self._files)
        if path:
            self.line.setText(path)
            self._announce()
