"""Marking: the controller of the data part.

Owns which layers are chosen, which of their slices the user declared to be annotated, and which classes occur there and
in the folder of pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QTimer

from voxelsmith.core.errors import InputError
from voxelsmith.plugin import notify
from voxelsmith.plugin.docks.fewshot.slices import Slices
from voxelsmith.plugin.docks.prompt.targets import new_target
from voxelsmith.plugin.docks.train.annotations import Annotated, Annotations
from voxelsmith.plugin.docks.train.choices import LayerChoices
from voxelsmith.plugin.docks.train.data_part import DataPart
from voxelsmith.plugin.docks.train.material import gather, labels_of, occurring, painted_slices, source_of
from voxelsmith.plugin.docks.train.pairs_folder import PairsFolder
from voxelsmith.plugin.layers import label_names, stored_axes
from voxelsmith.plugin.runner import JobRunner

_AXES = "ijk"
_LOOK_AFTER_MS = 300
_JUDGED_FROM = 4
_WATCHED = ("data", "paint", "labels_update")


class Marking:
    """Decides for a :class:`~voxelsmith.plugin.docks.train.data_part.DataPart`.

    Parameters
    ----------
    part
        The widget.
    viewer : napari.components.ViewerModel
    parent
        The dock.
    on_change
        Called when other layers are chosen, or other slices are annotated.

    Attributes
    ----------
    annotations : Annotations
    pairs : PairsFolder
    slices : Slices or None
        Those of the chosen image; None if there is no 3-D image.
    """

    def __init__(self, part: DataPart, viewer: Any, parent: QObject, on_change: Callable[[], None]) -> None:
        self._part, self._viewer, self._on_change = part, viewer, on_change
        self._quiet_runner = JobRunner(viewer, parent, shown=False)
        self._choices = LayerChoices(part, viewer)
        self._watched: Any = None
        self.annotations = Annotations()
        self.slices: Slices | None = None
        self.pairs = PairsFolder(part, viewer, parent, self._on_pairs)
        self._look_soon = QTimer(parent)
        self._look_soon.setSingleShot(True)
        self._look_soon.setInterval(_LOOK_AFTER_MS)
        self._look_soon.timeout.connect(self._look_at_classes)
        part.chosen.connect(self.choose)
        part.asked.connect(self.mark)
        for emitter in self._list_events():
            emitter.connect(self.offer)

    def _list_events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.reordered, events.renamed

    def close(self) -> None:
        """Stop all jobs and let go of the viewer."""
        self._look_soon.stop()
        self._quiet_runner.shutdown()
        self.pairs.close()
        for emitter in self._list_events():
            emitter.disconnect(self.offer)
        self._watch(None)

    # -- layers ------------------------------------------------------------------------------------------------

    @property
    def image(self) -> Any:
        """The chosen image layer, or None."""
        return self._choices.image

    @property
    def labels(self) -> Any:
        """The chosen labels layer, or None if a new one is wanted."""
        return self._choices.labels

    def required_image(self) -> Any:
        """The chosen image layer; InputError if there is none, or it is not 3-D."""
        if self.image is None or self.slices is None:
            raise InputError("Training takes slices of a 3-D image, but no such layer is chosen; open an image first.")
        return self.image

    def target(self) -> Any:
        """The labels layer to write to; a new one is made where the user wants one."""
        image = self.required_image()
        if self.labels is None:
            target = new_target(image)
            self._viewer.add_layer(target)
            self._choices.labels = target
            self.offer()
        return self.labels

    def offer(self, event: Any = None) -> None:
        """Offer the layers that there are now."""
        self._choices.offer()
        self.annotations.keep(self._viewer.layers)
        self._take_choice()

    def choose(self, kind: str, name: str) -> None:
        """The user chose a layer by name."""
        self._choices.choose(kind, name)
        self._take_choice()

    def _take_choice(self) -> None:
        fits = self.image is not None and len(stored_axes(self.image)) == 3
        self.slices = Slices(self._viewer, self.image) if fits else None
        self._watch(self.labels)
        self._tell()

    def _watch(self, labels: Any) -> None:
        """Look at the classes anew after painting."""
        if labels is self._watched:
            return
        for layer, now in ((self._watched, "disconnect"), (labels, "connect")):
            for name in _WATCHED if layer is not None else ():
                getattr(getattr(layer.events, name), now)(self._on_paint)
        self._watched = labels

    def _on_paint(self, event: Any = None) -> None:
        self._look_soon.start()

    # -- what is annotated -------------------------------------------------------------------------------------

    def mark(self, action: str) -> None:
        """Count slices as annotated, "slice" or "painted", or not, "remove"."""
        with notify.sentences():
            image, labels, slices = self.required_image(), self.labels, self.slices
            if labels is None:
                raise InputError("Annotations are a Labels layer, but none is chosen; add one and paint a slice.")
            axis = None if slices is None else slices.axis
            if slices is None or axis is None:
                raise InputError("Slices are added while slices are shown, but the view is in 3-D; switch to 2-D.")
            volume = labels_of(labels, source_of(image, self._viewer))
            if action == "painted":
                found = painted_slices(volume, axis)
                if not found:
                    raise InputError(f"{labels.name!r} has nothing painted; paint a slice first.")
                self.annotations.add(image, labels, axis, found)
            elif action == "slice":
                self.annotations.add(image, labels, axis, [slices.position(axis)])
            else:
                self.annotations.remove(image, labels, axis, [slices.position(axis)])
        self._look_at_classes()
        self._tell()

    def ordered(self, first: Any) -> list[Annotated]:
        """What is annotated, that of one image first; InputError if nothing is, and no folder is chosen."""
        if not len(self.annotations) and self.pairs.folder is None:
            raise InputError(
                "Training needs to know which slices are annotated, but none was added; paint a slice and press Add "
                "slice, or choose a folder of pairs."
            )
        return sorted(self.annotations, key=lambda one: one.image is not first)

    def _look_at_classes(self) -> None:
        """List the labels that occur in annotated slices."""
        with notify.sentences():
            material = gather(self.annotations, self._viewer)
            names = self.pairs.classes | ({} if self.labels is None else label_names(self.labels))

            def show(values: set[int]) -> None:
                values = values | set(self.pairs.classes)
                self._part.set_classes({value: names.get(value, f"class {value}") for value in sorted(values)})

            self._quiet_runner.start(lambda: occurring(material), title="Classes", key="classes", on_result=show)

    def _on_pairs(self) -> None:
        self._look_at_classes()
        self._tell()

    def _tell(self) -> None:
        self._part.set_possible({"slice", "painted", "remove"} if self.slices is not None else ())
        self._part.set_annotated(self._words())
        self._on_change()

    def _words(self) -> str:
        count = len(self.annotations)
        if not count and self.pairs.folder is not None:
            return "No slice is annotated here; the folder alone is learned from."
        if not count:
            return "No slice is annotated yet: paint one and add it. Every class counts as looked for in it."
        here = [one for one in self.annotations if one.image is self.image]
        told = "; ".join(f"{_AXES[one.axis]} {', '.join(map(str, one.slices))}" for one in here)
        words = f"Annotated: {told}." if told else ""
        if beside := count - sum(len(one.slices) for one in here):
            words += f" {beside} in other images."
        if count < _JUDGED_FROM and self.pairs.folder is None:
            words += " From four slices on, some are kept apart to judge by."
        return words.strip()
