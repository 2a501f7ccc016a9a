"""Dock: the widget that every dock of ours is.

Owns two things that napari leaves to the plugin: content that scrolls, so that a narrow or low window hides nothing,
and the moment at which the user closed the dock. napari takes a closed dock's widget out of its frame without closing
it.
"""

from __future__ import annotations

from qtpy.QtCore import QEvent, Qt, Signal
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QVBoxLayout, QWidget


class Dock(QWidget):
    """A column of widgets that scrolls when there is no room.

    Attributes
    ----------
    closed : Signal()
        Emitted once, when the dock is closed or taken out of the window.
    content : QVBoxLayout
        Where the widgets go.
    """

    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._docked = self._closed = False
        inner = QWidget()
        # Long names elide instead of making the dock wider.
        inner.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.content = QVBoxLayout(inner)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inner)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)
        self.setMinimumWidth(260)

    def event(self, event: QEvent | None) -> bool:
        kind = None if event is None else event.type()
        if kind == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self._close()
        elif kind == QEvent.Type.Close:
            self._close()
        return bool(super().event(event))

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self.closed.emit()
