"""Controller of the Prompt dock: decides.

Owns the choice of the engine, the life of a session from Start to Finish, the keys, and what happens when a layer goes
or the dock closes. The loop inside a session is :mod:`prompting`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from voxelsmith.core.errors import InputError, StaleResultError
from voxelsmith.core.progress import run_job
from voxelsmith.plugin import notify
from voxelsmith.plugin.camera import keep_upright
from voxelsmith.plugin.docks.models.opening import open_models
from voxelsmith.plugin.docks.prompt import looks, readout, targets
from voxelsmith.plugin.docks.prompt.choices import LayerChoices
from voxelsmith.plugin.docks.prompt.engines import EngineRack, prepare, tools_for
from voxelsmith.plugin.docks.prompt.keys import KEYS, KeyBinder
from voxelsmith.plugin.docks.prompt.prompt_layers import TOOLS
from voxelsmith.plugin.docks.prompt.prompting import JOB, Prompting
from voxelsmith.plugin.docks.prompt.source import Source, frame_shown, image_source
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.engine import Engine

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.prompt.view import PromptDock

_IDLE = "Choose an image and press Start to mark an object in it."
_GEOMETRY = ("data", "scale", "translate", "rotate", "shear", "affine", "units")


class PromptController:
    """Decides for a :class:`~voxelsmith.plugin.docks.prompt.view.PromptDock`.

    Parameters
    ----------
    view
        The dock.
    viewer : napari.components.ViewerModel
        Where it lives.
    runner
        Runs its jobs.
    engine
        The first choice; default that of :func:`voxelsmith.segment.engine.make_engine`.
    """

    def __init__(self, view: PromptDock, viewer: Any, runner: JobRunner, engine: Engine | None = None) -> None:
        self._view, self._viewer, self._runner = view, viewer, runner
        self._rack = EngineRack(runner, engine)
        self.choices = LayerChoices(view, viewer)
        self._keys: KeyBinder | None = None
        self._was_locked: Any = False
        self._lacking = ""
        self._closed = False
        self._repair_soon = QTimer(runner)
        self._repair_soon.setSingleShot(True)
        self._repair_soon.timeout.connect(self._repair)
        self.prompting: Prompting | None = None
        view.choice_made.connect(self.choices.choose)
        view.asked.connect(self.do)
        view.tool_chosen.connect(self.use_tool)
        view.polarity_chosen.connect(self.set_positive)
        view.live_toggled.connect(self.set_live)
        view.depth_chosen.connect(self.set_depth)
        view.engine_chosen.connect(self.choose_engine)
        view.engines_opening.connect(self.list_engines)
        view.run_chosen.connect(self.choose_run)
        view.weights_wanted.connect(self.get_weights)
        view.word_said.connect(self.set_word)
        view.threshold_chosen.connect(self.set_threshold)
        view.probability_toggled.connect(self.show_probability)
        view.closed.connect(self.close)
        events = viewer.layers.events
        events.inserted.connect(self._list_layers)
        events.removed.connect(self._list_layers)
        events.reordered.connect(self._list_layers)
        events.renamed.connect(self._list_layers)
        events.removed.connect(self._layer_gone)
        viewer.dims.events.point.connect(self._frame_moved)
        runner.destroyed.connect(self._let_go)
        keep_upright(viewer)
        view.set_status(_IDLE)
        readout.clear(view)
        self._show_engine()
        self._list_layers()

    # -- choices -----------------------------------------------------------------------------------------------

    def _list_layers(self, event: Any = None) -> None:
        self.choices.offer()
        self._update()

    def choose_engine(self, name: str) -> None:
        """The user chose an engine: a session goes on with it, or the next one begins with it."""
        if self.prompting is None:
            self._rack.chosen = name
        else:
            with notify.sentences():
                self._rack.choose(name, self._use_engine, self._update)
            self._update()
        self._show_engine()
        with notify.sentences():
            self._lacking = self._rack.lacking(name)
            self._view.offer_weights(self._rack.title(name) if self._lacking else "")

    def list_engines(self) -> None:
        """Offer the engines that there are now; networks may have been trained since."""
        self._rack.look()
        self._show_engine()

    def choose_run(self, folder: Path) -> None:
        """The user chose a network that was trained into a folder."""
        with notify.sentences():
            self.choose_engine(self._rack.add_run(folder))

    def get_weights(self) -> None:
        """Lead the user to where the weights of the engine that was chosen last can be had."""
        open_models(self._viewer, self._lacking)
        self._view.offer_weights("")

    def _use_engine(self, engine: Engine) -> None:
        if self.prompting is not None:
            with notify.sentences():
                self.prompting.use_engine(engine)
            if self.prompting.layers.tool not in tools_for(self.prompting.session.engine):
                self.use_tool(self._first_tool())
        self._update()

    def _first_tool(self) -> str:
        """The first tool that the engine of the session reads."""
        live = self.prompting
        return next((tool for tool in TOOLS if live is not None and tool in tools_for(live.session.engine)), TOOLS[0])

    def _show_engine(self) -> None:
        self._view.set_engines(self._rack.infos, self._rack.chosen)

    # -- life of a session -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a session on the chosen image."""
        with notify.sentences():
            image = self.choices.image
            if image is None:
                raise InputError("Prompting needs an image, but none is open; open one, then press Start.")
            other = next((layer for layer in self._viewer.layers if looks.is_helper(layer)), None)
            if other is not None:
                raise InputError(
                    f"One prompting session at a time: {other.name!r} belongs to another one; finish it in its dock, "
                    "or delete its layers, then press Start."
                )
            source = image_source(image, frame_shown(self._viewer, image))
            name, engine = self._rack.chosen, self._rack.at_hand()
            make = self._rack.maker(name)
            if source.in_memory and engine is not None:
                self._begin(image, run_job(prepare(source, engine, make)))
                return
            what = f"Reading {image.name}" if engine is not None else f"Loading {self._rack.title(name)}"
            self._view.set_status(f"{what} …")
            self._runner.start(
                lambda: prepare(source, engine, make),
                title=what,
                layers=[image],
                key=JOB,
                on_result=partial(self._begin, image),
                on_error=lambda error: self._not_begun(str(error)),
                on_cancelled=lambda: self._not_begun("Stopped; no session was started."),
            )

    def _not_begun(self, why: str) -> None:
        """Go back to an engine that is there; say why there is no session."""
        self._rack.go_back()
        self._show_engine()
        self._view.set_status(why)

    def _begin(self, image: Any, prepared: tuple[Source, Engine]) -> None:
        """Start the session on an image whose voxels are at hand."""
        with notify.sentences():
            source, engine = prepared
            self._rack.keep(engine)
            self.prompting = Prompting(self._viewer, self._runner, image, source, engine, self._update)
            self._was_locked, image.locked = image.locked, True
            for name in _GEOMETRY:
                getattr(image.events, name).connect(self._image_changed)
            self.prompting.live = self._view.live
            self._bind_keys()
            self._view.set_session(True)
            self.use_tool(self._first_tool())
            self.prompting.show_probability(self._view.probability_wanted)
            self._update()

    def _frame_moved(self, event: Any = None) -> None:
        live = self.prompting
        if live is None or live.source.frame is None or live.image not in self._viewer.layers:
            return
        shown, own = frame_shown(self._viewer, live.image), live.source.frame
        elsewhere = f"Frame {shown} is shown, but prompts and preview belong to frame {own}; Finish, then Start here."
        self._view.set_status(live.status if shown == own else elsewhere)

    def _bind_keys(self) -> None:
        if self._keys is not None:
            self._keys.close()
        self._keys = KeyBinder({action: partial(self._view.press, action) for action in KEYS})
        self._keys.bind(self._viewer)
        if self.prompting is not None:
            for layer in self.prompting.layers.layers.values():
                self._keys.bind(layer)

    def finish(self, why: str = "") -> None:
        """End the session; a preview that was not accepted stays as an ordinary layer."""
        live, self.prompting = self.prompting, None
        if live is None:
            return
        self._runner.cancel(JOB)
        for name in _GEOMETRY:
            getattr(live.image.events, name).disconnect(self._image_changed)
        live.image.locked = self._was_locked
        if self._keys is not None:
            self._keys.close()
            self._keys = None
        kept = looks.kept_preview(live.image, live.layers.layers["preview"].data) if live.layers.mask.any() else None
        live.map.remove()
        live.layers.remove()
        if kept is not None:
            self._viewer.add_layer(kept)
            why = f"{why} What was not accepted is kept as {kept.name!r}.".strip()
        self._view.set_session(False)
        readout.clear(self._view)
        self._view.set_status(why or _IDLE)

    def close(self) -> None:
        """The dock closes: end the session, stop jobs, and let go of the viewer."""
        if self._closed:
            return
        self._closed = True
        self.finish()
        self._runner.shutdown()
        self._let_go()

    def _let_go(self) -> None:
        """Listen to the viewer no more; the dock may be gone already."""
        events = self._viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered, events.renamed):
            emitter.disconnect(self._list_layers)
        events.removed.disconnect(self._layer_gone)
        self._viewer.dims.events.point.disconnect(self._frame_moved)

    def _image_changed(self, event: Any = None) -> None:
        if self.prompting is not None:
            name = self.prompting.image.name
            notify.show(
                StaleResultError(f"{name!r} was changed, so its prompting session has ended; press Start to go on.")
            )
            self.finish(f"{name!r} was changed.")

    def _layer_gone(self, event: Any) -> None:
        """Look after it when the removal is complete, as several layers may be going."""
        if self.prompting is not None:
            self._repair_soon.start()

    def _repair(self) -> None:
        live = self.prompting
        if live is None:
            return
        if live.image not in self._viewer.layers:
            self.finish(f"{live.image.name!r} was removed, so its session has ended.")
            return
        if live.map.is_lost:
            live.map.remove()
            self._view.set_probability(False)
        if missing := live.layers.add_missing():
            self._bind_keys()
            live.layers.show_prompts(live.prompts)
            live.layers.activate(live.layers.tool)
            names = ", ".join(live.layers.layers[kind].name for kind in missing)
            self._view.set_status(f"{names} belongs to the session and is back; Reset clears, Finish removes it.")

    # -- actions -----------------------------------------------------------------------------------------------

    def do(self, action: str) -> None:
        """Do what a button or a key stands for."""
        if action == "session":
            self.start() if self.prompting is None else self.finish()
        elif action == "cancel":
            self._runner.cancel()
        elif self.prompting is not None:
            actions: dict[str, Callable[[], None]] = {
                "run": self.prompting.run,
                "undo": self.prompting.undo,
                "redo": self.prompting.redo,
                "reset": self.prompting.reset,
                "accept": self.accept,
                "mask": self.start_from_mask,
                "preview": self._toggle_preview,
            }
            actions[action]()

    def use_tool(self, tool: str) -> None:
        """Make a tool the active one."""
        if self.prompting is None:
            return
        engine = self.prompting.session.engine
        if tool not in tools_for(engine):
            self._view.set_status(f"{engine.title} does not read {tool}; choose another tool or engine.")
            return
        if tool == "word":
            self._view.focus_word()
            return
        self.prompting.layers.activate(tool)
        self._view.set_tool(tool)
        if tool != "points" and self._viewer.dims.ndisplay == 3:
            self._view.set_status(
                "Boxes and scribbles are drawn on slices; switch to 2-D to draw, points work here too."
            )

    def set_positive(self, positive: bool) -> None:
        """Mark the object, or the background, from now on."""
        self._view.set_polarity(positive)
        if self.prompting is not None:
            self.prompting.layers.set_positive(positive)

    def set_word(self, word: str) -> None:
        """Name the object."""
        if self.prompting is not None:
            self.prompting.set_word(word)

    def set_live(self, live: bool) -> None:
        """Answer every prompt at once, or wait for Run."""
        if self.prompting is not None:
            self.prompting.live = live
            if live and self.prompting.waiting:
                self.prompting.run(quietly=True)

    def set_depth(self, first: int, last: int) -> None:
        """Set the depth of the box."""
        if self.prompting is not None:
            self.prompting.set_depth(first, last)

    def set_threshold(self, value: float) -> None:
        """Cut the probabilities of the object elsewhere."""
        if self.prompting is not None:
            with notify.sentences():
                self.prompting.set_threshold(value)

    def show_probability(self, wanted: bool) -> None:
        """Show the probabilities as a layer, or no longer."""
        if self.prompting is not None:
            self.prompting.show_probability(wanted)

    def accept(self) -> None:
        """Write the object into the target, which is made first if the user chose a new one."""
        live = self.prompting
        if live is None:
            return
        target = self.choices.target
        if target is None and live.acceptable:
            target = targets.new_target(live.image)
            below = self._viewer.layers.index(live.layers.layers["preview"])
            self._viewer.layers.insert(below, target)
            self.choices.target = target
            self._list_layers()
            live.layers.activate(live.layers.tool)
        if target is None:
            self._view.set_status("There is nothing to accept yet; mark an object first.")
        elif live.accept(target, self._view.object_name or live.word, self._view.overwrite):
            self._view.set_object_name("")

    def start_from_mask(self) -> None:
        """Start the object from the chosen mask."""
        if self.prompting is None or self.choices.mask is None:
            return
        if "mask" not in tools_for(self.prompting.session.engine):
            self._view.set_status("This engine does not start from masks; choose another one.")
        else:
            self.prompting.start_from(self.choices.mask, self._view.only_selected)

    def _toggle_preview(self) -> None:
        if self.prompting is not None:
            preview = self.prompting.layers.layers["preview"]
            preview.visible = not preview.visible

    # -- what the dock shows -----------------------------------------------------------------------------------

    def _update(self) -> None:
        live = self.prompting
        if live is None:
            return
        if not self._rack.loading and self._rack.chosen != live.session.engine.name:
            self._rack.chosen = live.session.engine.name
            self._show_engine()
        readout.show(self._view, live, self.choices.mask is not None)
