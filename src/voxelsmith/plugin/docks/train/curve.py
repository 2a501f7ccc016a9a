"""Curve: how loss and validation went, drawn while a network learns.

Owns the plot and the values under the mouse. The loss has a logarithmic scale from its least to its largest value, the
validation goes from 0 to 1. The polygons are kept until the rows or the size change, so that the mouse costs little
however long the history is. The colour of the text comes from the theme.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QEvent, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from voxelsmith.train.history import Row

_HEIGHT = 120
_MARGIN = 4
_FAINT = 0.35
_MOST_MARKS = 60
# Readable on dark and on light ground.
_SCORE = QColor(40, 140, 220)

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Trace:
    """One curve.

    Parameters
    ----------
    steps
        Where it has values, ascending.
    values
        What they are.
    heights
        From 0, the lower edge of the plot, to 1.
    """

    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    heights: tuple[float, ...] = ()

    def at(self, step: int) -> float | None:
        """The last value up to a step; None if there is none."""
        number = bisect_right(self.steps, step)
        return self.values[number - 1] if number else None


def loss_trace(rows: Sequence[Row]) -> Trace:
    """The loss, on a logarithmic scale as long as all of it is above 0."""
    told = [(row.step, row.losses["loss"]) for row in rows if math.isfinite(row.losses.get("loss", math.nan))]
    if not told:
        return Trace()
    values = tuple(value for _, value in told)
    scaled = [math.log(value) for value in values] if min(values) > 0 else list(values)
    low, height = min(scaled), max(scaled) - min(scaled)
    heights = tuple((value - low) / height if height else 0.5 for value in scaled)
    return Trace(tuple(step for step, _ in told), values, heights)


def score_trace(rows: Sequence[Row]) -> Trace:
    """The mean Dice over the slices that were kept apart."""
    told = [(row.step, row.validation["score"]) for row in rows if row.validation is not None]
    told = [(step, score) for step, score in told if math.isfinite(score)]
    values = tuple(score for _, score in told)
    return Trace(tuple(step for step, _ in told), values, tuple(min(max(score, 0.0), 1.0) for score in values))


class LearningCurve(QWidget):
    """Loss and validation by step, hidden while there is nothing to draw."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = self.score = Trace()
        self._steps: tuple[int, ...] = ()
        self._shapes: tuple[QPolygonF, QPolygonF] | None = None
        self.hovered: int | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(_HEIGHT)
        self.setMouseTracking(True)
        self.setToolTip(
            "Loss on a logarithmic scale, and in blue the mean Dice over slices that are kept apart, from 0 to 1; move "
            "the mouse to read values"
        )
        self.setAccessibleName("Loss and validation by step")
        self.hide()

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Draw a history; an empty one hides the plot."""
        self.loss, self.score = loss_trace(rows), score_trace(rows)
        self._steps = tuple(sorted({*self.loss.steps, *self.score.steps}))
        self._shapes = None
        if self.hovered is not None and self.hovered not in self._steps:
            self.hovered = None
        self.setVisible(bool(self._steps))
        self.update()

    def readout(self, step: int | None = None) -> str:
        """The values at a step, or the last ones."""
        if not self._steps:
            return ""
        step = self._steps[-1] if step is None else step
        words = [f"step {step}"]
        if (loss := self.loss.at(step)) is not None:
            words.append(f"loss {loss:.4g}")
        if (score := self.score.at(step)) is not None:
            words.append(f"validation Dice {score:.3f}")
        return " · ".join(words)

    def step_at(self, x: float) -> int | None:
        """The step with a value that is drawn nearest to a pixel column."""
        if not self._steps:
            return None
        area = self._area()
        wanted = (x - area.left()) / max(1.0, area.width()) * self._steps[-1]
        after = min(bisect_right(self._steps, wanted), len(self._steps) - 1)
        return min(self._steps[max(0, after - 1) : after + 1], key=lambda step: abs(step - wanted))

    def event(self, event: QEvent | None) -> bool:
        kind = None if event is None else event.type()
        if kind == QEvent.Type.Paint:
            self._paint()
        elif kind == QEvent.Type.Resize:
            self._shapes = None
        elif kind == QEvent.Type.Leave:
            self._hover(None)
        elif kind == QEvent.Type.MouseMove and isinstance(event, QMouseEvent):
            self._hover(self.step_at(event.position().x()))
        return bool(super().event(event))

    def _hover(self, step: int | None) -> None:
        if step != self.hovered:
            self.hovered = step
            self.update()

    def _area(self) -> QRectF:
        line = self.fontMetrics().height()
        return QRectF(self.rect()).adjusted(_MARGIN, _MARGIN + line, -_MARGIN, -_MARGIN)

    def _places(self, trace: Trace) -> QPolygonF:
        """Where a trace runs; of several values in a column of pixels the lowest and the highest, in their order."""
        area = self._area()
        left, wide, bottom, high = area.left(), area.width() / self._steps[-1], area.bottom(), area.height()
        columns: dict[int, list[QPointF]] = {}
        for step, height in zip(trace.steps, trace.heights, strict=True):
            place = QPointF(left + step * wide, bottom - height * high)
            columns.setdefault(int(place.x()), []).append(place)
        kept: list[QPointF] = []
        for places in columns.values():
            heights = [place.y() for place in places]
            ends = {heights.index(min(heights)), heights.index(max(heights))}
            kept += [places[number] for number in sorted(ends)]
        return QPolygonF(kept)

    def _paint(self) -> None:
        if not self._steps:
            return
        if self._shapes is None:
            self._shapes = self._places(self.loss), self._places(self.score)
        loss, score = self._shapes
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        faint = QColor(ink)
        faint.setAlphaF(_FAINT)
        area = self._area()
        painter.setPen(QPen(faint, 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        painter.setPen(QPen(faint, 1, Qt.PenStyle.DotLine))
        painter.drawLine(area.topLeft(), area.topRight())
        if self.hovered is not None:
            x = area.left() + self.hovered / self._steps[-1] * area.width()
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        painter.setPen(QPen(ink, 1))
        painter.drawPolyline(loss)
        painter.setPen(QPen(_SCORE, 1))
        painter.drawPolyline(score)
        painter.setBrush(_SCORE)
        if score.count() <= _MOST_MARKS:
            for number in range(score.count()):
                painter.drawEllipse(score.at(number), 2, 2)
        painter.setPen(ink)
        painter.drawText(QPointF(area.left(), area.top() - _MARGIN), self.readout(self.hovered))
        painter.end()
