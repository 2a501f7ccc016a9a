"""Training: one training at a time, from the button to its end.

Owns the job, what the dock says of it while it runs, and the slice that it is asked to preview. The training lives in a
process of its own: layers may come and go, and may be painted, while it runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from voxelsmith.plugin.docks.train.jobs import Account, Line, Plan, new_labels, training
from voxelsmith.plugin.docks.train.material import ClassChoice, Material
from voxelsmith.plugin.docks.train.runs import Run
from voxelsmith.plugin.docks.train.training_part import TrainingPart
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.train.history import Row
from voxelsmith.train.state import TrainingState
from voxelsmith.train.tvunet import Preview as Answer
from voxelsmith.train.tvunet import ShowSlice, Trained

_JOB = "training"
# Whatever changes in a window with a canvas makes Qt compose all of it anew, which costs a training on the same
# processor more than everything else in the window.
_SHOWN_S = 0.5
_NAMES = {
    TrainingState.preparing: "Preparing",
    TrainingState.training: "Training",
    TrainingState.paused: "Paused",
    TrainingState.stopping: "Stopping",
}


class Training:
    """The training of a dock.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    part
        Where it is shown.
    runner
        Runs the job, and no other.
    on_answer
        Called with each new answer for the slice that it was asked for.
    on_change
        Called when the state changes.
    on_run
        Called with how far the run is.

    Attributes
    ----------
    state : TrainingState
    plan : Plan or None
        What runs, or ran last.
    """

    def __init__(
        self,
        viewer: Any,
        part: TrainingPart,
        runner: JobRunner,
        on_answer: Callable[[Answer], None],
        on_change: Callable[[], None],
        on_run: Callable[[Run], None],
    ) -> None:
        self._part, self._runner, self._on_answer = part, runner, on_answer
        # Making examples of new labels is no business of the progress shown.
        self._quiet_runner = JobRunner(viewer, runner, shown=False)
        self._on_change, self._on_run = on_change, on_run
        self.state = TrainingState.idle
        self.plan: Plan | None = None
        self._line = Line()
        self._earlier: tuple[Row, ...] = ()
        self._rows: tuple[Row, ...] = ()
        # Those of the training, of which so many were heard, and those of the dock, in the order in which they came.
        self._notes: tuple[str, ...] = ()
        self._heard = 0
        self._answer: Answer | None = None
        self._wish: ShowSlice | None = None
        self._begun = False
        self._account: Account | None = None
        self._due = 0.0

    @property
    def running(self) -> bool:
        """Whether something trains, or waits to go on."""
        return self.state in _NAMES

    def start(self, plan: Plan, earlier: tuple[Row, ...] = ()) -> None:
        """Begin; ``earlier`` is the history of a run that is resumed."""
        self.plan, self._line, self._earlier = plan, Line(), earlier
        self._rows, self._notes, self._answer, self._wish = (), (), None, plan.show
        self._heard, self._begun = 0, False
        self._account, self._due = None, 0.0
        self._part.set_rows(earlier)
        self._part.set_notes(())
        self._part.set_text("Preparing…")
        self._become(TrainingState.preparing)
        line = self._line
        self._runner.start(
            lambda: training(plan, line),
            title="Training",
            key=_JOB,
            on_partial=self._take_in,
            on_result=self._finish,
            on_error=self._fail,
            on_cancelled=self._stopped,
        )

    def pause(self) -> None:
        """Wait after the present step."""
        if self._line.process is not None:
            self._line.process.pause()

    def resume(self) -> None:
        """Go on after a pause."""
        if self._line.process is not None:
            self._line.process.resume()

    def stop(self) -> None:
        """End after the present step, leaving a checkpoint; before the first step, at once."""
        if self._line.process is None or not self._begun:
            self._runner.cancel()
        else:
            self._line.process.stop()
        if self.running:
            self._part.set_text("Stopping…")
            self._become(TrainingState.stopping)

    def take(self, material: tuple[Material, ...], choice: ClassChoice) -> None:
        """Go on with other annotations from the next epoch on."""
        line = self._line

        def tell(slices: int) -> None:
            self._notes = (*self._notes, f"{slices} annotated slices were handed over; the next epoch takes them in.")
            self._part.set_notes(self._notes)

        self._quiet_runner.start(
            lambda: new_labels(material, choice, line), title="New labels", key="labels", on_result=tell
        )

    def look_at(self, index: int) -> None:
        """Ask for a preview of another slice of the first volume."""
        wish = ShowSlice(index)
        if self.running and wish != self._wish:
            self._wish = wish
            self._line.send(wish)

    def close(self) -> None:
        """Stop, and start no more; the process ends with a checkpoint, or is ended."""
        self._runner.shutdown()
        self._quiet_runner.shutdown()

    # -- what comes --------------------------------------------------------------------------------------------

    def _become(self, state: TrainingState) -> None:
        if state is not self.state:
            self.state = state
            self._on_change()

    def _take_in(self, account: Account) -> None:
        """Show an account twice a second, and at once if the state or the answer is new; each holds all before it."""
        shown, self._account = self._account, account
        self._begun = self._begun or account.seconds_per_step is not None
        now = time.monotonic()
        known = shown is not None and account.state is shown.state and account.preview is shown.preview
        if now >= self._due or not known:
            self._due = now + _SHOWN_S
            self._show(account)

    def _show(self, account: Account) -> None:
        state = account.state
        if state is TrainingState.training and not self._begun:
            state = TrainingState.preparing
        if state in _NAMES and self.state is not TrainingState.stopping:
            self._become(state)
        self._part.set_progress(account.progress, _words(account, self.state))
        if len(account.rows) > len(self._rows):
            self._rows = account.rows
            self._draw(joined(self._earlier, account.rows))
        if len(account.notes) > self._heard:
            self._notes += account.notes[self._heard :]
            self._heard = len(account.notes)
            self._part.set_notes(self._notes)
        if account.preview is not None and account.preview is not self._answer:
            self._answer = account.preview
            self._on_answer(account.preview)

    def _draw(self, rows: tuple[Row, ...]) -> None:
        self._part.set_rows(rows)
        if self.plan is not None:
            self._on_run(Run(self.plan.folder, rows, self.plan.settings, self._line.classes))

    def _finish(self, trained: Trained) -> None:
        history = trained.history
        self._draw(history.rows)
        self._part.set_notes(trained.notes)
        best = "" if history.best_score is None else f", best Dice {history.best_score:.3f} at step {history.best_step}"
        after = "" if history.finished else "; Resume goes on"
        self._part.set_text(f"Done: step {history.step} of {history.steps}{best}{after}.")
        self._become(TrainingState.stopped)

    def _stopped(self) -> None:
        self._show_last()
        self._part.set_text("Stopped; Resume goes on.")
        self._become(TrainingState.stopped)

    def _fail(self, error: Exception) -> None:
        self._show_last()
        self._part.set_text(str(error).splitlines()[0])
        self._become(TrainingState.failed)

    def _show_last(self) -> None:
        if self._account is not None:
            self._show(self._account)


def joined(earlier: tuple[Row, ...], rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """A history and what a resumed training adds to it; what it does again counts once."""
    return tuple(row for row in earlier if not rows or row.step < rows[0].step) + rows


def _words(account: Account, state: TrainingState) -> str:
    words = [_NAMES.get(state, "")]
    progress = account.progress
    if progress.done:
        words.append(f"step {progress.done} of {progress.total}")
    elif progress.message:
        words.append(progress.message)
    if account.seconds_per_step is not None:
        words.append(f"{account.seconds_per_step:.2f} s a step")
    if account.seconds_left is not None:
        words.append(f"{duration(account.seconds_left)} left")
    return " · ".join(words)


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
