"""The Register dock as a widget: what it emits and shows, and that it fits."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox
from registering import Bench, GatedJob

from voxelsmith.plugin.docks.register.curve import SimilarityCurve, traces
from voxelsmith.plugin.docks.register.preflight import Preflight
from voxelsmith.register.result import Step

HISTORY = (
    Step("affine", 0, 0, 0.2),
    Step("affine", 0, 1, 0.6),
    Step("affine", 0, 2, 0.4),
    Step("deformation", 2, 1, -5.0),
    Step("deformation", 1, 1, 0.1),
    Step("deformation", 1, 2, 0.3),
)


class TestCurve:
    def test_each_level_has_a_scale_of_its_own(self):
        affine, half, full = traces(HISTORY)
        assert [t.title for t in (affine, half, full)] == ["affine 1", "1/2", "full"]
        assert [y for _, y in affine.points] == pytest.approx([0, 1, 0.5])
        assert [y for _, y in half.points] == [0.5]
        assert [y for _, y in full.points] == [0, 1]
        assert [x for t in (affine, half, full) for x, _ in t.points] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])

    def test_a_single_step_and_none(self):
        (only,) = traces(HISTORY[:1])
        assert only.points == ((0, 0.5),)
        assert traces(()) == []

    def test_it_is_drawn_in_the_colour_of_the_text_and_hidden_while_empty(self, qtbot):
        curve = SimilarityCurve()
        qtbot.addWidget(curve)
        assert curve.isHidden()
        curve.resize(200, 84)
        curve.setStyleSheet("color: #ff0000; background: #000000")
        curve.set_steps(HISTORY)
        assert not curve.isHidden()
        image = curve.grab().toImage()
        red = [(x, y) for x in range(200) for y in range(60) if image.pixelColor(x, y).red() > 150]
        assert min(y for x, y in red if x < 70) < 8
        assert max(y for x, y in red if x < 20) > 40
        curve.set_steps(())
        assert curve.isHidden()


@pytest.fixture
def bench(qtbot, viewer):
    return Bench(qtbot, viewer)


@pytest.fixture
def dock(bench):
    with bench.qtbot.waitActive(bench.dock):
        bench.dock.show()
        bench.dock.activateWindow()
    return bench.dock


def test_it_fits_into_320_pixels(dock, bench):
    bench.viewer.layers["fixed"].name = "an image with quite a long name, as file names of scans often are"
    for fold in (dock.settings.fold, dock.inputs.extras, *dock.folds.values()):
        fold.set_opened(True)
    dock.set_preflight(Preflight((("Fixed", "1 × 2 × 3 of 1 × 1 × 1 mm"),), ("A note. " * 30,), "An obstacle. " * 30))
    dock.set_status("Correlation 0.1 → 0.2\n" * 3)
    dock.set_steps(HISTORY)
    dock.resize(320, 900)
    assert dock.minimumSizeHint().width() <= 320
    bench.qtbot.wait(50)
    for widget in (dock.inputs, dock.settings, dock.checks, dock.run_button, dock.status, *dock.folds.values()):
        right = widget.mapTo(dock, widget.rect().topRight()).x()
        assert right <= 320
        assert widget.width() >= widget.minimumSizeHint().width()


def test_everything_has_a_tooltip_and_keys_are_unique(dock):
    controls = [
        w for kind in (QAbstractButton, QComboBox, QAbstractSpinBox) for w in dock.findChildren(kind) if w.isEnabled()
    ]
    assert [w for w in controls if not w.toolTip()] == []
    keys = [w.shortcut().toString() for w in dock.findChildren(QAbstractButton) if not w.shortcut().isEmpty()]
    assert len(set(keys)) == len(keys)
    assert dock.run_button.shortcut().toString() == "Alt+R"


def test_run_and_cancel_by_keyboard(dock, bench, monkeypatch):
    job = GatedJob(bench)
    monkeypatch.setattr("voxelsmith.plugin.docks.register.run.registration", job)
    dock.inputs.combos["fixed"].setFocus()
    bench.qtbot.keyClick(dock.inputs.combos["fixed"], Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    bench.qtbot.waitUntil(job.seen.is_set)
    assert not dock.run_button.isEnabled()
    bench.qtbot.keyClick(dock.inputs.combos["fixed"], Qt.Key.Key_Escape)
    bench.settle()
    assert "nothing was changed" in dock.status.text()
    assert dock.run_button.isEnabled()


def test_progress_is_shown_while_it_runs(dock, bench, monkeypatch):
    job = GatedJob(bench)
    monkeypatch.setattr("voxelsmith.plugin.docks.register.run.registration", job)
    assert dock.progress.isHidden()
    dock.run_button.click()
    bench.qtbot.waitUntil(lambda: dock.progress.message.text() == "Registering: first")
    assert not dock.progress.isHidden()
    assert dock.progress.bar.value() / dock.progress.bar.maximum() == pytest.approx(1 / 3)
