"""Looking again: a moment after the last change of the layers that a dock has chosen.

Owns which changes of a layer count, and the pause that makes one look of many changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import QObject, QTimer

_PAUSE_MS = 150
_CHANGES = ("data", "paint", "scale", "translate", "rotate", "shear", "affine", "units")


class LookSoon:
    """Calls a function soon after layers change.

    Parameters
    ----------
    parent : QObject
        Owns the timer.
    look
        What is called.
    """

    def __init__(self, parent: QObject, look: Callable[[], Any]) -> None:
        self._layers: list[Any] = []
        self._timer = QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE_MS)
        self._timer.timeout.connect(look)

    @property
    def waiting(self) -> bool:
        """Whether a look is due."""
        return self._timer.isActive()

    def start(self, event: Any = None) -> None:
        """Look when nothing has changed for a moment."""
        self._timer.start()

    def stop(self) -> None:
        """Do not look after all."""
        self._timer.stop()

    def watch(self, layers: Sequence[Any]) -> None:
        """Let these layers count, and no others."""
        for some, now in ((self._layers, "disconnect"), (layers, "connect")):
            for layer in some:
                for name in _CHANGES:
                    if hasattr(layer.events, name):
                        getattr(getattr(layer.events, name), now)(self.start)
        self._layers = list(layers)
