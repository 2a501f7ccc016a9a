"""Controller of the Prompt dock: decides.

Owns the choices of layers, the life of a session from Start to Finish, the keys, and what happens when a layer goes or
the dock closes. The loop inside a session is :mod:`prompting`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer

from voxelsmith.core.errors import InputError, StaleResultError
from voxelsmith.core.progress import run_job
from voxelsmith.plugin import notify
from voxelsmith.plugin.camera import keep_upright
from voxelsmith.plugin.docks.prompt import looks, targets
from voxelsmith.plugin.docks.prompt.keys import KEYS, KeyBinder
from voxelsmith.plugin.docks.prompt.prompting import JOB, Prompting
from voxelsmith.plugin.docks.prompt.source import Source, image_source, load
from voxelsmith.plugin.layers import stored_axes
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.engine import Engine, engine_names, make_engine

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.prompt.view import PromptDock

NEW_TARGET = "New labels layer"
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
        Answers the prompts; default :func:`voxelsmith.segment.engine.make_engine`.
    """

    def __init__(self, view: PromptDock, viewer: Any, runner: JobRunner, engine: Engine | None = None) -> None:
        self._view, self._viewer, self._runner = view, viewer, runner
        self._engine = engine
        self._chosen: dict[str, Any] = {"image": None, "mask": None, "target": None}
        self._keys: KeyBinder | None = None
        self._was_locked: Any = False
        self._closed = False
        self._repair_soon = QTimer(runner)
        self._repair_soon.setSingleShot(True)
        self._repair_soon.timeout.connect(self._repair)
        self.prompting: Prompting | None = None
        view.choice_made.connect(self.choose)
        view.asked.connect(self.do)
        view.tool_chosen.connect(self.use_tool)
        view.polarity_chosen.connect(self.set_positive)
        view.live_toggled.connect(self.set_live)
        view.depth_chosen.connect(self.set_depth)
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
        self._list_layers()

    # -- choices -----------------------------------------------------------------------------------------------

    def _list_layers(self, event: Any = None) -> None:
        from napari.layers import Image, Labels

        open_layers = [layer for layer in reversed(self._viewer.layers) if not looks.is_helper(layer)]
        images = [layer for layer in open_layers if isinstance(layer, Image)]
        labels = [layer for layer in open_layers if isinstance(layer, Labels)]
        for kind, layers in (("image", images), ("mask", labels), ("target", labels)):
            chosen = self._chosen[kind]
            if chosen not in layers:
                active = self._viewer.layers.selection.active
                chosen = active if kind == "image" and active in layers else next(iter(layers), None)
                self._chosen[kind] = None if kind == "target" else chosen
            names = [layer.name for layer in layers]
            now = self._chosen[kind]
            first = [NEW_TARGET] if kind == "target" else []
            self._view.set_choices(kind, [*first, *names], now.name if now is not None else None)
        self._update()

    def choose(self, kind: str, name: str) -> None:
        """The user chose a layer by name."""
        self._chosen[kind] = next((layer for layer in self._viewer.layers if layer.name == name), None)

    # -- life of a session -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a session on the chosen image."""
        with notify.sentences():
            image = self._chosen["image"]
            if image is None:
                raise InputError("Prompting needs an image, but none is open; open one, then press Start.")
            other = next((layer for layer in self._viewer.layers if looks.is_helper(layer)), None)
            if other is not None:
                raise InputError(
                    f"One prompting session at a time: {other.name!r} belongs to another one; finish it in its dock, "
                    "or delete its layers, then press Start."
                )
            source = image_source(image, self._frame_shown(image))
            if source.in_memory:
                self._begin(image, run_job(load(source)))
                return
            self._view.set_status(f"Reading {image.name!r} …")
            self._runner.start(
                lambda: load(source),
                title=f"Reading {image.name}",
                layers=[image],
                key=JOB,
                on_result=partial(self._begin, image),
                on_error=lambda error: self._view.set_status(str(error)),
                on_cancelled=lambda: self._view.set_status("Stopped; no session was started."),
            )

    def _begin(self, image: Any, source: Source) -> None:
        """Start the session on an image whose voxels are at hand."""
        with notify.sentences():
            engine = self._engine or make_engine()
            self.prompting = Prompting(self._viewer, self._runner, image, source, engine, self._update)
            self._was_locked, image.locked = image.locked, True
            for name in _GEOMETRY:
                getattr(image.events, name).connect(self._image_changed)
            self.prompting.live = self._view.live
            self._bind_keys()
            self._view.set_session(True)
            self._view.set_engine(_described(engine))
            self.use_tool("points")
            self._update()

    def _frame_shown(self, image: Any) -> int:
        if image.ndim == len(stored_axes(image)):
            return 0
        at = image.world_to_data(np.asarray(self._viewer.dims.point)[-image.ndim :])[0]
        return int(np.clip(round(float(at)), 0, image.data.shape[0] - 1))

    def _frame_moved(self, event: Any = None) -> None:
        live = self.prompting
        if live is None or live.source.frame is None or live.image not in self._viewer.layers:
            return
        shown, own = self._frame_shown(live.image), live.source.frame
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
        live.layers.remove()
        if kept is not None:
            self._viewer.add_layer(kept)
            why = f"{why} What was not accepted is kept as {kept.name!r}.".strip()
        self._view.set_session(False)
        self._view.set_depth(None)
        self._view.set_accepted([])
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

    def accept(self) -> None:
        """Write the object into the target, which is made first if the user chose a new one."""
        live = self.prompting
        if live is None:
            return
        target = self._chosen["target"]
        if target is None and live.acceptable:
            target = targets.new_target(live.image)
            below = self._viewer.layers.index(live.layers.layers["preview"])
            self._viewer.layers.insert(below, target)
            self._chosen["target"] = target
            self._list_layers()
            live.layers.activate(live.layers.tool)
        if target is None:
            self._view.set_status("There is nothing to accept yet; mark an object first.")
        elif live.accept(target, self._view.object_name, self._view.overwrite):
            self._view.set_object_name("")

    def start_from_mask(self) -> None:
        """Start the object from the chosen mask."""
        if self.prompting is not None and self._chosen["mask"] is not None:
            self.prompting.start_from(self._chosen["mask"], self._view.only_selected)

    def _toggle_preview(self) -> None:
        if self.prompting is not None:
            preview = self.prompting.layers.layers["preview"]
            preview.visible = not preview.visible

    # -- what the dock shows -----------------------------------------------------------------------------------

    def _update(self) -> None:
        live = self.prompting
        if live is None:
            return
        possible = {
            "run": bool(live.prompts),
            "undo": live.session.can_undo,
            "redo": live.session.can_redo,
            "reset": bool(live.prompts),
            "accept": live.acceptable,
            "mask": self._chosen["mask"] is not None,
        }
        self._view.set_possible(frozenset(action for action, can in possible.items() if can))
        self._view.set_status(live.status)
        self._view.set_accepted(live.rows())
        depth = live.depth
        if depth is None:
            self._view.set_depth(None)
        else:
            thick = (depth.last - depth.first + 1) * depth.thickness
            title = f"Box depth along {'ijk'[depth.axis]}: slices {depth.first} to {depth.last}, {thick:.4g} mm"
            self._view.set_depth(title, depth.first, depth.last, depth.count)


def _described(engine: Engine) -> str:
    only = engine.name == engine_names()[0] and len(engine_names()) == 1
    return f"{engine.title}; no learned model installed" if only else engine.title
