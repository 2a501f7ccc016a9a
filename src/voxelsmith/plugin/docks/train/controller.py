"""Controller of the Train dock: decides.

Owns which run is meant, and what the buttons may do. What is annotated is the business of :mod:`marking`, the training
itself of :mod:`training`, the use of its model of :mod:`applying`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voxelsmith.core.errors import InputError
from voxelsmith.plugin import notify
from voxelsmith.plugin.camera import keep_upright
from voxelsmith.plugin.docks.register.follower import SliceFollower
from voxelsmith.plugin.docks.train import runs
from voxelsmith.plugin.docks.train.annotations import Annotated
from voxelsmith.plugin.docks.train.applying import Applying
from voxelsmith.plugin.docks.train.jobs import Plan
from voxelsmith.plugin.docks.train.marking import Marking
from voxelsmith.plugin.docks.train.material import ClassChoice, Material, gather, source_of
from voxelsmith.plugin.docks.train.preview import LABELS, UNSURE, Preview
from voxelsmith.plugin.docks.train.runs import Run
from voxelsmith.plugin.docks.train.training import Training
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.train.state import TrainingState
from voxelsmith.train.trained_runs import home, look_also_in
from voxelsmith.train.tvunet import Preview as Answer
from voxelsmith.train.tvunet import ShowSlice, TVUnetSettings

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.train.view import TrainDock


class TrainController:
    """Decides for a :class:`~voxelsmith.plugin.docks.train.view.TrainDock`.

    Parameters
    ----------
    view
        The dock.
    viewer : napari.components.ViewerModel

    Attributes
    ----------
    marking : Marking
    training : Training
    applying : Applying
    preview : Preview
    home : Path
        Where runs lie.
    runs : list of Run
    chosen : Path or None
        The folder of the run that is meant.
    """

    def __init__(self, view: TrainDock, viewer: Any) -> None:
        self._view, self._viewer = view, viewer
        self._quiet_runner = JobRunner(viewer, view, shown=False)
        self.preview = Preview(viewer)
        self.home = home()
        self.chosen: Path | None = None
        self.runs: list[Run] = []
        self._learned_from: Any = None
        self.training = Training(viewer, view.training, view.trainer, self._answer, self._update, self._on_run)
        self.applying = Applying(viewer, view.result, view.runner, self.preview, view.set_status, self._update)
        self.marking = Marking(view.data, viewer, view, self._update)
        self._follower = SliceFollower(viewer, self._show_slice, view)
        self._connect()
        keep_upright(viewer)
        view.set_status("")
        view.training.set_text("")
        view.runs.set_home(self.home)
        self.marking.offer()
        self.list_runs()

    def _connect(self) -> None:
        view = self._view
        view.data.slice_chosen.connect(self.go)
        view.training.train_wanted.connect(self.train)
        view.training.pause_wanted.connect(self.training.pause)
        view.training.resume_wanted.connect(self.resume)
        view.training.stop_wanted.connect(self.training.stop)
        view.training.labels_wanted.connect(self.use_labels)
        view.training.preview_toggled.connect(self.toggle)
        view.runs.chosen.connect(self.choose_run)
        view.runs.home_chosen.connect(self.move)
        view.result.asked.connect(self.do)
        view.result.export_wanted.connect(self.export)
        self._viewer.layers.events.removed.connect(self._on_removed)

    def close(self) -> None:
        """The dock closes: a training ends with a checkpoint; take the previews away and let go of the viewer."""
        self.training.close()
        self.applying.close()
        self.marking.close()
        self._quiet_runner.shutdown()
        self._follower.close()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self.preview.remove()

    def _on_removed(self, event: Any) -> None:
        kind = self.preview.forget(event.value)
        if kind is not None:
            self._view.training.set_shown(kind, False)
        elif event.value is self.preview.image:
            self.preview.of(None)
            self.applying.forget()

    # -- slices ------------------------------------------------------------------------------------------------

    @property
    def axis(self) -> int | None:
        """The axis along which slices are counted: that of the answer, of the annotation, or the one that is shown."""
        marking = self.marking
        if self.applying.proposal is not None and self.applying.image is marking.image:
            return self.applying.proposal.axis
        known = marking.annotations.axis_of(marking.image)
        return known if known is not None or marking.slices is None else marking.slices.axis

    def go(self, index: int) -> None:
        """Show a slice."""
        slices, axis = self.marking.slices, self.axis
        if slices is not None and axis is not None:
            slices.face(axis)
            slices.go(axis, index)

    # -- training ----------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Begin a new training."""
        with notify.sentences():
            ordered, settings = self._ordered(), self._view.settings.settings
            pairs, named = self.marking.pairs.folder, self.marking.image
            title = pairs.name if pairs is not None and not ordered else named.name
            run = Run(runs.fresh_folder(self.home, title), (), settings)
            self._start(ordered, run, settings, self._view.data.choice, resume=False)
            self.runs.insert(0, run)
            self.chosen = run.folder
            self._view.runs.set_runs(self.runs, self.chosen)

    def resume(self) -> None:
        """Go on: after a pause, or with the chosen run."""
        if self.training.state is TrainingState.paused:
            self.training.resume()
            return
        with notify.sentences():
            run = self._run()
            if run is None:
                raise InputError("A run is resumed, but none is chosen; choose one under Runs.")
            ordered, given = self._ordered(), self._view.settings.settings
            settings = given if run.settings is None else run.settings
            # Where and for how long may change; what decides what is learned may not.
            settings = replace(settings, max_seconds=given.max_seconds, device=given.device)
            self._start(ordered, run, settings, replace(self._view.data.choice, always=run.classes), resume=True)

    def _ordered(self) -> list[Annotated]:
        """What is annotated, that of the chosen image first; with a folder of pairs, there may be none."""
        if self.marking.pairs.folder is None:
            self.marking.required_image()
        return self.marking.ordered(self.marking.image)

    def _start(
        self, ordered: Sequence[Annotated], run: Run, settings: TVUnetSettings, choice: ClassChoice, *, resume: bool
    ) -> None:
        material, show, first, labels = gather(ordered, self._viewer), None, None, None
        if ordered:
            first, labels = ordered[0].image, ordered[0].labels
            if first is self.marking.image and self.marking.slices is not None:
                show = ShowSlice(self.marking.slices.position(ordered[0].axis))
        self._learned_from = first
        self.applying.forget()
        self.preview.of(first, labels)
        self.preview.prepare()
        self._view.set_status("")
        plan = Plan(material, choice, run.folder, settings, resume, show, self.marking.pairs.folder)
        self.training.start(plan, run.rows)

    def use_labels(self) -> None:
        """The training goes on with the labels as they are now."""
        with notify.sentences():
            # In the order in which the volumes are known to the training.
            ordered = self.marking.ordered(self._learned_from)
            self.training.take(gather(ordered, self._viewer), self._view.data.choice)

    def _answer(self, answer: Answer) -> None:
        """Show what the network says of a slice, unless something else is shown."""
        if self.applying.proposal is None and self.preview.image is self._learned_from:
            self.preview.show_slice(answer)

    def toggle(self, kind: str, wanted: bool) -> None:
        """Show one of the layers of an answer, or no longer."""
        self.preview.toggle(kind, wanted)
        if wanted and kind == LABELS:
            self.applying.redraw()
        elif wanted and kind == UNSURE:
            self.applying.map_uncertainty()

    # -- runs --------------------------------------------------------------------------------------------------

    def list_runs(self) -> None:
        """Look which runs there are."""
        home = self.home

        def show(found: tuple[Run, ...]) -> None:
            listed = {run.folder for run in found}
            # A training that has just begun is not on the disk yet.
            fresh = [run for run in self.runs if run.folder.parent == home and run.folder not in listed]
            self.runs = [*fresh, *found]
            if self._run() is None:
                self.chosen = found[0].folder if found else None
            self._view.runs.set_runs(self.runs, self.chosen)
            self._update()

        self._quiet_runner.start(lambda: runs.look(home), title="Runs", key="runs", on_result=show)

    def move(self, folder: Path) -> None:
        """Runs lie in another folder from now on."""
        self.home = folder
        look_also_in(folder)
        self._view.runs.set_home(folder)
        self.list_runs()

    def choose_run(self, folder: Path) -> None:
        """Mean another run; its curve is shown unless a training runs."""
        self.chosen = folder
        run = self._run()
        if run is not None and not self.training.running:
            self._view.training.set_rows(run.rows)
            self._view.training.set_text(run.name)
            self._view.training.set_notes(())
        self._update()

    def _run(self) -> Run | None:
        return next((run for run in self.runs if run.folder == self.chosen), None)

    def _on_run(self, run: Run) -> None:
        self.runs = [run if one.folder == run.folder else one for one in self.runs]
        self._view.runs.set_run(run)

    # -- the model ---------------------------------------------------------------------------------------------

    def do(self, action: str) -> None:
        """Do what a button of the result part stands for."""
        with notify.sentences():
            if action == "apply":
                self._apply()
            elif action == "next":
                self._next_slice()
            elif action == "accept":
                target = self.marking.target()
                self.applying.accept(target, self._annotated_here())
            elif action == "undo":
                self.applying.undo()
            elif action == "redo":
                self.applying.redo()

    def _apply(self) -> None:
        image = self.marking.required_image()
        if self.chosen is not None:
            device = self._view.settings.settings.device
            source = source_of(image, self._viewer)
            material = self._annotated_here() if self._view.result.shapes else ()
            self.applying.apply(image, self.marking.labels, source, material, self.chosen, device)

    def _annotated_here(self) -> tuple[Material, ...]:
        """What is annotated of the chosen image."""
        own = [one for one in self.marking.annotations if one.image is self.marking.image]
        return gather(own, self._viewer)

    def _next_slice(self) -> None:
        proposal, slices = self.applying.proposal, self.marking.slices
        if proposal is None or slices is None:
            return
        found = self.applying.next_slice(self.marking.annotations.of(self.marking.image, proposal.axis))
        if found is None:
            self._view.set_status("Every slice is annotated.")
            return
        self.go(found)
        sure = float(proposal.confidence[found])
        self._view.set_status(f"Slice {found}, confidence {sure:.2f}: correct it, then press Add slice.")

    def export(self, name: str, path: str) -> None:
        """Save the model of the chosen run in a format."""
        if self.chosen is not None:
            self.applying.export(self.chosen, name, path)

    # -- what the dock shows -----------------------------------------------------------------------------------

    def _update(self) -> None:
        run, history = self._run(), self.applying.history
        ready, folder = self.marking.slices is not None, self.marking.pairs.folder is not None
        resumable = run is not None and not run.finished and (folder or len(self.marking.annotations) > 0)
        self._view.training.set_state(self.training.state, trainable=ready or folder, resumable=resumable)
        trained = run is not None and run.step > 0
        answered = self.applying.proposal is not None and self.applying.image is self.marking.image
        possible = {
            "apply": trained and ready,
            "export": trained,
            "next": answered,
            "accept": answered,
            "cut": answered,
            "undo": history.can_undo,
            "redo": history.can_redo,
        }
        self._view.result.set_possible({action for action, can in possible.items() if can})
        self._show_slice()

    def _show_slice(self) -> None:
        """Mark the slice in view, and ask for its preview."""
        axis, data, slices = self.axis, self._view.data, self.marking.slices
        if slices is None or axis is None:
            data.set_confidence(None, ())
            return
        proposal = self.applying.proposal
        if proposal is not None and self.applying.image is self.marking.image:
            confidence = proposal.confidence
        else:
            confidence = np.full(slices.count(axis), np.nan, np.float32)
        data.set_confidence(confidence, self.marking.annotations.of(self.marking.image, axis))
        position = slices.position(axis)
        data.set_current(position)
        if self._learned_from is not None and self.marking.image is self._learned_from:
            self.training.look_at(position)
