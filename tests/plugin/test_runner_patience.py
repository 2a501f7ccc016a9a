"""A cancelled job that does not report for long is let go, and what comes after it waits for its thread."""

import threading

import pytest
from napari.components import ViewerModel

from voxelsmith.core.progress import Progress
from voxelsmith.plugin.runner import JobRunner


class Stuck:
    """A job that reports, and then not until its gate opens."""

    def __init__(self):
        self.begun, self.gate, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self):
        try:
            yield Progress(0, 1)
            self.begun.set()
            self.gate.wait(20)
            yield Progress(1, 1, partial="late")
            return "late"
        finally:
            self.ended.set()


@pytest.fixture
def runner(qtbot):
    runner = JobRunner(ViewerModel())
    yield runner
    runner.shutdown()


@pytest.fixture
def stuck():
    job = Stuck()
    yield job
    job.gate.set()


def test_it_is_let_go_in_time_and_its_result_dropped(qtbot, runner, stuck):
    came, cancelled = [], []
    callbacks = {"on_result": came.append, "on_partial": came.append, "on_cancelled": lambda: cancelled.append(True)}
    runner.start(stuck, title="Stuck", patience=0.1, **callbacks)
    qtbot.waitUntil(stuck.begun.is_set)
    with qtbot.waitSignal(runner.finished):
        runner.cancel()
    assert not stuck.ended.is_set()
    assert not runner.running
    assert cancelled == [True]
    stuck.gate.set()
    qtbot.waitUntil(stuck.ended.is_set)
    qtbot.wait(100)
    assert (came, cancelled) == ([], [True])


def test_the_next_one_of_its_key_waits_for_its_thread(qtbot, runner, stuck):
    runner.start(stuck, title="Stuck", key="k", patience=0.1)
    qtbot.waitUntil(stuck.begun.is_set)
    with qtbot.waitSignal(runner.finished):
        runner.cancel()
    after, came = Stuck(), []
    after.gate.set()
    runner.start(after, title="Next", key="k", on_result=came.append)
    qtbot.wait(50)
    assert not after.begun.is_set()
    assert runner.running
    stuck.gate.set()
    qtbot.waitUntil(lambda: came == ["late"])
    assert stuck.ended.is_set()


def test_without_patience_it_is_waited_for(qtbot, runner, stuck):
    cancelled = []
    runner.start(stuck, title="Stuck", on_cancelled=lambda: cancelled.append(True))
    qtbot.waitUntil(stuck.begun.is_set)
    runner.cancel()
    qtbot.wait(300)
    assert runner.running
    assert cancelled == []
    stuck.gate.set()
    qtbot.waitUntil(lambda: cancelled == [True])
