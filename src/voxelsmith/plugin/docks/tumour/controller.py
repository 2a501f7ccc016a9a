"""Controller of the Tumour dock: decides.

Owns what is chosen, the looks at it before a run, how the sequences are shown together, and when a run may begin. The
run itself is :mod:`run`; what is done with its regions is :mod:`results`; what is learned from them :mod:`learning`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxelsmith.core.errors import VoxelsmithError
from voxelsmith.plugin import notify
from voxelsmith.plugin.camera import keep_upright
from voxelsmith.plugin.docks.look_soon import LookSoon
from voxelsmith.plugin.docks.tumour.choices import SlotChoices
from voxelsmith.plugin.docks.tumour.learning import Learning
from voxelsmith.plugin.docks.tumour.material import gather
from voxelsmith.plugin.docks.tumour.models import about
from voxelsmith.plugin.docks.tumour.patient import LABELS, Patient, patient
from voxelsmith.plugin.docks.tumour.preflight import Preflight, preflight
from voxelsmith.plugin.docks.tumour.run import Outcome, Runs, how
from voxelsmith.plugin.docks.tumour.together import Together
from voxelsmith.plugin.layers import layer_data
from voxelsmith.plugin.runner import JobRunner

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.tumour.view import TumourDock


class TumourController:
    """Decides for a :class:`~voxelsmith.plugin.docks.tumour.view.TumourDock`.

    Parameters
    ----------
    view
        The dock.
    viewer : napari.components.ViewerModel
    runner
        Runs the segmentations; their progress is shown in the dock.
    """

    def __init__(self, view: TumourDock, viewer: Any, runner: JobRunner) -> None:
        self._view, self._viewer, self._runner = view, viewer, runner
        # Looking at what is chosen is no business of the user's, so its progress is not shown.
        self._quiet_runner = JobRunner(viewer, runner, shown=False)
        self.choices = SlotChoices(view.slots.set_choices, viewer)
        self.together = Together(viewer)
        self.runs = Runs(viewer, runner, self._finish, self._end)
        self.learning = Learning(view, viewer, runner, self.choices, self.runs)
        self._known = Preflight()
        self._looked_how: tuple[str, str] | None = None
        self._look_soon = LookSoon(runner, self.look)
        view.slots.chosen.connect(self.choose)
        view.slots.folder_chosen.connect(self.open_patient)
        view.slots.together_wanted.connect(self.show_together)
        view.slots.window_moved.connect(self._set_windows)
        view.settings.changed.connect(self._on_settings)
        view.run_wanted.connect(self.run)
        view.result.layer_chosen.connect(self._show_labels)
        for emitter in self._list_events():
            emitter.connect(self._on_list)
        keep_upright(viewer)
        view.slots.set_together("apart")
        view.set_status("")
        self._on_list()

    def _list_events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.reordered, events.renamed

    def close(self) -> None:
        """Stop all jobs, show the layers as they were, and let go of the viewer."""
        self._look_soon.stop()
        self._runner.shutdown()
        self._quiet_runner.shutdown()
        self.runs.close()
        self.together.restore()
        for emitter in self._list_events():
            emitter.disconnect(self._on_list)
        self._look_soon.watch([])

    # -- choices -----------------------------------------------------------------------------------------------

    def _on_list(self, event: Any = None) -> None:
        before = list(self.choices.layers)
        self.choices.offer()
        if self.choices.layers != before or event is None:
            self._on_choice()
        self._show_labels()

    def open_patient(self, folder: str) -> None:
        """Open the sequences in a folder, and choose them."""
        self._runner.start(
            lambda: patient(Path(folder)),
            title="Open patient",
            on_result=self._add_patient,
            on_error=lambda error: self._view.set_status(str(error)),
        )

    def _add_patient(self, found: Patient) -> None:
        layers = {}
        for slot, volume in found.volumes.items():
            data, arguments, kind = layer_data(volume)
            layers[slot] = getattr(self._viewer, f"add_{kind}")(data, **arguments)
        self.choices.fill({slot: layer for slot, layer in layers.items() if slot != LABELS})
        self._on_choice()
        if LABELS in layers:
            self._view.results.choose_reference(layers[LABELS].name)
        self._viewer.reset_view()
        self._view.set_status("\n".join(found.notes))

    def choose(self, slot: str, name: str) -> None:
        """The user chose a layer for a slot by name."""
        self.choices.choose(slot, name)
        self._on_choice()

    def _on_choice(self) -> None:
        self._look_soon.watch(self.choices.layers)
        self._tell_model()
        self._look_soon.start()
        if self.together.kind != "apart":
            self.show_together(self.together.kind)

    def _on_settings(self) -> None:
        self._tell_model()
        if how(self._view.settings.settings) != self._looked_how:
            self._look_soon.start()

    def _tell_model(self) -> None:
        with notify.sentences():
            self._view.settings.set_note(about(self._view.settings.settings.model, self.choices.images))

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
            self._take(Preflight(obstacle=str(error)))
            return
        settings = self._view.settings.settings
        self._looked_how = how(settings)
        self._quiet_runner.start(
            lambda: preflight(material, settings), title="Checks", key="checks", on_result=self._take
        )

    def _take(self, known: Preflight) -> None:
        self._known = known
        self._view.slots.set_preflight(known)
        self._show_runnable()
        self._set_windows()

    def _show_runnable(self) -> None:
        self._view.set_runnable(bool(self._known.slots) and not self._known.obstacle and not self.runs.running)

    # -- how it is shown ---------------------------------------------------------------------------------------

    def _show_labels(self, name: str = "") -> None:
        """Put other regions over the sequences that are shown together."""
        if self.together.kind != "apart" and self.together.labels is not self._view.results.layer:
            self.show_together(self.together.kind)

    def show_together(self, kind: str) -> None:
        """Show the sequences in a way of :data:`~voxelsmith.plugin.docks.tumour.together.KINDS`."""
        self.together.show(kind, self.choices.images, self._view.results.layer)
        self._view.slots.set_together(self.together.kind)
        self._set_windows()

    def _set_windows(self) -> None:
        low, high = self._view.slots.percentiles
        looks = self._known.slots
        self.together.set_windows(
            {
                layer: look.grey.window(low, high)
                for modality, layer in self.choices.images.items()
                if (look := looks.get(modality)) is not None and look.grey is not None
            }
        )

    # -- the run -----------------------------------------------------------------------------------------------

    def run(self, coarse: bool) -> None:
        """Segment what is chosen, as a preview or at full resolution."""
        if self.runs.running:
            return
        with notify.sentences():
            self.runs.start(self.choices.chosen, self._view.settings.settings, coarse=coarse)
            self._view.set_status("")
        self._show_runnable()

    def _end(self, why: str) -> None:
        self._view.set_status(why)
        self._show_runnable()

    def _finish(self, outcome: Outcome) -> None:
        self._show_runnable()
        self._view.set_outcome(outcome)
        self._show_labels()
        found = ", ".join(f"{region} {ml:.1f} mL" for region, ml in outcome.result.volumes_ml.items())
        size = "2 mm preview" if outcome.coarse else "Full resolution"
        news = [note for note in outcome.result.notes if note not in self._known.sentences]
        self._view.set_status("\n".join([f"{size}: {found}; {outcome.seconds:.1f} s.", *news]))
