"""A job in a process of its own, which can be paused, stopped and told things, and whose death is a sentence.

Owns :class:`ProcessJob`. The process is spawned, so neither Qt nor CUDA is inherited; it works at a low priority, so
that a window stays fluid beside it; and it ends by itself when this process is gone. Reports come at most ten times a
second. What passes between the two goes through a pipe that only they hold.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Protocol, Self, TypeVar, runtime_checkable

from voxelsmith.core.errors import ResourceError, VoxelsmithError
from voxelsmith.core.progress import Cancelled, Job, Progress
from voxelsmith.train.state import StateMachine, TrainingState

__all__ = ["Mergeable", "ProcessJob"]

T = TypeVar("T")

_POLL_S = 0.1
_REPORT_S = 0.1
_NICE = 10
# How often threads of GNU OpenMP look whether the others are done before they sleep.
_WAITING, _LOOKS = "GOMP_SPINCOUNT", "10000"
# How long a process may take over the step that it is in before it is ended, and over ending.
_STOP_S = 10.0
_CLOSE_S = 1.5


@runtime_checkable
class Mergeable(Protocol):
    """An early result of which nothing is lost when reports are throttled."""

    def after(self, earlier: Self) -> Self:
        """This one, with what an earlier one told that was not sent."""


class ProcessJob(Generic[T]):
    """Runs a job in another process.

    Parameters
    ----------
    make
        Importable function that makes the job there. Its last argument is an inbox, a :class:`queue.SimpleQueue` from
        which the job takes what :meth:`send` was given.
    arguments
        The others; they travel to the process, so they must be picklable.
    what
        What runs, in sentences: "The training".
    on_state
        Called with every new state: from :meth:`pause`, :meth:`resume` and :meth:`stop` in the thread of the caller,
        otherwise in the thread that drives :meth:`run`.
    """

    def __init__(
        self,
        make: Callable[..., Job[T]],
        *arguments: Any,
        what: str = "The training",
        on_state: Callable[[TrainingState], None] | None = None,
    ) -> None:
        self._make, self._arguments, self._what = make, arguments, what
        self._machine = StateMachine(on_state)
        self._connection: Connection | None = None
        self._process: BaseProcess | None = None
        self._lock = threading.RLock()
        self._stop_at: float | None = None

    @property
    def state(self) -> TrainingState:
        """What the job is doing; "stopped" after its end, whether it was done or was stopped."""
        return self._machine.state

    @property
    def pid(self) -> int | None:
        """Number of the process while there is one."""
        return None if self._process is None else self._process.pid

    def pause(self) -> None:
        """Wait after the present step; does nothing unless it trains."""
        if self.state is TrainingState.training:
            self._tell("pause")

    def resume(self) -> None:
        """Go on after a pause."""
        if self.state is TrainingState.paused:
            self._tell("resume")

    def stop(self) -> None:
        """End after the present step, leaving a checkpoint; :meth:`run` then raises Cancelled."""
        with self._lock:
            if self._machine.may(TrainingState.stopping):
                self._stop_at = time.monotonic()
                self._machine.to(TrainingState.stopping)
        self._tell("stop")

    def send(self, message: Any) -> None:
        """Put a picklable object into the job's inbox."""
        self._tell("message", message)

    def run(self) -> Job[T]:
        """The job, as it is seen from here.

        Yields
        ------
        Progress
            At least every tenth of a second, so that closing this generator is answered at once; without a new report
            the last one again, without its partial result.

        Returns
        -------
        T
            What the job in the process returned.

        Raises
        ------
        Cancelled
            After :meth:`stop`.
        ResourceError
            If the process was killed, crashed, or ran out of memory.
        VoxelsmithError
            What the job raised.
        """
        self._to(TrainingState.preparing)
        process, connection = self._start()
        latest = Progress(0, 0, "Starting")
        try:
            yield latest
            while True:
                kind, content = self._receive(process, connection)
                if kind == "result":
                    result: T = content
                    self._to(TrainingState.stopped)
                    return result
                if kind == "progress":
                    latest = content
                    if self.state is TrainingState.preparing:
                        self._to(TrainingState.training)
                    yield latest
                else:
                    self._note(kind, content)
                    yield Progress(latest.done, latest.total, latest.message)
        except Cancelled:
            self._to(TrainingState.stopped)
            raise
        except Exception:
            self._to(TrainingState.failed)
            raise
        finally:
            self._end(process, connection)

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._make, self._arguments), daemon=True)
        with _without_main(), _patient_threads():
            process.start()
        theirs.close()
        with self._lock:
            self._connection, self._process = ours, process
            if self._stop_at is not None:
                self._tell("stop")
        return process, ours

    def _receive(self, process: BaseProcess, connection: Connection) -> tuple[str, Any]:
        """The next message, or ("nothing", None) after a moment without one."""
        try:
            if connection.poll(_POLL_S):
                message: tuple[str, Any] = connection.recv()
                return message
        except (EOFError, OSError):
            process.join(_CLOSE_S)
            if self._stop_at is not None:
                raise Cancelled(f"{self._what} was stopped.") from None
            raise ResourceError(_death(self._what, process.exitcode)) from None
        if self._stop_at is not None and time.monotonic() - self._stop_at > _STOP_S:
            raise Cancelled(f"{self._what} was ended within a step; the last checkpoint stays.")
        return "nothing", None

    def _note(self, kind: str, content: Any) -> None:
        """Take in a message that is neither a report nor the result."""
        if kind == "paused" and self._machine.may(TrainingState.paused):
            self._to(TrainingState.paused)
        elif kind == "resumed" and self._machine.may(TrainingState.training):
            self._to(TrainingState.training)
        elif kind == "stopped":
            raise Cancelled(f"{self._what} was stopped.")
        elif kind == "error":
            raise content
        elif kind == "defect":
            raise RuntimeError(f"{self._what} failed in its process:\n{content}")

    def _to(self, state: TrainingState) -> None:
        with self._lock:
            if self._machine.state is not state:
                self._machine.to(state)

    def _tell(self, kind: str, content: Any = None) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._connection is not None:
                self._connection.send((kind, content))

    def _end(self, process: BaseProcess, connection: Connection) -> None:
        """Let the process go: it is asked, then terminated, then killed."""
        if process.is_alive():
            self._tell("stop")
            _drain(connection, process)
        with self._lock:
            self._connection = None
            connection.close()
        for last_resort in (process.terminate, process.kill):
            process.join(_CLOSE_S)
            if process.exitcode is None:
                last_resort()
        process.join(_CLOSE_S)
        process.close()
        self._process = None
        if self._machine.may(TrainingState.stopped) and self._machine.running:
            self._to(TrainingState.stopped)


def _drain(connection: Connection, process: BaseProcess) -> None:
    """Read what a process that ends still says, so that it does not wait for a reader."""
    until = time.monotonic() + _CLOSE_S
    with contextlib.suppress(EOFError, OSError):
        while process.is_alive() and time.monotonic() < until:
            if connection.poll(_POLL_S):
                connection.recv()


def _death(what: str, code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        cause = f"its process was ended from outside ({name})"
        if code == -getattr(signal, "SIGKILL", 9):
            cause += ", as the system does when memory runs out"
    else:
        cause = f"its process ended without a word (exit code {code})"
    return f"{what} broke off: {cause}; what it had saved is intact, so resume it, with smaller patches if need be."


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep the new process from running the script that started this one, which may well open a window."""
    main = sys.modules["__main__"].__dict__
    hidden: dict[str, Any] = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        del main["__spec__"]
        main |= hidden


@contextmanager
def _patient_threads() -> Iterator[None]:
    """Threads of the new process soon sleep while they wait for one another.

    By default they spin for milliseconds. On a machine that is busy with other things, a window among them, that takes
    ten times as long, and the window's time with it. Threads that sleep at once take a third longer on an idle one.
    """
    if _WAITING in os.environ:
        yield
        return
    os.environ[_WAITING] = _LOOKS
    try:
        yield
    finally:
        del os.environ[_WAITING]


class _Wishes:
    """What the other side wants, as its thread hears it."""

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.stop, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def listen(self, connection: Connection) -> None:
        """Take in what comes until the other side is gone, which means to stop."""
        try:
            while True:
                kind, content = connection.recv()
                if kind == "message":
                    self.inbox.put(content)
                elif kind == "pause":
                    self.go_on.clear()
                elif kind == "resume":
                    self.go_on.set()
                elif kind == "stop":
                    self.stop.set()
                    self.go_on.set()
        except (EOFError, OSError):
            self.stop.set()
            self.go_on.set()


def _serve(connection: Connection, make: Callable[..., Job[Any]], arguments: tuple[Any, ...]) -> None:
    """Drive a job in the new process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(_NICE)
    wishes = _Wishes()
    threading.Thread(target=wishes.listen, args=(connection,), daemon=True).start()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        try:
            connection.send(_outcome(make(*arguments, wishes.inbox), wishes, connection))
        except VoxelsmithError as error:
            connection.send(("error", error))
        except MemoryError:
            connection.send(("error", ResourceError("Memory ran out; close other programs, or train smaller patches.")))
        except Exception:
            connection.send(("defect", traceback.format_exc()))


def _outcome(job: Job[Any], wishes: _Wishes, connection: Connection) -> tuple[str, Any]:
    """Drive a job to its end, or until it shall stop."""
    waiting: Progress | None = None
    sent = -_REPORT_S
    try:
        while not wishes.stop.is_set():
            try:
                progress = next(job)
            except StopIteration as end:
                if waiting is not None:
                    connection.send(("progress", waiting))
                return "result", end.value
            waiting = _merged(waiting, progress)
            pausing = not wishes.go_on.is_set()
            if pausing or time.monotonic() - sent >= _REPORT_S:
                connection.send(("progress", waiting))
                waiting, sent = None, time.monotonic()
            if pausing:
                connection.send(("paused", None))
                wishes.go_on.wait()
                connection.send(("resumed", None))
    finally:
        job.close()
    return "stopped", None


def _merged(earlier: Progress | None, progress: Progress) -> Progress:
    """A report that also tells what an earlier one did that was not sent."""
    if earlier is None or earlier.partial is None:
        return progress
    partial = progress.partial
    if partial is None:
        partial = earlier.partial
    elif isinstance(partial, Mergeable) and isinstance(earlier.partial, type(partial)):
        partial = partial.after(earlier.partial)
    return Progress(progress.done, progress.total, progress.message, partial)
