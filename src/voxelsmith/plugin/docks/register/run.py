"""Run: one registration in the viewer, from its start to its outcome.

Owns the preview on the way, what the dock says of it, and what becomes of a run that was stopped: nothing, or a result
of the last level that was finished.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from voxelsmith.core.progress import Job
from voxelsmith.plugin import notify
from voxelsmith.plugin.docks.register.choices import moving_side
from voxelsmith.plugin.docks.register.jobs import Picture, conclusion, registration
from voxelsmith.plugin.docks.register.live import LivePreview
from voxelsmith.plugin.docks.register.material import Material
from voxelsmith.plugin.docks.register.outcome import Outcome
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.register.result import Preview, RegistrationResult

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.register.view import RegisterDock

_JOB = "registration"
# On large images a step takes seconds; Cancel answers sooner.
_PATIENCE_S = 0.2
_NOTHING = "Stopped; nothing was changed."


class Run:
    """One registration.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    view
        The dock.
    runner
        Runs its jobs.
    chosen
        The layers by part, as :class:`~voxelsmith.plugin.docks.register.choices.LayerChoices` has them.
    on_end
        Called when it is over, whatever came of it.
    """

    def __init__(
        self,
        viewer: Any,
        view: RegisterDock,
        runner: JobRunner,
        chosen: Mapping[str, Any],
        on_end: Callable[[], None],
    ) -> None:
        self._view, self._runner, self._on_end = view, runner, on_end
        self._fixed, self._moving = chosen["fixed"], chosen["moving"]
        self._layers = [layer for layer in chosen.values() if layer is not None]
        self._live = LivePreview(viewer, self._fixed, self._moving, moving_side(chosen))
        self._last: Preview | None = None
        self._begun = time.monotonic()

    def start(self, material: Material, preset: str, changes: Mapping[str, Any]) -> None:
        """Begin; see :func:`~voxelsmith.plugin.docks.register.jobs.registration`."""
        self._view.set_steps(())
        self._view.set_status("")
        self._launch("Registering", lambda: registration(material, preset, changes), self._complete, self._stopped)

    def abandon(self) -> None:
        """Take the preview away; the jobs are the runner's business."""
        self._live.remove(finished=False)

    def _launch(
        self,
        title: str,
        job: Callable[[], Job[RegistrationResult]],
        on_result: Callable[[RegistrationResult], None],
        on_cancelled: Callable[[], None],
    ) -> None:
        self._runner.start(
            job,
            title=title,
            layers=self._layers,
            key=_JOB,
            on_result=on_result,
            on_partial=self._picture,
            on_error=lambda error: self._give_up(str(error)),
            on_cancelled=on_cancelled,
            patience=_PATIENCE_S,
        )

    def _picture(self, picture: Picture) -> None:
        self._last = picture.preview
        self._live.show(picture.warped)
        self._view.set_steps(picture.preview.history)

    def _stopped(self) -> None:
        last = self._last
        if last is None or not self._view.keep:
            self._give_up(_NOTHING)
        else:
            self._view.set_status("Stopped; the last level becomes the result.")
            self._launch("Keeping the last level", lambda: conclusion(last), self._kept, self._not_kept)

    def _not_kept(self) -> None:
        self._give_up(_NOTHING)

    def _give_up(self, why: str) -> None:
        self.abandon()
        self._on_end()
        self._view.set_steps(())
        self._view.set_status(why)

    def _complete(self, result: RegistrationResult) -> None:
        self._finish(result, complete=True)

    def _kept(self, result: RegistrationResult) -> None:
        self._finish(result, complete=False)

    def _finish(self, result: RegistrationResult, *, complete: bool) -> None:
        self._live.remove(finished=True)
        self._on_end()
        self._view.set_steps(result.history)
        outcome = Outcome(
            result, time.monotonic() - self._begun, complete, weakref.ref(self._fixed), weakref.ref(self._moving)
        )
        self._view.set_status(_summary(outcome))
        for note in result.notes:
            notify.caution(note)
        self._view.set_outcome(outcome)


def _summary(outcome: Outcome) -> str:
    """What a run achieved, for people."""
    m = outcome.result.measures
    lines = [
        f"{m.similarity} {m.similarity_before:.3f} → {m.similarity_after:.3f}, {outcome.seconds:.1f} s".capitalize()
    ]
    if m.dice:
        before, after = (float(np.mean([getattr(d, when) for d in m.dice.values()])) for when in ("before", "after"))
        lines.append(f"Dice, mean of {len(m.dice)} labels: {before:.3f} → {after:.3f}")
    if m.tre_after_mm:
        lines.append(f"Landmarks, mean distance: {np.mean(m.tre_before_mm):.2f} → {np.mean(m.tre_after_mm):.2f} mm")
    if m.folding_share is not None:
        lines.append(f"Folding share {m.folding_share:.2%}")
    if not outcome.complete:
        lines.append("Stopped early: the last finished level was kept.")
    return "\n".join([*lines, *outcome.result.notes])
