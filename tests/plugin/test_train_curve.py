"""The learning curve: what is drawn, and what the mouse reads."""

import math

import pytest
from qtpy.QtCore import QEvent, QPoint
from training_bench import row

from voxelsmith.plugin.docks.train.curve import LearningCurve, loss_trace, score_trace

ROWS = (row(5, 100.0), row(10, 10.0, 0.25), row(15, math.nan), row(20, 1.0, 0.75))


class TestTraces:
    def test_the_loss_is_logarithmic_and_leaves_out_what_is_no_number(self):
        trace = loss_trace(ROWS)
        assert trace.steps == (5, 10, 20)
        assert trace.heights == pytest.approx((1, 0.5, 0))

    def test_a_loss_below_zero_makes_the_scale_linear(self):
        assert loss_trace((row(1, -1.0), row(2, 0.0), row(3, 3.0))).heights == pytest.approx((0, 0.25, 1))

    def test_scores_go_from_0_to_1_and_lack_where_nothing_judges(self):
        assert score_trace(ROWS).heights == (0.25, 0.75)
        assert score_trace((row(1, 1.0, math.nan),)).steps == ()

    def test_the_value_at_a_step_is_the_last_one_before(self):
        trace = score_trace(ROWS)
        assert [trace.at(step) for step in (9, 10, 19, 25)] == [None, 0.25, 0.25, 0.75]


@pytest.fixture
def curve(qtbot):
    curve = LearningCurve()
    qtbot.addWidget(curve)
    curve.resize(300, 120)
    curve.setStyleSheet("color: #ff0000; background: #000000")
    curve.set_rows(ROWS)
    return curve


def test_hidden_while_there_is_nothing(curve):
    assert not curve.isHidden()
    curve.set_rows(())
    assert curve.isHidden()
    assert curve.readout() == ""
    assert curve.step_at(10) is None


def test_the_mouse_reads_the_nearest_step(qtbot, curve):
    curve.show()
    assert curve.readout() == "step 20 · loss 1 · validation Dice 0.750"
    qtbot.mouseMove(curve, QPoint(150, 60))
    qtbot.waitUntil(lambda: curve.hovered is not None)
    assert curve.readout(curve.hovered) == "step 10 · loss 10 · validation Dice 0.250"
    assert [curve.step_at(x) for x in (0, 299)] == [5, 20]
    before = curve.grab().toImage()
    curve.event(QEvent(QEvent.Type.Leave))
    assert curve.hovered is None
    assert curve.grab().toImage() != before


def test_both_curves_are_drawn_where_they_belong(curve):
    image = curve.grab().toImage()
    pixels = [(x, y, image.pixelColor(x, y)) for x in range(300) for y in range(25, 120)]
    red = [(x, y) for x, y, colour in pixels if colour.red() > 150 and colour.blue() < 100]
    blue = [(x, y) for x, y, colour in pixels if colour.blue() > 150 and colour.red() < 100]
    assert min(y for x, y in red if x < 90) < 35
    assert max(y for x, y in red if x > 280) > 105
    assert min(x for x, _ in blue) > 140
    assert max(y for x, y in blue if x < 155) > max(y for x, y in blue if x > 290)


def test_a_single_peak_in_a_long_history_is_drawn(curve):
    values = [1.0] * 4000
    values[2003] = 50.0
    curve.set_rows([row(n + 1, value) for n, value in enumerate(values)])
    image = curve.grab().toImage()
    red = [(x, y) for x in range(300) for y in range(30, 100) if image.pixelColor(x, y).red() > 80]
    assert {y for _, y in red} == set(range(30, 100))
    assert {x for x, _ in red} <= set(range(147, 155))
