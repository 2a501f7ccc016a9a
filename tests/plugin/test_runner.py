"""A job answers to its runner, and its result reaches only the layers that it was computed from."""

import gc
import threading
import weakref

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.qt.threading import create_worker
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QWidget

from voxelsmith.core.errors import InputError, ResourceError, StaleResultError
from voxelsmith.core.progress import Progress
from voxelsmith.plugin.progress_bar import JobProgressBar
from voxelsmith.plugin.runner import JobRunner, on_bar


class Gate:
    """A job that reports once and then waits at a gate, reporting every few milliseconds, until it is opened."""

    def __init__(self, result="done"):
        self.result = result
        self.opened = threading.Event()
        self.begun = threading.Event()
        self.closed = threading.Event()
        self.thread = None

    def __call__(self):
        try:
            self.thread = threading.current_thread()
            yield Progress(1, 4, "waiting", partial="early")
            self.begun.set()
            while not self.opened.wait(0.005):
                yield Progress(2, 4, "waiting")
            return self.result
        finally:
            self.closed.set()


def failing(error):
    def job():
        yield Progress(0, 0)
        raise error

    return job


class Record:
    """Collects what a runner calls back."""

    def __init__(self):
        self.results, self.partials, self.errors, self.cancelled = [], [], [], 0

    @property
    def callbacks(self):
        return {
            "on_result": self.results.append,
            "on_partial": self.partials.append,
            "on_error": self.errors.append,
            "on_cancelled": self._on_cancelled,
        }

    def _on_cancelled(self):
        self.cancelled += 1


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def image(viewer):
    return viewer.add_layer(Image(np.zeros((4, 5, 6)), name="scan"))


@pytest.fixture
def labels(viewer):
    return viewer.add_layer(Labels(np.zeros((4, 5, 6), np.uint8), name="mask"))


@pytest.fixture
def runner(viewer, qtbot):
    runner = JobRunner(viewer)
    yield runner
    runner.shutdown()


@pytest.fixture
def record():
    return Record()


def finish(qtbot, runner, gate=None):
    with qtbot.waitSignal(runner.finished):
        if gate is not None:
            gate.opened.set()


def test_the_result_comes_in_the_main_thread(qtbot, runner, record):
    gate = Gate(result=41)
    threads = []
    runner.start(gate, title="Count", on_result=lambda r: threads.append((r, threading.current_thread())))
    finish(qtbot, runner, gate)
    assert threads == [(41, threading.main_thread())]
    assert gate.thread is not threading.main_thread()
    assert not runner.running


def test_progress_and_partial_results_are_handed_on(qtbot, runner, record):
    gate = Gate()
    with qtbot.waitSignal(runner.progressed) as report:
        runner.start(gate, title="Count", **record.callbacks)
    qtbot.waitUntil(lambda: record.partials == ["early"])
    assert report.args[0].total == 4
    assert runner.running
    finish(qtbot, runner, gate)
    assert record.results == ["done"]


class TestCancel:
    def test_it_stops_the_job_and_keeps_the_result_back(self, qtbot, runner, record):
        gate = Gate()
        runner.start(gate, title="Count", **record.callbacks)
        qtbot.waitUntil(gate.begun.is_set)
        with qtbot.waitSignal(runner.finished, timeout=1000):
            runner.cancel()
        assert gate.closed.is_set()
        assert (record.results, record.errors, record.cancelled) == ([], [], 1)

    def test_only_the_named_job_stops(self, qtbot, runner, record):
        one, two = Gate(1), Gate(2)
        runner.start(one, title="One", key="one", **record.callbacks)
        runner.start(two, title="Two", key="two", **record.callbacks)
        runner.cancel("one")
        qtbot.waitUntil(lambda: record.cancelled == 1)
        finish(qtbot, runner, two)
        assert record.results == [2]

    def test_the_job_may_end_before_it_notices(self, qtbot, runner, record):
        gate = Gate()
        runner.start(gate, title="Count", **record.callbacks)
        qtbot.waitUntil(gate.begun.is_set)
        gate.opened.set()
        runner.cancel()
        qtbot.waitUntil(lambda: not runner.running)
        assert (record.results, record.cancelled) == ([], 1)


class TestSupersede:
    def test_only_the_newest_result_counts(self, qtbot, runner, record):
        gates = [Gate(n) for n in range(4)]
        for gate in gates:
            runner.start(gate, title="Live", key="live", **record.callbacks)
        qtbot.waitUntil(gates[3].begun.is_set)
        finish(qtbot, runner, gates[3])
        assert record.results == [3]
        assert record.cancelled == 0
        assert gates[0].closed.is_set()
        assert not gates[1].begun.is_set()
        assert not gates[2].begun.is_set()

    def test_two_jobs_of_a_key_never_run_together(self, qtbot, runner, record):
        first, second = Gate(1), Gate(2)
        runner.start(first, title="Live", key="live", **record.callbacks)
        qtbot.waitUntil(first.begun.is_set)
        closed_before = []
        runner.start(
            lambda: (closed_before.append(first.closed.is_set()), second())[1],
            title="Live",
            key="live",
            **record.callbacks,
        )
        qtbot.waitUntil(second.begun.is_set)
        assert closed_before == [True]
        finish(qtbot, runner, second)

    def test_a_waiting_job_can_be_cancelled(self, qtbot, runner, record):
        first, second = Gate(1), Gate(2)
        runner.start(first, title="Live", key="live", **record.callbacks)
        runner.start(second, title="Live", key="live", **record.callbacks)
        with qtbot.waitSignal(runner.finished):
            runner.cancel()
        assert record.cancelled == 1
        assert not second.begun.is_set()


def remove(viewer, layer):
    viewer.layers.remove(layer)


def replace(viewer, layer):
    layer.data = layer.data + 1


def move(viewer, layer):
    layer.translate = (1, 0, 0)


def tilt(viewer, layer):
    layer.affine = np.diag([2, 1, 1, 1])


def paint(viewer, layer):
    layer.mode = "paint"
    layer.paint((1, 1, 1), 3)


def fill(viewer, layer):
    layer.data_setitem((np.array([0]), np.array([0]), np.array([0])), 2)


class TestStale:
    @pytest.mark.parametrize("change", [remove, replace, move, tilt, paint, fill])
    def test_a_result_for_a_changed_layer_is_parked(self, qtbot, viewer, labels, runner, record, told, change):
        gate = Gate("mask")
        runner.start(gate, title="Segment", layers=[labels], **record.callbacks)
        qtbot.waitUntil(gate.begun.is_set)
        change(viewer, labels)
        finish(qtbot, runner, gate)
        assert record.results == []
        assert [type(e) for e in record.errors] == [StaleResultError]
        assert [(p.title, p.result) for p in runner.parked] == [("Segment", "mask")]
        assert "'mask' was" in told[-1]

    def test_an_undone_stroke_counts_too(self, qtbot, viewer, labels, runner, record):
        paint(viewer, labels)
        gate = Gate()
        runner.start(gate, title="Segment", layers=[labels], **record.callbacks)
        qtbot.waitUntil(gate.begun.is_set)
        assert labels.data[1, 1, 1] == 3
        labels.undo()
        finish(qtbot, runner, gate)
        assert len(runner.parked) == 1

    def test_a_layer_that_came_back_is_the_same(self, qtbot, viewer, image, runner, record):
        gate = Gate()
        runner.start(gate, title="Segment", layers=[image], **record.callbacks)
        qtbot.waitUntil(gate.begun.is_set)
        viewer.layers.remove(image)
        viewer.add_layer(image)
        finish(qtbot, runner, gate)
        assert record.results == ["done"]

    def test_looking_at_a_layer_changes_nothing(self, qtbot, viewer, image, labels, runner, record):
        gate = Gate()
        runner.start(gate, title="Segment", layers=[image, labels], **record.callbacks)
        qtbot.waitUntil(gate.begun.is_set)
        viewer.dims.set_current_step(0, 2)
        viewer.dims.ndisplay = 3
        image.contrast_limits = (0, 0.5)
        image.name = "other"
        labels.selected_label = 4
        labels.visible = False
        finish(qtbot, runner, gate)
        assert record.results == ["done"]

    def test_other_layers_may_change(self, qtbot, viewer, image, labels, runner, record):
        gate = Gate()
        runner.start(gate, title="Segment", layers=[image], **record.callbacks)
        qtbot.waitUntil(gate.begun.is_set)
        viewer.layers.remove(labels)
        finish(qtbot, runner, gate)
        assert record.results == ["done"]


class TestErrors:
    def test_a_user_error_is_one_sentence(self, qtbot, runner, record, told):
        with qtbot.waitSignal(runner.finished):
            runner.start(failing(InputError("The image is constant.")), title="Segment", **record.callbacks)
        assert told == ["The image is constant."]
        assert [str(e) for e in record.errors] == ["The image is constant."]

    def test_lack_of_memory_is_a_sentence(self, qtbot, runner, record, told):
        with qtbot.waitSignal(runner.finished):
            runner.start(failing(MemoryError()), title="Segment", **record.callbacks)
        assert isinstance(record.errors[0], ResourceError)
        assert "'Segment'" in told[0]

    @pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), RuntimeError("CUDA")])
    def test_a_defect_reaches_napari_with_its_traceback(self, qtbot, runner, record, monkeypatch, error):
        received = []
        monkeypatch.setattr(notification_manager, "receive_error", lambda *args: received.append(args))
        with qtbot.waitSignal(runner.finished):
            runner.start(failing(error), title="Segment", **record.callbacks)
        assert received[0][1] is error
        assert received[0][2] is not None
        assert record.errors == [error]

    def test_an_error_while_applying_is_told_too(self, qtbot, runner, record, told):
        def refuse(result):
            raise InputError("The layer cannot take it.")

        gate = Gate()
        runner.start(gate, title="Segment", **record.callbacks | {"on_result": refuse})
        finish(qtbot, runner, gate)
        assert told == ["The layer cannot take it."]

    def test_a_job_that_cannot_be_made_is_told(self, qtbot, runner, record, told):
        def refuse():
            raise InputError("No image is selected.")

        with qtbot.waitSignal(runner.finished):
            runner.start(refuse, title="Segment", **record.callbacks)
        assert told == ["No image is selected."]

    def test_the_runner_works_on(self, qtbot, runner, record):
        with qtbot.waitSignal(runner.finished):
            runner.start(failing(InputError("Wrong.")), title="Segment")
        gate = Gate()
        runner.start(gate, title="Segment", **record.callbacks)
        finish(qtbot, runner, gate)
        assert record.results == ["done"]


class TestShutdown:
    def test_it_stops_jobs_and_stays_silent(self, qtbot, runner, image, record):
        gate = Gate()
        runner.start(gate, title="Segment", layers=[image], **record.callbacks)
        qtbot.waitUntil(gate.begun.is_set)
        connected = len(image.events.data.callbacks)
        runner.shutdown()
        assert gate.closed.is_set()
        qtbot.wait(20)
        assert (record.results, record.errors, record.cancelled) == ([], [], 0)
        assert len(image.events.data.callbacks) == connected - 1

    def test_nothing_starts_afterwards(self, runner):
        runner.shutdown()
        gate = Gate()
        runner.start(gate, title="Segment")
        assert not runner.running
        assert gate.thread is None

    def test_a_destroyed_dock_stops_its_jobs(self, qtbot, viewer):
        dock = QWidget()
        gate = Gate()
        JobRunner(viewer, dock).start(gate, title="Segment")
        qtbot.waitUntil(gate.begun.is_set)
        dock.deleteLater()
        qtbot.waitUntil(gate.closed.is_set)


def test_the_bar_is_there_only_while_a_job_runs(qtbot, runner):
    bar = JobProgressBar(runner)
    qtbot.addWidget(bar)
    assert bar.isHidden()
    gate = Gate()
    runner.start(gate, title="Segment")
    assert not bar.isHidden()
    qtbot.waitUntil(lambda: bar.bar.value() == 2)
    assert bar.bar.maximum() == 4
    assert bar.message.text() == "Segment: waiting"
    with qtbot.waitSignal(runner.finished):
        bar.cancel_button.click()
    assert bar.isHidden()
    assert gate.closed.is_set()


def test_a_bar_shows_more_bytes_than_qt_can_count(qtbot, runner):
    bar = JobProgressBar(runner)
    qtbot.addWidget(bar)
    for done, share in ((0, 0), (3 * 2**30, 0.75), (2**32, 1)):
        runner.progressed.emit(Progress(done, 2**32))
        assert bar.bar.maximum() > 100
        assert bar.bar.value() / bar.bar.maximum() == pytest.approx(share, abs=1e-3)
    runner.progressed.emit(Progress(3 * 2**30, 0))
    assert (bar.bar.minimum(), bar.bar.maximum()) == (0, 0)
    assert on_bar(Progress(2**33, 2**32)) == on_bar(Progress(2**32, 2**32))
    assert on_bar(Progress(1, 4)) == (1, 4)


def test_a_settled_job_is_let_go_although_napari_keeps_the_worker(qtbot, monkeypatch):
    workers = []

    def keep(*args, **kwargs):
        workers.append(create_worker(*args, **kwargs))
        return workers[-1]

    monkeypatch.setattr("napari.qt.threading.create_worker", keep)
    viewer = ViewerModel()
    runner = JobRunner(viewer)

    class Result:
        pass

    seen = []

    def job():
        yield Progress(0, 1, "")
        return Result()

    runner.start(job, title="Work", on_result=lambda result: seen.append(weakref.ref(result)))
    qtbot.waitUntil(lambda: bool(seen) and not runner.running)
    gc.collect()
    assert len(workers) == 1
    assert seen[0]() is None
