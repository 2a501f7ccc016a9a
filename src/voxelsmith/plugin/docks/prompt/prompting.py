"""Prompting: one live session on one image.

Owns the loop of a session: what the user does to a prompt layer becomes one step of the
:class:`~voxelsmith.segment.session.PromptSession`, which is the truth; a job answers it; the preview shows the answer.
After undo, redo, reset and accept the layers are made to show what the session holds. A prompt that the session refuses
is taken off its layer again and the user told why.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from voxelsmith.core.errors import ModelUnavailableError, PromptError, StaleResultError, VoxelsmithError
from voxelsmith.core.prompts import Box, MaskPrompt, Prompt, TextPrompt
from voxelsmith.core.volume import volume_text
from voxelsmith.plugin import notify
from voxelsmith.plugin.docks.prompt.depth import Depth, DrawnBoxes
from voxelsmith.plugin.docks.prompt.probability_map import ProbabilityMap
from voxelsmith.plugin.docks.prompt.prompt_layers import PromptLayers
from voxelsmith.plugin.docks.prompt.source import Source, mask_job
from voxelsmith.plugin.docks.prompt.targets import Accepted, Row, maker_text, writable_array
from voxelsmith.plugin.docks.prompt.translate import merge, same
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.engine import Engine, Segmentation
from voxelsmith.segment.session import CommitStep, PromptSession

if TYPE_CHECKING:
    from napari.layers import Image, Labels

JOB = "prompt"
"""Key of the jobs of a session: a newer one supersedes an older one."""
_FIRST = "Drag a box around the object, or click on it."
_FIRST_WITH_WORDS = "Type a word such as liver, drag a box around the object, or click on it."
_NOTHING = "Nothing was found there; add a point on the object, or enlarge the box."
_NOTHING_OF_THAT_NAME = "Nothing of that name was found; try another word, or say where it is."


class Prompting:
    """A session with its layers.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Where it happens.
    runner
        Runs its jobs.
    image, source
        The layer, and the volume that it stands for.
    engine
        Answers the prompts.
    on_update
        Called after anything changed that a view may show.
    """

    def __init__(
        self,
        viewer: Any,
        runner: JobRunner,
        image: Image,
        source: Source,
        engine: Engine,
        on_update: Callable[[], None],
    ) -> None:
        self._viewer, self._runner, self._on_update = viewer, runner, on_update
        self.image, self.source = image, source
        self.session = PromptSession(engine)
        self.session.set_image(source.volume)
        self.layers = PromptLayers(viewer, image, source.volume, self._edited, self._refused)
        self.map = ProbabilityMap(viewer, image, source.volume.grid)
        self.live = True
        self.status = source.note or self._first
        self._drawn = DrawnBoxes(source.volume)
        self._accepted: list[Accepted] = []
        self._at = 0
        self._titles = {engine.name: engine.title}
        self._engine_before: Engine | None = None
        self._glimpsed = False
        self._before_glimpse: Segmentation | None = None
        self._cautions: set[str] = set()

    # -- prompts -----------------------------------------------------------------------------------------------

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Of the active object."""
        return self.session.prompts[self.session.active].prompts

    @property
    def box(self) -> Box | None:
        """Of the active object."""
        return next((p for p in reversed(self.prompts) if isinstance(p, Box)), None)

    @property
    def word(self) -> str:
        """What names the active object, empty if nothing does."""
        texts = self.session.prompts[self.session.active].texts
        return texts[-1].text if texts else ""

    def set_word(self, word: str) -> None:
        """Name the active object; an empty word takes its name away."""
        if word == self.word:
            self._on_update()
            return
        with notify.sentences():
            new = (TextPrompt(word),) if word else ()
            self._replace((*(p for p in self.prompts if not isinstance(p, TextPrompt)), *new))
        self._on_update()

    @property
    def _first(self) -> str:
        return _FIRST_WITH_WORDS if TextPrompt in self.session.engine.accepts else _FIRST

    def _edited(self, kind: str) -> None:
        try:
            box = self._box_as_drawn() if kind == "box" else self.box
            self._replace(merge(self.prompts, self.layers.points(), box, self.layers.ink))
        except PromptError as error:
            self.layers.show_prompts(self.prompts, [kind])
            self._refused(error)
        if kind == "box":
            self.layers.show_prompts(self.prompts, [kind])

    def _box_as_drawn(self) -> Box | None:
        rectangle = self.layers.rectangle()
        return None if rectangle is None else self._drawn.draw(self.box, rectangle, self.layers.redrawn)

    @property
    def depth(self) -> Depth | None:
        """Of the present box; None without one, and on images of one slice."""
        return self._drawn.depth(self.box)

    def set_depth(self, first: int, last: int) -> None:
        """Set the depth of the present box."""
        if (old := self.box) is not None:
            new = self._drawn.deepen(old, first, last)
            self._replace(tuple(new if p == old else p for p in self.prompts))
            self.layers.show_prompts(self.prompts, ["box"])

    def _replace(self, prompts: tuple[Prompt, ...]) -> None:
        """Make these the prompts of the object, as one step; those that are the same already are no step."""
        if not same(prompts, self.prompts):
            self.session.replace(prompts)
            self._answer()

    def _refused(self, error: VoxelsmithError) -> None:
        notify.show(error)
        self._say(str(error))

    def _say(self, text: str) -> None:
        self.status = text
        self._on_update()

    # -- answers -----------------------------------------------------------------------------------------------

    def _answer(self, anew: bool = False) -> None:
        """Show the mask of the present prompts if it is known; if not, find it out, or wait for Run.

        ``anew`` asks the present engine even if another one has answered.
        """
        self.session.refresh()
        known = self.session.segmentation()
        by_another = anew and known is not None and known.engine != self.session.engine.name
        if not self.prompts or (known is not None and not by_another):
            self._runner.cancel(JOB)
            self._show(known)
            if known is None:
                self._say(self._first)
            else:
                self._tell(self._size(known), known)
        elif self.live:
            self.run(quietly=True)
        else:
            self._say(f"The preview shows {'another engine' if by_another else 'earlier prompts'}; press Run.")

    def _show(self, segmentation: Segmentation | None) -> None:
        self._glimpsed = False
        self.layers.show_mask(segmentation)
        self._show_map()

    def _show_map(self) -> None:
        if self.map.layer is not None:
            self.map.show(self.session.probability())

    def run(self, quietly: bool = False) -> None:
        """Answer the present prompts; ``quietly`` says in the status line what is missing, without a notification."""
        try:
            obj = self.session.request().obj
        except VoxelsmithError as error:
            self._runner.cancel(JOB)
            self._show(None)
            if not quietly:
                notify.show(error)
            self._say(str(error))
            return
        began = time.perf_counter()
        self._runner.start(
            lambda: self.session.compute(obj),
            title="Segmenting",
            layers=[self.image],
            key=JOB,
            on_result=lambda result: self._take(result, time.perf_counter() - began),
            on_partial=self._glimpse,
            on_error=self._failed,
            on_cancelled=self._stopped,
        )
        self._on_update()

    def _take(self, result: Segmentation, seconds: float) -> None:
        self.session.show(result)
        shown = self.session.segmentation()
        if shown is None or shown.request is not result.request:
            return
        self._engine_before = None
        self._show(shown)
        if shown.note and shown.note not in self._cautions:
            self._cautions.add(shown.note)
            notify.caution(shown.note)
        nothing = _NOTHING_OF_THAT_NAME if self.word else _NOTHING
        self._tell(f"{self._size(shown)}, {seconds:.1f} s" if shown.mask.any() else nothing, shown)

    def _tell(self, text: str, shown: Segmentation) -> None:
        """Say something about a mask, and what the user should know about it."""
        self._say("\n".join(filter(None, (text, shown.note))))

    def _glimpse(self, early: Segmentation) -> None:
        """Show an answer that a better one will replace; it cannot be accepted."""
        if not self._glimpsed:
            self._before_glimpse = self.layers.shown
        self._glimpsed = True
        threshold = self.session.threshold()
        uncut = early.probability is None or early.threshold == threshold
        shown = early if uncut else early.at(threshold)
        self.layers.show_mask(shown)
        self._say(f"First look: {self._size(shown)}; looking closer…")

    def _end_glimpse(self) -> None:
        """Show again what was there before, if no answer followed."""
        if self._glimpsed:
            self._show(self._before_glimpse)

    def _failed(self, error: Exception) -> None:
        """Say why there is no answer; an engine whose model turns out to be missing gives way to the one before."""
        self._end_glimpse()
        if isinstance(error, ModelUnavailableError) and self._engine_before is not None:
            before, self._engine_before = self._engine_before, None
            with suppress(PromptError):
                self.session.use_engine(before)
        self._say(str(error))

    def _stopped(self) -> None:
        self._end_glimpse()
        if self.waiting:
            self._say("Stopped; the preview shows earlier prompts.")

    def _size(self, shown: Segmentation) -> str:
        count = int(shown.mask.sum())
        return f"{count:,} voxels, {volume_text(count * self.source.volume.affine.voxel_volume)}"

    def use_engine(self, engine: Engine) -> None:
        """Answer with another engine from now on, the present prompts first.

        Raises
        ------
        PromptError
            If it does not read the present prompts; nothing has changed then.
        """
        before = self.session.engine
        self.session.use_engine(engine)
        self._engine_before = before
        self._titles[engine.name] = engine.title
        self._answer(anew=True)

    def set_threshold(self, value: float) -> None:
        """Cut the probabilities of the object elsewhere."""
        self.session.set_threshold(value)
        shown = self.session.segmentation()
        if shown is not None:
            self.layers.show_mask(shown)
            self._tell(self._size(shown) if shown.mask.any() else "Nothing is that likely; lower the threshold.", shown)

    def show_probability(self, wanted: bool) -> None:
        """Show the probabilities as a layer, or no longer."""
        if wanted:
            self.map.add(above=self.layers.layers["preview"])
            self._show_map()
        else:
            self.map.remove()

    @property
    def made_by(self) -> str:
        """Which engine made the mask that the preview shows, empty if it shows none."""
        shown = self.layers.shown
        if shown is None:
            return ""
        return maker_text(self._titles[shown.engine], None if shown.probability is None else shown.threshold)

    @property
    def why_no_threshold(self) -> str:
        """Why the threshold cannot be moved, empty if it can."""
        shown = self.layers.shown
        if shown is None:
            return "There is no mask yet; mark an object first"
        if shown.probability is None:
            return f"{self._titles[shown.engine]} gives no probabilities, so its mask has no threshold"
        return ""

    @property
    def waiting(self) -> bool:
        """Whether the present prompts have no answer yet."""
        return bool(self.prompts) and self.session.segmentation() is None

    @property
    def acceptable(self) -> bool:
        """Whether there is an object to accept."""
        shown = self.session.segmentation()
        return shown is not None and bool(shown.mask.any())

    # -- steps -------------------------------------------------------------------------------------------------

    def undo(self) -> None:
        """Take back the last prompt or accepted object."""
        self._step(self.session.undo(), applied=False)

    def redo(self) -> None:
        """Do it again."""
        self._step(self.session.redo(), applied=True)

    def _step(self, step: Any, applied: bool) -> None:
        if step is None:
            self._say("There is nothing to undo." if not applied else "There is nothing to redo.")
            return
        self.layers.show_prompts(self.prompts)
        self._answer()
        if isinstance(step, CommitStep):
            self._at += 1 if applied else -1
            accepted = self._accepted[self._at - 1 if applied else self._at]
            if accepted.in_reach(self._viewer.layers):
                accepted.show(applied)
                done = "accepted again" if applied else "taken back"
                self._say(f"Label {step.commit.label} of {accepted.layer.name!r} was {done}.")
            else:
                self._refused(
                    StaleResultError(
                        f"Label {step.commit.label} was written to {accepted.layer.name!r}, which was removed or got "
                        "other data since, so only the prompts were changed; edit the layer by hand."
                    )
                )

    def reset(self) -> None:
        """Clear the object."""
        if self.prompts:
            self.session.clear()
            self.layers.show_prompts(())
            self._answer()

    def accept(self, target: Labels, name: str, overwrite: bool) -> bool:
        """Write the object into a Labels layer and turn to the next one; False if that is impossible."""
        with notify.sentences():
            if self.waiting:
                raise PromptError("The preview does not answer the latest prompts yet; wait for it or press Run.")
            array = writable_array(target, self.source.volume, self.source.frame)
            commit = self.session.commit(array, name=name, overwrite=overwrite)
            accepted = Accepted.written(commit, target)
            self._accepted[self._at :] = [accepted]
            self._at += 1
            accepted.show(applied=True)
            self.layers.show_prompts(self.prompts)
            self._show(self.session.segmentation())
            self._say(f"Accepted as label {commit.label} of {target.name!r}. Mark the next object.")
            return True
        return False

    def rows(self) -> list[Row]:
        """What was accepted and not taken back."""
        volume = self.source.volume.affine.voxel_volume
        return [a.row(volume, self._titles[a.commit.engine]) for a in self._accepted[: self._at]]

    def start_from(self, layer: Labels, only_selected: bool) -> None:
        """Start the object from the mask in a Labels layer."""
        with notify.sentences():
            job = mask_job(layer, self.source.volume, self.source.frame, only_selected)
            self._runner.start(
                lambda: job, title="Reading the mask", layers=[layer], key=JOB, on_result=self._take_mask
            )

    def _take_mask(self, result: tuple[MaskPrompt, str]) -> None:
        mask, note = result
        self._replace((*(p for p in self.prompts if not isinstance(p, MaskPrompt)), mask))
        self._say(note)
