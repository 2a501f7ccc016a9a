"""Controller of the Register dock: decides.

Owns what is chosen, the looks at it before a run, and when a run may begin. The run itself is :mod:`run`; what is done
with its outcome is the business of the parts that it is shown to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxelsmith.core.errors import VoxelsmithError
from voxelsmith.plugin import notify
from voxelsmith.plugin.camera import keep_upright
from voxelsmith.plugin.docks.look_soon import LookSoon
from voxelsmith.plugin.docks.register.choices import LayerChoices
from voxelsmith.plugin.docks.register.material import gather
from voxelsmith.plugin.docks.register.preflight import Preflight, preflight
from voxelsmith.plugin.docks.register.run import Run
from voxelsmith.plugin.runner import JobRunner

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.register.view import RegisterDock


class RegisterController:
    """Decides for a :class:`~voxelsmith.plugin.docks.register.view.RegisterDock`.

    Parameters
    ----------
    view
        The dock.
    viewer : napari.components.ViewerModel
    runner
        Runs the registration; its progress is shown in the dock.
    """

    def __init__(self, view: RegisterDock, viewer: Any, runner: JobRunner) -> None:
        self._view, self._viewer, self._runner = view, viewer, runner
        # Looking at what is chosen is no business of the user's, so its progress is not shown.
        self._quiet_runner = JobRunner(viewer, runner, shown=False)
        self.choices = LayerChoices(view, viewer)
        self._run: Run | None = None
        self._can_run = False
        self._look_soon = LookSoon(runner, self.look)
        view.layer_chosen.connect(self.choose)
        view.swapped.connect(self.swap)
        view.settings_changed.connect(self.look)
        view.run_wanted.connect(self.run)
        for emitter in self._list_events():
            emitter.connect(self._on_list)
        keep_upright(viewer)
        view.set_status("")
        self._on_list()

    def _list_events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.reordered, events.renamed

    def close(self) -> None:
        """Stop all jobs, take the preview away, and let go of the viewer."""
        self._look_soon.stop()
        self._runner.shutdown()
        self._quiet_runner.shutdown()
        if self._run is not None:
            self._run.abandon()
        for emitter in self._list_events():
            emitter.disconnect(self._on_list)
        self._look_soon.watch([])

    # -- choices -----------------------------------------------------------------------------------------------

    def _on_list(self, event: Any = None) -> None:
        self.choices.offer()
        self._look_soon.start()
        self._look_soon.watch(self.choices.layers)

    def choose(self, part: str, name: str) -> None:
        """The user chose a layer for a part by name."""
        self.choices.choose(part, name)
        self._look_soon.watch(self.choices.layers)
        self.look()

    def swap(self) -> None:
        """Exchange fixed and moving."""
        self.choices.swap()
        self.look()

    # -- before the run ----------------------------------------------------------------------------------------

    @property
    def looking(self) -> bool:
        """Whether what is chosen is being looked at, or soon will be."""
        return self._look_soon.waiting or self._quiet_runner.running

    def look(self) -> None:
        """Look at what is chosen, and say what is known of it."""
        self._look_soon.stop()
        try:
            material = gather(self.choices.chosen, self._viewer)
        except VoxelsmithError as error:
            self._quiet_runner.cancel()
            self._tell(Preflight(obstacle=str(error)))
            return
        preset, changes = self._view.preset, self._view.changes
        self._quiet_runner.start(
            lambda: preflight(material, preset, changes), title="Checks", key="checks", on_result=self._tell
        )

    def _tell(self, known: Preflight) -> None:
        self._can_run = not known.obstacle
        self._view.set_preflight(known)
        if known.values:
            self._view.set_values(known.values)
        self._show_runnable()

    def _show_runnable(self) -> None:
        self._view.set_runnable(self._can_run and self._run is None)

    def _on_end(self) -> None:
        self._run = None
        self._show_runnable()

    # -- the run -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Register what is chosen."""
        if self._run is not None:
            return
        with notify.sentences():
            material = gather(self.choices.chosen, self._viewer)
            self._run = Run(self._viewer, self._view, self._runner, self.choices.chosen, self._on_end)
            self._run.start(material, self._view.preset, self._view.changes)
            self._show_runnable()
