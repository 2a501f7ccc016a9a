"""Prompting: one live session on one image.

Owns the loop of a session: what the user does to a prompt layer becomes one step of the
:class:`~voxelsmith.segment.session.PromptSession`, which is the truth; a job answers it; the preview shows the answer.
After undo, redo, reset and accept the layers are made to show what the session holds. A prompt that the session refuses
is taken off its layer again and the user told why.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxelsmith.core.errors import PromptError, StaleResultError, VoxelsmithError
from voxelsmith.core.prompts import Box, MaskPrompt, Prompt
from voxelsmith.core.volume import volume_text
from voxelsmith.plugin import notify
from voxelsmith.plugin.docks.prompt.boxes import DrawnBox
from voxelsmith.plugin.docks.prompt.prompt_layers import PromptLayers
from voxelsmith.plugin.docks.prompt.source import Source, mask_job
from voxelsmith.plugin.docks.prompt.targets import Accepted, Row, writable_array
from voxelsmith.plugin.docks.prompt.translate import merge, same
from voxelsmith.plugin.layers import label_names
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.engine import Engine, Segmentation
from voxelsmith.segment.session import CommitStep, PromptSession

if TYPE_CHECKING:
    from napari.layers import Image, Labels

JOB = "prompt"
"""Key of the jobs of a session: a newer one supersedes an older one."""
_FIRST = "Drag a box around the object, or click on it."


@dataclass(frozen=True)
class Depth:
    """The depth of the present box: its axis, first and last slice, number of slices, and slice thickness in mm."""

    axis: int
    first: int
    last: int
    count: int
    thickness: float


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
        self.live = True
        self.status = source.note or _FIRST
        self._drawn: dict[Box, DrawnBox] = {}
        self._accepted: list[Accepted] = []
        self._at = 0

    # -- prompts -----------------------------------------------------------------------------------------------

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Of the active object."""
        return self.session.prompts[self.session.active].prompts

    @property
    def box(self) -> Box | None:
        """Of the active object."""
        return next((p for p in reversed(self.prompts) if isinstance(p, Box)), None)

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
        rectangle, old = self.layers.rectangle(), self._drawn_box()
        if rectangle is None:
            return None
        if old is None:
            drawn = DrawnBox.first(rectangle, self.source.volume.spacing, self.source.volume.grid)
        elif self.layers.redrawn:
            drawn = old.reshaped(rectangle)
        else:
            drawn = old.extended(rectangle)
        self._drawn[drawn.box] = drawn
        return drawn.box

    def _drawn_box(self) -> DrawnBox | None:
        """How the present box came about; one whose history is unknown has its depth along its thinnest side."""
        box = self.box
        if box is None:
            return None
        sides = [n * size for n, size in zip(box.shape, self.source.volume.spacing, strict=True)]
        return self._drawn.get(box, DrawnBox(box, sides.index(min(sides))))

    @property
    def depth(self) -> Depth | None:
        """Of the present box; None without one, and on images of one slice."""
        drawn, volume = self._drawn_box(), self.source.volume
        if drawn is None or volume.grid[drawn.axis] == 1:
            return None
        axis, box = drawn.axis, drawn.box
        return Depth(axis, box.lo[axis], box.hi[axis], volume.grid[axis], float(volume.spacing[axis]))

    def set_depth(self, first: int, last: int) -> None:
        """Set the depth of the present box."""
        if (old := self._drawn_box()) is not None:
            drawn = old.with_depth(first, last)
            self._drawn[drawn.box] = drawn
            self._replace(tuple(drawn.box if p == old.box else p for p in self.prompts))
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

    def _answer(self) -> None:
        """Show the mask of the present prompts if it is known; if not, find it out, or wait for Run."""
        self.session.refresh()
        known = self.session.segmentation()
        if known is not None or not self.prompts:
            self._runner.cancel(JOB)
            self.layers.show_mask(known)
            self._say(_FIRST if known is None else self._size(known))
        elif self.live:
            self.run(quietly=True)
        else:
            self._say("The preview shows earlier prompts; press Run.")

    def run(self, quietly: bool = False) -> None:
        """Answer the present prompts; ``quietly`` says in the status line what is missing, without a notification."""
        try:
            obj = self.session.request().obj
        except VoxelsmithError as error:
            self._runner.cancel(JOB)
            self.layers.show_mask(None)
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
            on_error=lambda error: self._say(str(error)),
            on_cancelled=self._stopped,
        )
        self._on_update()

    def _take(self, result: Segmentation, seconds: float) -> None:
        self.session.show(result)
        if self.session.segmentation() is not result:
            return
        self.layers.show_mask(result)
        if result.mask.any():
            self._say(f"{self._size(result)}, {seconds:.1f} s")
        else:
            self._say("Nothing was found there; add a point on the object, or enlarge the box.")

    def _stopped(self) -> None:
        if self.waiting:
            self._say("Stopped; the preview shows earlier prompts.")

    def _size(self, shown: Segmentation) -> str:
        count = int(shown.mask.sum())
        return f"{count:,} voxels, {volume_text(count * self.source.volume.affine.voxel_volume)}"

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
            accepted = Accepted(commit, target, target.data, label_names(target).get(commit.label))
            self._accepted[self._at :] = [accepted]
            self._at += 1
            accepted.show(applied=True)
            self.layers.show_prompts(self.prompts)
            self.layers.show_mask(self.session.segmentation())
            self._say(f"Accepted as label {commit.label} of {target.name!r}. Mark the next object.")
            return True
        return False

    def rows(self) -> list[Row]:
        """What was accepted and not taken back."""
        volume = self.source.volume.affine.voxel_volume
        return [accepted.row(volume) for accepted in self._accepted[: self._at]]

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
