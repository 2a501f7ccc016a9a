"""One training of TV-Unet from its request to its end.

Owns what happens around the loop: the plan and the data of a new training or of one that is resumed, previews and notes
between the steps, labels that are taken in at the end of an epoch, and smaller patches where memory is too small.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from voxelsmith.core.errors import InputError, ResourceError
from voxelsmith.core.progress import Job
from voxelsmith.core.resample import reorient
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import Volume
from voxelsmith.models.device import pick_device
from voxelsmith.models.trainable import architecture_from
from voxelsmith.segment.plan import Plan
from voxelsmith.segment.predictor import Predictor
from voxelsmith.train.annotated import AnnotatedSlices
from voxelsmith.train.checkpoint import has_checkpoint, load
from voxelsmith.train.diffusion import DiffusionRecipe
from voxelsmith.train.history import History
from voxelsmith.train.loop import train
from voxelsmith.train.ranks import ranks
from voxelsmith.train.trained_runs import write_description
from voxelsmith.train.tvunet import (
    VERSION,
    Live,
    Preview,
    ShowSlice,
    TakeLabels,
    Trained,
    TrainingRequest,
    require_ours,
)
from voxelsmith.train.tvunet_recipe import TVUnetRecipe, plan_for

_FIRST_PREVIEW_S = 2.0
_LEVELS = 255
_PACE = 0.9
_RECIPES: dict[str, type[TVUnetRecipe]] = {"tvunet": TVUnetRecipe, "diffusion": DiffusionRecipe}


class Session:
    """One training.

    Parameters
    ----------
    request
        What to learn.
    inbox
        What it is told on the way.

    Raises
    ------
    FormatError, InputError
        As :func:`voxelsmith.train.tvunet.run` does.
    """

    def __init__(self, request: TrainingRequest, inbox: queue.SimpleQueue[Any]) -> None:
        self.request, self.inbox = request, inbox
        self.notes: list[str] = []
        chosen, support = request.settings, request.support
        device = pick_device(chosen.device)
        earlier = load(request.out).about if request.resume and has_checkpoint(request.out) else None
        if earlier is None:
            _require_examples(support)
            plan = plan_for(support, chosen, device)
            self.architecture = _RECIPES[chosen.recipe].architecture_for(plan, chosen, device)
        else:
            require_ours(earlier, request.out, chosen.recipe)
            plan = Plan.from_record(earlier["plan"])
            self.architecture = architecture_from(chosen.recipe, earlier["architecture"])
            _require_classes(plan, support)
        self.dataset = self._data(plan, earlier)
        if earlier is not None and earlier["fingerprint"] != self.dataset.fingerprint:
            self.notes.append(
                "The annotations have changed since this training was begun; it goes on with the new ones."
            )
        if chosen.spare and not self.dataset.judges:
            self._note(
                f"Only {self.dataset.slices} annotated slices: none is kept apart to judge by, so the curve shows the "
                "loss alone."
            )
        self.recipe = self._fresh()
        self.about: dict[str, Any] = {
            "recipe": chosen.recipe,
            "version": VERSION,
            "architecture": self.architecture.record(),
            "request": {"examples": len(support.enabled), "judges": len(request.judges)},
        }
        self.described = False
        self._describe()
        self.pending: TakeLabels | None = None
        self.epoch_ends = 0
        self.shown = request.show or ShowSlice(_middle(support.enabled[0], plan.axis))
        self.preview_due = time.monotonic() + min(_FIRST_PREVIEW_S, chosen.preview_seconds)
        self.begun = time.monotonic()

    def run(self) -> Job[Trained]:
        """Drive the loop, with smaller patches where memory is too small."""
        resume, chosen = self.request.resume, self.request.settings
        while True:
            job = train(self.recipe, chosen, self.request.out, resume=resume, about=self.about)
            try:
                history = yield from self._watched(job)
                return Trained(history, self.request.out, self.dataset.fingerprint, tuple(self.notes))
            except (MemoryError, RuntimeError) as error:
                if not _is_memory(error):
                    raise
                if ranks().count > 1:
                    raise ResourceError(
                        "Memory is too small for patches of this size, which several processes keep; train a narrower "
                        "network, or in one process."
                    ) from error
                if not self.dataset.halve():
                    raise ResourceError(
                        "Memory is too small for the smallest patch; close other programs, or train a narrower network."
                    ) from error
            finally:
                job.close()
            _, rows, columns = self.dataset.patch
            self._note(f"Memory was too small, so patches now have {rows} x {columns} pixels.")
            self._describe()
            resume = has_checkpoint(self.request.out)
            if not resume:
                self.recipe = self._fresh()

    def _watched(self, job: Job[History]) -> Job[History]:
        """The loop's reports, with previews and notes; takes in what it is told."""
        told, seen, pace, before = 0, None, None, None
        while True:
            clock = time.monotonic()
            try:
                progress = next(job)
            except StopIteration as end:
                history: History = end.value
                return history
            step, latest = progress.done, progress.partial
            if not self.described and ranks().first:
                write_description(self.request.out, self.about)
                self.described = True
            if before is not None:
                took = (time.monotonic() - clock) / max(1, step - before)
                pace = took if pace is None else _PACE * pace + (1 - _PACE) * took
            self.recipe.step = before = step
            self._hear(step)
            preview = self._preview(step) if step and time.monotonic() >= self.preview_due else None
            rows = () if latest is None or latest is seen else (latest,)
            seen = latest
            live = Live(rows, preview, tuple(self.notes[told:]), pace, self._left(step, pace))
            told = len(self.notes)
            yield replace(progress, partial=live)

    def _hear(self, step: int) -> None:
        """Take in what came; new labels at the end of an epoch."""
        while not self.inbox.empty():
            message = self.inbox.get()
            if isinstance(message, ShowSlice):
                self.shown, self.preview_due = message, 0.0
            elif isinstance(message, TakeLabels):
                self.pending = message
        if step < self.epoch_ends:
            return
        self.epoch_ends = step + self.dataset.epoch
        if self.pending is None:
            return
        message, self.pending = self.pending, None
        try:
            self.dataset.take(message.examples)
        except InputError as error:
            self._note(f"The new labels were left out: {error}")
            return
        self._describe()
        self._note(f"From step {step} on, the training learns from {self.dataset.slices} slices.")

    def _preview(self, step: int) -> Preview | None:
        """The network's answer in the slice to be shown; None if there is no such slice."""
        self.preview_due = time.monotonic() + self.request.settings.preview_seconds
        plan, wish = self.dataset.plan, self.shown
        if not 0 <= wish.volume < len(self.dataset.volumes):
            return None
        image, prepared = self.request.support.enabled[wish.volume].image, self.dataset.volumes[wish.volume]
        turned = prepared.volume
        axis = image.affine.closest_axes.index(turned.affine.closest_axes[plan.axis])
        if not 0 <= wish.index < image.grid[axis]:
            return None
        centre = (np.array(image.grid) - 1) / 2
        centre[axis] = wish.index
        number = int(np.rint((turned.affine.inverse() @ image.affine).apply(centre)[plan.axis]))
        model = self.recipe.model.eval()
        likely = Predictor(model, plan, prepared.prior).slice(prepared.working, prepared.region, number)
        levels = np.rint(likely * _LEVELS).astype(np.uint8)
        plane = np.expand_dims(np.moveaxis(levels, 0, -1), plan.axis)
        back = reorient(Volume(plane, turned.affine, extra_axis="channel"), image.affine.axcodes).array
        channels = np.ascontiguousarray(np.moveaxis(back.take(0, axis), -1, 0))
        return Preview(wish, axis, plan.classes, channels, step)

    def _left(self, step: int, pace: float | None) -> float | None:
        if pace is None:
            return None
        chosen = self.request.settings
        left = (chosen.steps - step) * pace
        if chosen.max_seconds is None:
            return left
        return max(0.0, min(left, self.begun + chosen.max_seconds - time.monotonic()))

    def _data(self, plan: Plan, earlier: Mapping[str, Any] | None) -> AnnotatedSlices:
        chosen, examples = self.request.settings, self.request.support.enabled
        judged = None
        if earlier is not None and len(earlier["judged"]) == len(examples):
            judged = earlier["judged"]
        return AnnotatedSlices(
            plan,
            examples,
            chosen.seed,
            batch=chosen.batch,
            augmented=chosen.augmented,
            flips=chosen.flips,
            spare=chosen.spare,
            judges=self.request.judges,
            judged=judged,
        )

    def _fresh(self) -> TVUnetRecipe:
        return _RECIPES[self.request.settings.recipe](self.request.settings, self.architecture, self.dataset)

    def _describe(self) -> None:
        """Bring what travels in the checkpoint up to date."""
        plan = replace(self.dataset.plan, patch=self.dataset.patch)
        self.about["plan"] = plan.record()
        self.about["fingerprint"] = self.dataset.fingerprint
        self.about["judged"] = [list(rows) for rows in self.dataset.judged_rows]
        self.described = False

    def _note(self, sentence: str) -> None:
        self.notes.append(sentence)


def _require_examples(support: SupportSet) -> None:
    if not any(example.has_foreground for example in support.enabled):
        raise InputError("Training needs annotated slices with something painted on them; paint a few first.")


def _require_classes(plan: Plan, support: SupportSet) -> None:
    if plan.classes != support.values:
        raise InputError(
            f"The training was begun with the classes {list(plan.classes)} and cannot go on with "
            f"{list(support.values)}; train into another folder."
        )


def _middle(example: SupportExample, axis: int) -> int:
    """The annotated slice in the middle, along an array axis of the example."""
    if example.axis == axis and example.slices is not None:
        return example.slices[len(example.slices) // 2]
    return example.image.grid[axis] // 2


def _is_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch says so in words on a CPU."""
    words = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "t allocate memory" in words
