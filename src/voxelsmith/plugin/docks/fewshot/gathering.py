"""Gathering: the support set of the dock.

Owns the present set, its thumbnails and every change of it: examples that come, go, are replaced or switched off,
classes that get names and colours, sets that are saved and loaded. Each change is a step that can be taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job
from voxelsmith.core.support import Colour, SupportExample, SupportSet
from voxelsmith.plugin import notify
from voxelsmith.plugin.docks.fewshot import collecting
from voxelsmith.plugin.docks.fewshot.history import History, SupportStep
from voxelsmith.plugin.docks.fewshot.preview import colours_of
from voxelsmith.plugin.docks.fewshot.support_part import Item
from voxelsmith.plugin.docks.fewshot.thumbnails import Thumbnail
from voxelsmith.plugin.runner import JobRunner

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.fewshot.view import FewShotDock

_AXES = "ijk"


class Gathering:
    """The support set of a dock.

    Parameters
    ----------
    view
        The dock.
    runner
        Runs what takes long.
    history
        Where changes are remembered.
    colour_of
        The colour in which a new class was painted, if it is known.
    on_change
        Called when another set is the present one.

    Attributes
    ----------
    support : SupportSet
    """

    def __init__(
        self,
        view: FewShotDock,
        runner: JobRunner,
        history: History,
        colour_of: Callable[[int], Colour | None],
        on_change: Callable[[], None],
    ) -> None:
        self._view, self._runner, self._history = view, runner, history
        self._colour_of, self._on_change = colour_of, on_change
        self._thumbnails: dict[str, Thumbnail] = {}
        self.support = SupportSet()
        view.support.pair_chosen.connect(self.add_files)
        view.support.switched.connect(self.switch)
        view.support.removed.connect(self.remove)
        view.support.save_wanted.connect(self.save)
        view.support.load_wanted.connect(self.load)
        view.classes.new_wanted.connect(self.new_class)
        view.classes.renamed.connect(lambda value, name: self.describe(value, name=name))
        view.classes.recoloured.connect(lambda value, colour: self.describe(value, colour=colour))

    # -- examples ----------------------------------------------------------------------------------------------

    def start(self, job: Callable[[], Job[Any]], title: str, on_result: Callable[[Any], None]) -> None:
        """Run a job for the user; errors of ``on_result`` are shown."""

        def show(result: Any) -> None:
            with notify.sentences():
                on_result(result)

        self._runner.start(job, title=title, on_result=show)

    def take(self, taken: collecting.Annotation) -> None:
        """Make an example of an annotation and add it."""
        self.start(lambda: collecting.from_layers(taken), "Add example", self.add)

    def add_files(self, image: str, labels: str) -> None:
        """Make an example of two files and add it."""
        self.start(lambda: collecting.from_files(image, labels), "Add example", self.add)

    def add(self, collected: collecting.Collected) -> None:
        """Take an example into the set; one of the same slice of the same image is replaced.

        Raises
        ------
        InputError
            If the same example is there already.
        """
        example = collected.example
        self._thumbnails[example.content_hash] = collected.thumbnail
        old = next((e for e in self.support.examples if _same_slice(e, example)), None)
        support = self.support.add(example) if old is None else self.support.substitute(old.content_hash, example)
        for value in sorted(set(support.values) - set(self.support.values)):
            support = support.describe(value, colour=self._colour_of(value))
        self.change(support)
        self._view.set_status(f"{'Added' if old is None else 'Replaced'}: {example.provenance}.")

    def switch(self, content_hash: str, enabled: bool) -> None:
        """Use an example or not."""
        self.change(self.support.switch(content_hash, enabled))

    def remove(self, hashes: list[str]) -> None:
        """Take examples out of the set."""
        support = self.support
        for content_hash in hashes:
            support = support.remove(content_hash)
        self.change(support)

    def save(self, path: str) -> None:
        """Save the set."""
        support = self.support
        self.start(
            lambda: collecting.to_set(support, path), "Save examples", lambda p: self._view.set_status(f"Saved: {p}.")
        )

    def load(self, path: str) -> None:
        """Load a set in the place of this one."""

        def show(result: tuple[SupportSet, dict[str, Thumbnail]]) -> None:
            support, pictures = result
            self._thumbnails |= pictures
            self.change(support)
            self._view.set_status(f"Loaded {len(support.examples)} examples; Undo brings the earlier ones back.")

        self.start(lambda: collecting.from_set(path), "Load examples", show)

    # -- classes -----------------------------------------------------------------------------------------------

    def new_class(self) -> None:
        """Add a class and choose it."""
        value = max(self.support.values, default=0) + 1
        self.change(self.support.describe(value))
        self._view.choose_class(value)

    def describe(self, value: int, name: str | None = None, colour: Colour | None = None) -> None:
        """Rename or recolour a class."""
        try:
            support = self.support.describe(value, name, colour)
        except InputError as error:
            notify.show(error)
            self._view.set_classes(self.support.classes)
            return
        if support.classes != self.support.classes:
            self.change(support)

    # -- the set -----------------------------------------------------------------------------------------------

    def change(self, support: SupportSet) -> None:
        """Make another set the present one, as a step that can be taken back."""
        self._history.push(SupportStep(self.support, support, self.show))
        self.show(support)

    def show(self, support: SupportSet) -> None:
        """Make another set the present one."""
        self.support = support
        self._view.set_classes(support.classes)
        self._view.set_items([self._item(example) for example in support.examples])
        self._on_change()

    def _item(self, example: SupportExample) -> Item:
        if example.axis is None or example.slices is None:
            title = "whole"
        elif len(example.slices) == 1:
            title = f"{_AXES[example.axis]} {example.slices[0]}"
        else:
            title = f"{len(example.slices)} × {_AXES[example.axis]}"
        names = ", ".join(self.support.names[v] for v in sorted(example.classes))
        empty = "" if example.has_foreground else " Reviewed and empty."
        tip = f"{example.provenance or example.image.name}\nLooked for: {names}.{empty}"
        picture = self._thumbnails[example.content_hash].picture(colours_of(self.support))
        return Item(example.content_hash, title, tip, example.enabled, picture)


def _same_slice(old: SupportExample, new: SupportExample) -> bool:
    """Whether an example is a newer version of another one."""
    return (
        new.axis is not None
        and (old.axis, old.slices) == (new.axis, new.slices)
        and old.image_fingerprint == new.image_fingerprint
    )
