"""Runner: jobs in napari.

Owns the life of a job in the viewer: it runs in a thread worker of napari's, shows up in napari's activity dock, can
be cancelled at each report, and its result is handed over in the main thread only if the layers that it was computed
from are as they were. Otherwise the result is parked and the user told. The thread sees the job and nothing else;
reports are collected by a timer, so that a job which reports often does not flood the window.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication

from voxelsmith.core.errors import ResourceError, StaleResultError
from voxelsmith.core.progress import Cancelled, Job, Progress, run_job
from voxelsmith.plugin import notify
from voxelsmith.plugin.binding import Binding

_POLL_MS = 50
_GRACE_S = 2.0
_LONGEST_BAR = 10**6


@dataclass(frozen=True)
class Parked:
    """A result that could not be applied.

    Parameters
    ----------
    title
        Of the job.
    result
        What it returned.
    reason
        What happened to its layers.
    """

    title: str
    result: Any
    reason: str


@dataclass(eq=False)
class _Task:
    """One started job; the thread writes ``latest``, ``partial``, ``result``, ``error``, the main thread the rest."""

    factory: Callable[[], Job[Any]]
    title: str
    layers: tuple[Any, ...]
    key: str | None
    on_result: Callable[[Any], None] | None
    on_partial: Callable[[Any], None] | None
    on_error: Callable[[Exception], None] | None
    on_cancelled: Callable[[], None] | None
    patience: float | None
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    superseded: bool = False
    stop_seen: float | None = None
    latest: Progress | None = None
    partial: Any = None
    result: Any = None
    error: BaseException | None = None
    job: Job[Any] | None = None
    worker: Any = None
    binding: Binding | None = None
    bar: Any = None

    def work(self) -> None:
        """Drive the job; runs in the thread."""
        try:
            assert self.job is not None
            self.result = run_job(self.job, self._report)
        except MemoryError as error:
            self.error = ResourceError(
                f"Memory ran out during {self.title!r}; close other volumes or work on a smaller part."
            ).with_traceback(error.__traceback__)
        except BaseException as error:
            self.error = error
        finally:
            self.ended.set()

    def _report(self, progress: Progress) -> bool:
        if progress.partial is not None:
            self.partial = progress.partial
        self.latest = progress
        return not (self.stop.is_set() or self.worker.abort_requested)


class JobRunner(QObject):
    """Starts jobs for a dock and looks after them.

    Parameters
    ----------
    viewer : napari.Viewer or napari.components.ViewerModel
        Whose layers the jobs are computed from.
    parent
        The dock; its jobs are stopped when it is destroyed.
    shown
        Whether napari's activity dock lists the jobs.

    Attributes
    ----------
    started : Signal(str)
        A job begins; its title.
    progressed : Signal(Progress)
        At most twenty times a second.
    finished : Signal()
        The last job has ended, whatever came of it.
    parked : list of Parked
        Results whose layers had gone or changed.
    """

    started = Signal(str)
    progressed = Signal(object)
    finished = Signal()

    def __init__(self, viewer: Any, parent: QObject | None = None, *, shown: bool = True) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._shown = shown
        self._tasks: list[_Task] = []
        self._waiting: dict[str, _Task] = {}
        self._closed = False
        self.parked: list[Parked] = []
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self._poll)
        # Not through the destroyed signal, whose slots may be gone by the time it is emitted.
        weakref.finalize(self, _stop, self._tasks)
        if (application := QApplication.instance()) is not None:
            application.aboutToQuit.connect(self.shutdown)

    @property
    def running(self) -> bool:
        """Whether a job runs or waits whose result is wanted."""
        return bool(self._waiting) or any(not task.superseded for task in self._tasks)

    def start(
        self,
        job_factory: Callable[[], Job[Any]],
        *,
        title: str,
        layers: Iterable[Any] = (),
        key: str | None = None,
        on_result: Callable[[Any], None] | None = None,
        on_partial: Callable[[Any], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
        on_cancelled: Callable[[], None] | None = None,
        patience: float | None = None,
    ) -> None:
        """Run a job in a thread; all callbacks come in the main thread.

        Parameters
        ----------
        job_factory
            Makes the job, in the main thread; an exception of its own is treated as one of the job.
        title
            What the user reads, such as "Export labels".
        layers
            The layers that the job is computed from.
        key
            A newer job with the same key supersedes an older one, which is stopped and whose result is dropped; the
            newer one begins when the older has stopped.
        on_result
            Called with the result, if the layers are as they were.
        on_partial
            Called with the latest partial result of the reports.
        on_error
            Called after the user was told of an error, or with StaleResultError after a result was parked.
        on_cancelled
            Called when the job was cancelled (not when it was superseded).
        patience
            For jobs whose steps may take long and that change nothing but memory: so many seconds after it was
            cancelled the job counts as stopped, although its thread goes on to its next report.
        """
        if self._closed:
            return
        callbacks = on_result, on_partial, on_error, on_cancelled
        task = _Task(job_factory, title, tuple(layers), key, *callbacks, patience)
        older = [t for t in self._tasks if key is not None and t.key == key]
        if key is not None and older:
            for t in older:
                t.superseded = True
                t.stop.set()
            self._waiting[key] = task
        else:
            self._launch(task)

    def _launch(self, task: _Task) -> None:
        from napari.qt.threading import create_worker

        try:
            task.job = task.factory()
        except Exception as error:
            self._fail(task, error)
            self._announce_end()
            return
        task.binding = Binding(self._viewer, task.layers)
        if self._shown and hasattr(self._viewer, "window"):
            from napari.utils import cancelable_progress

            task.bar = cancelable_progress(total=0, desc=task.title)
        task.worker = create_worker(_work, [task], _start_thread=False)
        task.worker.finished.connect(self._collect)
        self._tasks.append(task)
        self._timer.start()
        self.started.emit(task.title)
        task.worker.start()

    def _poll(self) -> None:
        for task in list(self._tasks):
            progress, partial = task.latest, task.partial
            task.latest = task.partial = None
            if task.bar is not None:
                if task.bar.is_canceled:
                    task.stop.set()
                if progress is not None:
                    done, task.bar.total = on_bar(progress)
                    task.bar.update(done - task.bar.n)
            if task.stop.is_set():
                self._await_end(task)
                continue
            if progress is not None:
                self.progressed.emit(progress)
            if partial is not None and task.on_partial is not None and self._stale(task) is None:
                with notify.sentences():
                    task.on_partial(partial)

    def _await_end(self, task: _Task) -> None:
        """Let a task that was asked to stop go when that takes longer than it may."""
        now = time.monotonic()
        task.stop_seen = task.stop_seen or now
        if task.superseded or task.patience is None or now - task.stop_seen < task.patience:
            return
        task.superseded = True
        if task.on_cancelled is not None:
            task.on_cancelled()
        self._announce_end()

    def _collect(self) -> None:
        """Take in the jobs that have ended."""
        for task in [t for t in self._tasks if t.ended.is_set()]:
            self._tasks.remove(task)
            self._settle(task)
        self._announce_end()

    def _settle(self, task: _Task) -> None:
        reason = None if task.superseded else self._stale(task)
        self._release(task)
        if task.key is not None and task.key in self._waiting:
            self._launch(self._waiting.pop(task.key))
        if task.superseded:
            return
        if isinstance(task.error, Cancelled) or (task.error is None and task.stop.is_set()):
            if task.on_cancelled is not None:
                task.on_cancelled()
        elif task.error is not None:
            self._fail(task, task.error)
        elif reason is not None:
            self._park(task, reason)
        elif task.on_result is not None:
            try:
                task.on_result(task.result)
            except Exception as error:
                self._fail(task, error)

    def _stale(self, task: _Task) -> str | None:
        return task.binding.broken() if task.binding is not None else None

    def _park(self, task: _Task, reason: str) -> None:
        self.parked.append(Parked(task.title, task.result, reason))
        error = StaleResultError(
            f"{task.title!r} has finished, but {reason} meanwhile; its result was put aside and no layer was touched. "
            "Run it again on the layers as they are now."
        )
        self._fail(task, error)

    def _fail(self, task: _Task, error: BaseException) -> None:
        notify.show(error)
        if task.on_error is not None and isinstance(error, Exception):
            task.on_error(error)

    def _release(self, task: _Task) -> None:
        if task.binding is not None:
            task.binding.release()
        if task.bar is not None:
            task.bar.close()

    def _announce_end(self) -> None:
        if not self._tasks:
            self._timer.stop()
        if not self.running:
            self.finished.emit()

    def cancel(self, key: str | None = None) -> None:
        """Ask all jobs, or those of one key, to stop at their next report; returns at once."""
        for waiting in [k for k in self._waiting if key in (None, k)]:
            task = self._waiting.pop(waiting)
            if task.on_cancelled is not None:
                task.on_cancelled()
        for task in self._tasks:
            if key in (None, task.key):
                task.stop.set()

    def shutdown(self) -> None:
        """Stop all jobs, wait for them briefly, and start no more; no callback comes after this."""
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        self._timer.stop()
        _stop(self._tasks)
        for task in self._tasks:
            task.superseded = True
            task.worker.finished.disconnect(self._collect)
            task.ended.wait(_GRACE_S)
            self._release(task)
        self._tasks.clear()


def on_bar(progress: Progress) -> tuple[int, int]:
    """How far a bar is filled, and its length (0 if unknown): Qt's numbers end where a file has 2 GiB."""
    if progress.fraction is None:
        return 0, 0
    scale = 1 + progress.total // _LONGEST_BAR
    return min(progress.done, progress.total) // scale, progress.total // scale


def _work(handed: list[_Task]) -> None:
    """Do the task in the list and empty the list: napari keeps every worker and its arguments until it closes."""
    handed.pop().work()


def _stop(tasks: list[_Task]) -> None:
    for task in tasks:
        task.stop.set()
