"""Fold: a part of a dock that opens and closes under its title.

Owns the title button and its arrow, which take their colours from napari's theme like any other button.
"""

from __future__ import annotations

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget


class Fold(QWidget):
    """A title that shows and hides a widget.

    Parameters
    ----------
    title
        What is in there.
    part
        The widget.
    opened
        Whether it is shown at first.
    """

    def __init__(self, title: str, part: QWidget, *, opened: bool = False) -> None:
        super().__init__()
        self._title, self._part = title, part
        self.button = QPushButton()
        self.button.setToolTip("Show or hide this part")
        self.button.clicked.connect(lambda: self.set_opened(not self.opened))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.button)
        column.addWidget(part)
        self.set_opened(opened)

    @property
    def opened(self) -> bool:
        """Whether the widget is shown."""
        return not self._part.isHidden()

    def set_opened(self, opened: bool) -> None:
        """Show or hide the widget."""
        self._part.setVisible(opened)
        self.button.setText(f"{'▾' if opened else '▸'} {self._title}")
