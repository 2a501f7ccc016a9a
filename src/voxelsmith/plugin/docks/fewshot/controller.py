"""Controller of the Few-shot dock: decides.

Owns the choice of layers, what is taken from them as an example, when a proposal is computed, and what of it is
accepted where. The support set is :mod:`gathering`, the engine :mod:`engine_choice`, the computation of a proposal
:mod:`proposing`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from voxelsmith.core.errors import InputError, StaleResultError
from voxelsmith.core.support import Colour, SupportSet
from voxelsmith.core.volume import LabelVolume
from voxelsmith.plugin import notify
from voxelsmith.plugin.camera import keep_upright
from voxelsmith.plugin.docks.fewshot import collecting
from voxelsmith.plugin.docks.fewshot.adapting import Adapting
from voxelsmith.plugin.docks.fewshot.choices import LayerChoices
from voxelsmith.plugin.docks.fewshot.engine_choice import EngineChoice
from voxelsmith.plugin.docks.fewshot.gathering import Gathering
from voxelsmith.plugin.docks.fewshot.history import AcceptStep, History
from voxelsmith.plugin.docks.fewshot.images import Images
from voxelsmith.plugin.docks.fewshot.preview import colour_map, colours_of
from voxelsmith.plugin.docks.fewshot.proposing import Proposing
from voxelsmith.plugin.docks.fewshot.slices import Slices
from voxelsmith.plugin.docks.prompt.source import frame_of
from voxelsmith.plugin.docks.prompt.targets import Accepted, new_target, writable_array
from voxelsmith.plugin.docks.register.follower import SliceFollower
from voxelsmith.plugin.layers import layer_to_volume, stored_axes
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.acceptance import plan_acceptance

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.fewshot.view import FewShotDock

_AXES = "ijk"
_ON_PROPOSAL = {"worst", "correct", "accept_slice", "accept_class", "accept_all"}


class FewShotController:
    """Decides for a :class:`~voxelsmith.plugin.docks.fewshot.view.FewShotDock`.

    Parameters
    ----------
    view
        The dock.
    viewer : napari.components.ViewerModel
    runner
        Runs the jobs that the user started.

    Attributes
    ----------
    gathering : Gathering
    choices : LayerChoices
    proposing : Proposing
    engines : EngineChoice
    adapting : Adapting
    """

    def __init__(self, view: FewShotDock, viewer: Any, runner: JobRunner) -> None:
        self._view, self._viewer, self._runner = view, viewer, runner
        self._quiet_runner = JobRunner(viewer, runner, shown=False)
        self._history = History()
        self._images = Images(viewer)
        self._own_targets: list[Any] = []
        self._corrections: dict[tuple[int, int], Any] = {}
        self.choices = LayerChoices(view, viewer)
        self.slices: Slices | None = None
        self.proposing = Proposing(viewer, runner, view.set_status, self._update)
        self.gathering = Gathering(view, runner, self._history, self._colour_in_target, self._on_support)
        self.engines = EngineChoice(
            view, self._quiet_runner, self._images, lambda: (self.choices.image, self.support), self._update
        )
        self.adapting = Adapting(view, viewer, runner, self._images, self.engines.choose_run)
        self._follower = SliceFollower(viewer, self._show_slice, runner)
        self._connect()
        keep_upright(viewer)
        view.set_status("")
        self._on_list()
        self.gathering.show(self.support)

    @property
    def support(self) -> SupportSet:
        """The present support set."""
        return self.gathering.support

    def _connect(self) -> None:
        view = self._view
        view.layer_chosen.connect(self.choose)
        view.propose_wanted.connect(self.propose)
        view.support.add_wanted.connect(self.add)
        view.support.opened.connect(self.open_example)
        view.classes.paint_wanted.connect(self.paint)
        view.classes.chosen.connect(self._on_class)
        view.proposal.asked.connect(self.do)
        view.proposal.slice_chosen.connect(self.go)
        for emitter in self._list_events():
            emitter.connect(self._on_list)

    def _list_events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.reordered, events.renamed

    def close(self) -> None:
        """The dock closes: stop all jobs, leave or remove the preview, and let go of the viewer."""
        self._runner.shutdown()
        self._quiet_runner.shutdown()
        self._follower.close()
        for emitter in self._list_events():
            emitter.disconnect(self._on_list)
        self.proposing.let_go()

    # -- layers ------------------------------------------------------------------------------------------------

    def _on_list(self, event: Any = None) -> None:
        preview = self.proposing.preview.layer
        if preview is not None and preview not in self._viewer.layers:
            self.proposing.forget()
        before = self.choices.image
        self.choices.offer()
        if self.choices.image is not before or self.slices is None:
            self._on_image()

    def choose(self, kind: str, name: str) -> None:
        """The user chose a layer by name."""
        self.choices.choose(kind, name)
        if kind == "image":
            self._on_image()
        self._update()

    def _on_image(self) -> None:
        image = self.choices.image
        fits = image is not None and len(stored_axes(image)) == 3
        self.slices = Slices(self._viewer, image) if fits else None
        if self.proposing.image is not None and self.proposing.image is not image:
            self._runner.cancel("proposal")
            self.proposing.let_go()
        self._corrections.clear()
        self._update()
        self.engines.look()

    def _source(self) -> Any:
        if self.choices.image is None:
            raise InputError("Few-shot works on an image layer, but there is none; open an image first.")
        return self._images.source(self.choices.image)

    def _target(self) -> Any:
        """The labels layer; a new one is made where the user wants one."""
        if self.choices.target is None:
            self._source()
            target = new_target(self.choices.image)
            target.colormap = colour_map(colours_of(self.support))
            self._own_targets.append(target)
            self._viewer.add_layer(target)
            self.choices.target = target
            self.choices.offer()
        return self.choices.target

    # -- slices ------------------------------------------------------------------------------------------------

    @property
    def axis(self) -> int | None:
        """The axis along which slices are counted: that of the proposal, else the one that is shown."""
        if self.slices is None:
            return None
        return self.slices.axis if self.proposing.proposal is None else self.proposing.proposal.axis

    def _show_slice(self) -> None:
        axis = self.axis
        if self.slices is None or axis is None:
            self._view.set_slices(0, 0)
        else:
            self._view.set_slices(self.slices.count(axis), self.slices.position(axis))

    def go(self, index: int) -> None:
        """Show a slice."""
        axis = self.axis
        if self.slices is not None and axis is not None:
            self.slices.go(axis, index)

    def _annotated(self) -> set[int]:
        """Slices of the proposal's image that are annotated along its axis."""
        proposal = self.proposing.proposal
        if proposal is None:
            return set()
        painted = [e for e in self.support.examples if e.image_fingerprint == proposal.provenance.image]
        return {n for e in painted if e.axis == proposal.axis and e.slices is not None for n in e.slices}

    # -- examples ----------------------------------------------------------------------------------------------

    def add(self, what: str) -> None:
        """Make an example of the "slice" that is shown, or of the whole labels "layer"."""
        with notify.sentences():
            axis = None if self.slices is None or what == "layer" else self.slices.axis
            if what == "slice" and axis is None and self.slices is not None:
                raise InputError("A slice is added while slices are shown, but the view is in 3-D; switch to 2-D.")
            index = None if self.slices is None or axis is None else self.slices.position(axis)
            taken = self._annotation(self.choices.target, axis, index)
            self.gathering.take(taken)

    def _annotation(self, layer: Any, axis: int | None, index: int | None) -> collecting.Annotation:
        source = self._source()
        if layer is None:
            raise InputError("An example needs labels, but no labels layer is chosen; press Paint and paint a slice.")
        labels = layer_to_volume(layer)
        assert isinstance(labels, LabelVolume)
        where = "all of it" if axis is None else f"slice {_AXES[axis]} {index}"
        note = f"{source.volume.name} with {layer.name}, {where}"
        labels = frame_of(labels, source.frame)
        return collecting.annotation(source, labels, axis, index, self._view.looked_for, note)

    def open_example(self, content_hash: str) -> None:
        """Show the slice of an example of the present image."""
        example = self.support[content_hash]
        image = self.choices.image
        if self.slices is None or example.axis is None or example.slices is None:
            return
        if not self._images.source(image).volume.same_grid(example.image):
            self._view.set_status("This example is of another image.")
            return
        self.slices.face(example.axis)
        self.slices.go(example.axis, example.slices[0])

    # -- classes -----------------------------------------------------------------------------------------------

    def _on_class(self, value: int) -> None:
        if self.choices.target is not None:
            self.choices.target.selected_label = value
        self._update()

    def paint(self) -> None:
        """Take the brush for the chosen class."""
        with notify.sentences():
            if self._view.value is None:
                self._source()
                self.gathering.new_class()
            target = self._target()
            if self._view.value is not None:
                target.selected_label = self._view.value
            target.visible = True
            self._viewer.layers.selection.active = target
            target.mode = "paint"

    def _on_support(self) -> None:
        colours = colour_map(colours_of(self.support))
        self.proposing.preview.colour(self.support)
        for target in self._own_targets:
            target.colormap = colours
        self._update()
        self.engines.look()

    def _colour_in_target(self, value: int) -> Colour | None:
        target = self.choices.target
        colour = None if target is None or target in self._own_targets else target.get_color(value)
        return None if colour is None else (float(colour[0]), float(colour[1]), float(colour[2]))

    # -- proposals ---------------------------------------------------------------------------------------------

    def propose(self) -> None:
        """Take the corrected slices into the set, then propose."""
        with notify.sentences():
            taken = [self._annotation(layer, *at) for at, layer in self._corrections.items()]

            def go_on(collected: list[collecting.Collected]) -> None:
                self._corrections.clear()
                for one in collected:
                    self.gathering.add(one)
                self._propose()

            if taken:
                self.gathering.start(lambda: collecting.several(taken), "Add corrected slices", go_on)
            else:
                self._propose()

    def _propose(self) -> None:
        source, image = self._source(), self.choices.image
        if self.engines.needs_examples:
            self.support.require_foreground()
        axis = None if self.slices is None else self.slices.axis
        annotated_so = any(e.axis == axis for e in self.support.enabled)
        view = self.slices.position(axis) if self.slices is not None and axis is not None and annotated_so else None
        self.proposing.start(
            image,
            source,
            self.support,
            engine=self._view.engine,
            view=view,
            known_range=self._view.known_range,
            on_loaded=lambda volume: self._images.remember(image, source, volume),
        )

    def do(self, action: str) -> None:
        """Do what a button stands for."""
        with notify.sentences():
            if action == "undo" and self._history.can_undo:
                self._history.undo()
            elif action == "redo" and self._history.can_redo:
                self._history.redo()
            elif action in _ON_PROPOSAL and self.proposing.proposal is not None:
                self._on_proposal(action)
        self._update()

    def _on_proposal(self, action: str) -> None:
        if action == "worst":
            index = self.proposing.next_unsure(self._annotated())
            if index is not None and self.slices is not None and self.axis is not None:
                self.slices.face(self.axis)
                self.slices.go(self.axis, index)
        elif action == "correct":
            self._correct()
        else:
            self._accept(action)

    def _correct(self) -> None:
        axis = self.axis
        if self.slices is None or axis is None:
            return
        self._accept("accept_slice")
        index = self.slices.position(axis)
        self._corrections[axis, index] = self.choices.target
        self.paint()
        self._view.set_status(f"Paint or erase in slice {index}; it becomes an example when you propose again.")

    def _accept(self, action: str) -> None:
        proposal, source = self.proposing.proposal, self._source()
        if proposal is None or self.slices is None:
            return
        if source.frame != self.proposing.frame:
            raise StaleResultError(
                f"The proposal is of frame {self.proposing.frame}, but frame {source.frame} is shown; go back to it, "
                "or propose again."
            )
        target = self._target()
        array = writable_array(target, source.volume, source.frame)
        value = self._view.value
        commits = plan_acceptance(
            array,
            replace(proposal, labels=replace(proposal.labels, names=self.support.names)),
            self.support,
            values=None if action != "accept_class" or value is None else {value},
            index=self.slices.position(proposal.axis) if action == "accept_slice" else None,
            overwrite=self._view.overwrite,
        )
        accepted = tuple(Accepted.written(commit, target) for commit in commits)
        for one in accepted:
            one.commit.apply()
            one.show(True)
        if accepted:
            self._history.push(AcceptStep(accepted, self._viewer.layers))
            self.proposing.untouched = False
        counts = ", ".join(f"{a.commit.name} {a.commit.count:,} voxels" for a in accepted)
        self._view.set_status(
            f"Accepted into {target.name!r}: {counts}." if accepted else "There is nothing new to accept there."
        )

    # -- what the dock shows -----------------------------------------------------------------------------------

    def _update(self) -> None:
        proposal, running = self.proposing.proposal, self.proposing.running
        possible = set()
        if proposal is not None and not running and self.proposing.image is self.choices.image:
            possible |= _ON_PROPOSAL if self._view.value in proposal.classes else _ON_PROPOSAL - {"accept_class"}
        if not running:
            possible |= {"undo"} if self._history.can_undo else set()
            possible |= {"redo"} if self._history.can_redo else set()
        ready = bool(self.support.enabled) or not self.engines.needs_examples
        can_propose = self.choices.image is not None and ready and not running
        self._view.set_possible(possible, propose=can_propose)
        self._view.set_confidence(None if proposal is None else proposal.confidence, self._annotated())
        self._show_slice()
