"""Curve: how the similarity of the images grew, drawn.

Owns the plot. Each level compares the images in a way of its own, so each has a scale of its own: from its least to its
largest value. The colours come from the theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from qtpy.QtCore import QEvent, QPointF, QRectF, Qt
from qtpy.QtGui import QPainter, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from voxelsmith.register.result import Step

_HEIGHT = 84
_MARGIN = 4
_FAINT = 0.4


@dataclass(frozen=True)
class Trace:
    """The curve of one level.

    Parameters
    ----------
    title
        Of the level.
    points
        (x, y) pairs from 0 to 1; x runs over the whole registration, y upward over the values of this level.
    """

    title: str
    points: tuple[tuple[float, float], ...]


def traces(steps: Sequence[Step]) -> list[Trace]:
    """The curves of a history, one a level."""
    found: list[Trace] = []
    begun = 0
    for title, group in groupby(steps, key=_title):
        seen = [step.similarity for step in group]
        low, height = min(seen), max(seen) - min(seen)
        points = tuple(
            ((begun + n) / max(1, len(steps) - 1), (value - low) / height if height else 0.5)
            for n, value in enumerate(seen)
        )
        found.append(Trace(title, points))
        begun += len(seen)
    return found


def _title(step: Step) -> str:
    if step.stage == "affine":
        return f"affine {step.level + 1}"
    return "full" if step.level == 1 else f"1/{step.level}"


class SimilarityCurve(QWidget):
    """Similarity by step, hidden while there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.traces: list[Trace] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(_HEIGHT)
        self.setToolTip("Similarity by step; each level has a scale of its own, from its least to its largest value")
        self.setAccessibleName("Similarity by step")
        self.hide()

    def set_steps(self, steps: Sequence[Step]) -> None:
        """Draw a history; an empty one hides the plot."""
        self.traces = traces(steps)
        self.setVisible(bool(self.traces))
        self.update()

    def event(self, event: QEvent | None) -> bool:
        if event is not None and event.type() == QEvent.Type.Paint:
            self._paint()
        return bool(super().event(event))

    def _paint(self) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        line = self.palette().color(QPalette.ColorRole.WindowText)
        faint = self.palette().color(QPalette.ColorRole.WindowText)
        faint.setAlphaF(_FAINT)
        font = painter.fontMetrics()
        area = QRectF(self.rect()).adjusted(_MARGIN, _MARGIN, -_MARGIN, -_MARGIN - font.height())
        free_from = 0.0
        for trace in self.traces:
            places = [
                QPointF(area.left() + x * area.width(), area.bottom() - y * area.height()) for x, y in trace.points
            ]
            begin = places[0].x()
            painter.setPen(QPen(faint, 1, Qt.PenStyle.DotLine))
            painter.drawLine(QPointF(begin, area.top()), QPointF(begin, float(self.height())))
            painter.setPen(QPen(line, 1.5))
            painter.drawPolyline(QPolygonF(places))
            end = begin + 2 * _MARGIN + font.horizontalAdvance(trace.title)
            if begin >= free_from and end <= self.width():
                painter.drawText(QPointF(begin + _MARGIN, self.height() - _MARGIN), trace.title)
                free_from = end
        painter.end()
