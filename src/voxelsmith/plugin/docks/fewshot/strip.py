"""Strip: how sure an engine is of each slice, painted under the slider.

Owns the picture, the way from pixels to slices, and the click that jumps to one. Colours run from orange, the least
sure slice, to blue, a sure one, which people who see colours otherwise tell apart too; slices that the engine did not
look at are left out, annotated ones have a mark.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QHelpEvent, QMouseEvent, QPainter, QPalette, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from voxelsmith.segment.zoom import FloatArray

MARGIN = 7
"""Pixels left and right, so that a slice lies under the slider's handle."""

_HEIGHT, _MARK = 26, 5
_UNSURE, _SURE = np.array((230, 120, 20)), np.array((40, 130, 210))
# However sure all slices are, shades closer than this are not told apart.
_LEAST_RANGE = 0.05
_FAINT = 0.4


def shade(confidence: float, lowest: float) -> tuple[int, int, int]:
    """Red, green and blue of a confidence, on a scale from the lowest one to 1."""
    low = min(lowest, 1 - _LEAST_RANGE)
    share = np.clip((confidence - low) / (1 - low), 0, 1)
    r, g, b = (int(c) for c in np.rint(_UNSURE + share * (_SURE - _UNSURE)))
    return r, g, b


class ConfidenceStrip(QWidget):
    """Confidence by slice.

    Attributes
    ----------
    chosen : Signal(int)
        The slice that was clicked.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._confidence: FloatArray = np.empty(0, np.float32)
        self._annotated: frozenset[int] = frozenset()
        self._current = 0
        self.setFixedHeight(_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Confidence by slice")
        self.setToolTip(
            "Confidence by slice: orange is unsure, blue is sure, a mark means annotated; click to go there"
        )
        self.hide()

    def set_confidence(self, confidence: FloatArray | None, annotated: Collection[int] = ()) -> None:
        """Show the confidence of each slice, NaN where there is none; None hides the strip."""
        self._confidence = np.empty(0, np.float32) if confidence is None else confidence
        self._annotated = frozenset(annotated)
        self.setVisible(len(self._confidence) > 0)
        self.update()

    def set_current(self, index: int) -> None:
        """Mark the slice that is shown."""
        self._current = index
        self.update()

    def slice_at(self, x: float) -> int:
        """The slice that a pixel column shows."""
        share = (x - MARGIN) / max(1.0, self.width() - 2 * MARGIN)
        return int(np.clip(share * len(self._confidence), 0, len(self._confidence) - 1))

    def left_of(self, index: int) -> float:
        """Where the column of a slice begins, in pixels."""
        return MARGIN + index * (self.width() - 2 * MARGIN) / len(self._confidence)

    def event(self, event: QEvent | None) -> bool:
        kind = None if event is None else event.type()
        if kind == QEvent.Type.Paint:
            self._paint()
        elif isinstance(event, QHelpEvent):
            self._explain(event)
            return True
        elif isinstance(event, QMouseEvent) and event.buttons() & Qt.MouseButton.LeftButton:
            self.chosen.emit(self.slice_at(event.position().x()))
            return True
        return bool(super().event(event))

    def _explain(self, event: Any) -> None:
        index = self.slice_at(event.pos().x())
        value = self._confidence[index]
        known = "not looked at" if np.isnan(value) else f"confidence {value:.2f}"
        known = "annotated" if index in self._annotated else known
        QToolTip.showText(event.globalPos(), f"Slice {index}: {known}\n{self.toolTip()}", self)

    def _paint(self) -> None:
        painter = QPainter(self)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        faint = self.palette().color(QPalette.ColorRole.WindowText)
        faint.setAlphaF(_FAINT)
        bottom = float(self.height() - _MARK)
        seen = self._confidence[~np.isnan(self._confidence)]
        lowest = float(seen.min()) if seen.size else 1.0
        # Where several slices share a pixel, the least sure one is seen.
        for index in np.argsort(-self._confidence)[: seen.size].tolist():
            left, right = self.left_of(index), self.left_of(index + 1)
            colour = QColor(*shade(float(self._confidence[index]), lowest))
            painter.fillRect(QRectF(left, 0, max(1.0, right - left + 0.5), bottom), colour)
        for index in self._annotated:
            painter.fillRect(QRectF((self.left_of(index) + self.left_of(index + 1)) / 2 - 1.5, bottom, 3, _MARK), ink)
        if len(self._confidence):
            middle = (self.left_of(self._current) + self.left_of(self._current + 1)) / 2
            painter.fillRect(QRectF(middle - 2, 0, 4, bottom), QColor(0, 0, 0))
            painter.fillRect(QRectF(middle - 1, 0, 2, bottom), QColor(255, 255, 255))
        painter.setPen(QPen(faint, 1))
        painter.drawRect(QRectF(MARGIN - 0.5, 0.5, self.width() - 2 * MARGIN + 1, bottom - 1))
        painter.end()
