"""PromptSession: one image, its prompts, the masks they give, and what was committed of them.

Owns the state of interactive segmentation, without a window: set the image once, add prompts, get back the box that
changed and the mask in it. Undo and redo walk over prompts and commits in the order in which they were made. Masks of
earlier states are kept, so that stepping back computes nothing; after a change of engine each still says who made it.
An object's threshold is no step: it says where the probabilities of any of its answers are cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError, PromptError
from voxelsmith.core.progress import Job, run_job
from voxelsmith.core.prompts import Box, ObjectPrompts, Prompt, PromptSet
from voxelsmith.core.volume import Volume
from voxelsmith.segment.commit import Commit, plan_commit
from voxelsmith.segment.engine import (
    Engine,
    Probability,
    PromptRequest,
    Segmentation,
    check_readable,
    check_request,
    check_threshold,
    make_engine,
)

USUAL_THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class Update:
    """What a prediction changed.

    Parameters
    ----------
    obj
        Number of the object.
    changed
        The box in which the mask may differ from the one before; None if nothing differs.
    mask : bool array of shape ``changed.shape``, or None
        The new mask there.
    """

    obj: int
    changed: Box | None
    mask: npt.NDArray[np.bool_] | None


@dataclass(frozen=True)
class PromptStep:
    """A change of one object's prompts, as undo and redo report it."""

    obj: int


@dataclass(frozen=True, eq=False)
class CommitStep:
    """A commit of one object, as undo and redo report it."""

    obj: int
    commit: Commit


Step: TypeAlias = PromptStep | CommitStep


class PromptSession:
    """Interactive segmentation of the objects in one image.

    Parameters
    ----------
    engine
        The algorithm; default :func:`voxelsmith.segment.engine.make_engine`.

    Examples
    --------
    >>> session = PromptSession()
    >>> session.set_image(volume)                            # doctest: +SKIP
    >>> update = session.prompt(Box((10, 20, 5), (40, 60, 30)))   # doctest: +SKIP
    >>> mask = session.mask()                                # doctest: +SKIP
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine or make_engine()
        self._image: Volume | None = None
        self._start_over()

    def _start_over(self) -> None:
        self.prompts = PromptSet()
        self.active = 1
        self._fingerprints: WeakKeyDictionary[Volume, str] = WeakKeyDictionary()
        # The answers of each engine to the same prompts, the one that was shown last at the end.
        self._results: dict[ObjectPrompts, dict[Engine, Segmentation]] = {}
        self._shown: dict[int, Segmentation] = {}
        self._thresholds: dict[int, float] = {}
        self._fine: tuple[Probability, Probability] | None = None
        self._steps: list[Step] = []
        self._at = 0

    @property
    def image(self) -> Volume:
        """The image; InputError before :meth:`set_image`."""
        if self._image is None:
            raise InputError("The session has no image yet; call set_image first.")
        return self._image

    def set_image(self, image: Volume) -> None:
        """Start over on a 3-D image; earlier prompts and masks are dropped."""
        if image.array.ndim != 3:
            raise InputError(f"Prompting needs one 3-D image, got shape {image.array.shape}; pick a frame first.")
        self._start_over()
        self._image = image

    def add(self, prompt: Prompt | Iterable[Prompt], obj: int | None = None) -> None:
        """Add prompts to an object (default: the active one) as one undoable step; nothing is computed yet."""
        obj = self.active if obj is None else obj
        new = tuple(prompt) if isinstance(prompt, Iterable) else (prompt,)
        self.replace(self.prompts[obj].prompts + new, obj)

    def replace(self, prompts: Iterable[Prompt], obj: int | None = None) -> None:
        """Set all prompts of an object (default: the active one) as one undoable step."""
        obj = self.active if obj is None else obj
        new = ObjectPrompts(tuple(prompts))
        new.check(self.image.grid)
        self.prompts.replace(obj, new.prompts)
        self._push(PromptStep(obj))
        reachable = {p for state in self.prompts.states for p in state.values()}
        self._results = {p: result for p, result in self._results.items() if p in reachable}

    def clear(self, obj: int | None = None) -> None:
        """Remove the prompts of an object as one undoable step; does nothing when there are none."""
        if self.prompts[self.active if obj is None else obj]:
            self.replace((), obj)

    def use_engine(self, engine: Engine) -> None:
        """Compute with another engine from now on; prompts, commits and masks stay, each with the engine that made it.

        If it has answered the active object's present prompts before, :meth:`refresh` shows that answer again.

        Raises
        ------
        PromptError
            If it does not read the active object's prompts; nothing has changed then.
        """
        prompts = self.prompts[self.active]
        check_readable(prompts, engine)
        self.engine = engine
        answers = self._results.get(prompts, {})
        if engine in answers:
            answers[engine] = answers.pop(engine)

    def threshold(self, obj: int | None = None) -> float:
        """Where the probabilities of an object (default: the active one) are cut."""
        return self._thresholds.get(self.active if obj is None else obj, USUAL_THRESHOLD)

    def set_threshold(self, value: float, obj: int | None = None) -> Update:
        """Cut the probabilities of an object (default: the active one) elsewhere, without computing them again.

        It holds for the object's later answers too, and is no step of undo and redo.

        Raises
        ------
        InputError
            If the value is not between 0 and 1, or the mask shown comes from an engine without probabilities.
        """
        check_threshold(value)
        obj = self.active if obj is None else obj
        if obj in self._shown:
            self._shown[obj].require_probability()
        self._thresholds[obj] = value
        return self.refresh(obj)

    def request(self, obj: int | None = None) -> PromptRequest:
        """The frozen request that stands for an object's present prompts."""
        obj = self.active if obj is None else obj
        request = PromptRequest(self.image, self.prompts[obj], obj)
        check_request(request, self.engine)
        return request

    def compute(self, obj: int | None = None) -> Job[Segmentation]:
        """Job that answers the prompts as they are at this call; hand its result to :meth:`show`."""
        request = self.request(obj)
        known = self._results.get(request.prompts, {}).get(self.engine)
        return self._answer(request, self.engine, known, self.threshold(obj))

    def _answer(
        self, request: PromptRequest, engine: Engine, known: Segmentation | None, threshold: float
    ) -> Job[Segmentation]:
        if known is not None:
            return known
        fingerprints = self._fingerprints
        if request.image not in fingerprints:
            fingerprints[request.image] = request.image.fingerprint()
        fingerprint = fingerprints[request.image]
        result = replace((yield from engine.segment(request)), fingerprint=fingerprint)
        uncut = result.probability is None or result.threshold == threshold
        return result if uncut else result.at(threshold)

    def show(self, result: Segmentation) -> Update:
        """Take in a result; one that answers an outdated request, or is another engine's, changes nothing."""
        request, obj = result.request, result.request.obj
        current = request.image is self._image and request.prompts is self.prompts[obj]
        if not current or result.engine != self.engine.name:
            return Update(obj, None, None)
        answers = self._results.setdefault(request.prompts, {})
        answers.pop(self.engine, None)
        answers[self.engine] = result
        return self.refresh(obj)

    def refresh(self, obj: int | None = None) -> Update:
        """Bring what is shown of an object up to its present prompts, as far as the mask is known."""
        obj = self.active if obj is None else obj
        old, new = self._shown.pop(obj, None), self._latest(obj)
        if new is not None:
            self._shown[obj] = new
        boxes = [s.box for s in (old, new) if s is not None]
        if old is new or not boxes:
            return Update(obj, None, None)
        changed = boxes[0] if len(boxes) == 1 else boxes[0].union(boxes[1])
        return Update(obj, changed, self._cut(obj, changed))

    def _latest(self, obj: int) -> Segmentation | None:
        """The latest answer to an object's present prompts, cut at its threshold."""
        answers = self._results.get(self.prompts[obj])
        if not answers:
            return None
        engine, latest = next(reversed(answers.items()))
        if latest.probability is not None and latest.threshold != self.threshold(obj):
            cut = replace(latest, probability=self._in_detail(latest.probability)).at(self.threshold(obj))
            answers[engine] = replace(cut, probability=latest.probability)
        return answers[engine]

    def _in_detail(self, probability: Probability) -> Probability:
        """At the voxels of the image; kept until another one is asked for, as thresholds are moved back and forth."""
        if self._fine is None or self._fine[0] is not probability:
            self._fine = (probability, probability.fine())
        return self._fine[1]

    def _cut(self, obj: int, box: Box) -> npt.NDArray[np.bool_]:
        shown = self._shown.get(obj)
        if shown is not None and shown.box == box:
            return shown.mask
        out = np.zeros(box.shape, dtype=bool)
        if shown is not None:
            at = tuple(slice(a - o, b - o + 1) for a, b, o in zip(shown.box.lo, shown.box.hi, box.lo, strict=True))
            out[at] = shown.mask
        return out

    def prompt(self, prompt: Prompt | Iterable[Prompt], obj: int | None = None) -> Update:
        """Add prompts and compute at once; for scripts."""
        self.add(prompt, obj)
        return self.show(run_job(self.compute(obj)))

    def segmentation(self, obj: int | None = None) -> Segmentation | None:
        """The mask shown for an object, or None."""
        return self._shown.get(self.active if obj is None else obj)

    def mask(self, obj: int | None = None) -> npt.NDArray[np.bool_]:
        """The mask of an object on the whole grid; empty if there is none yet."""
        shown = self.segmentation(obj)
        return np.zeros(self.image.grid, dtype=bool) if shown is None else shown.on_grid()

    def probability(self, obj: int | None = None) -> Probability | None:
        """The probabilities, at the image's own voxels, that an object's mask was cut from; None if there are none."""
        shown = self.segmentation(obj)
        return None if shown is None or shown.probability is None else self._in_detail(shown.probability)

    def commit(
        self, target: npt.NDArray[Any], label: int | None = None, *, name: str = "", overwrite: bool = False
    ) -> Commit:
        """Write the active object into a label array and turn to the next object, as one undoable step.

        See :func:`voxelsmith.segment.commit.plan_commit`.
        """
        shown = self.segmentation()
        if shown is None or not shown.mask.any():
            raise PromptError("There is no mask to accept yet; prompt the object first.")
        if shown.request.prompts is not self.prompts[self.active]:
            raise PromptError("The mask does not answer the latest prompts yet; compute it first.")
        commit = plan_commit(target, shown, label, name=name, overwrite=overwrite)
        if not commit.count:
            raise PromptError("Every voxel of the mask already carries a label; allow overwriting to replace it.")
        commit.apply()
        self._push(CommitStep(self.active, commit))
        self.active = self._next_object()
        self._thresholds.pop(self.active, None)
        return commit

    def _next_object(self) -> int:
        committed = [s.obj for s in self._steps[: self._at] if isinstance(s, CommitStep)]
        return max([self.active, *self.prompts.objects, *committed]) + 1

    def _push(self, step: Step) -> None:
        self._steps[self._at :] = [step]
        self._at += 1

    @property
    def can_undo(self) -> bool:
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        return self._at < len(self._steps)

    def undo(self) -> Step | None:
        """Take back the last step; returns it, or None when there is none.

        After a prompt step call :meth:`refresh`, and :meth:`compute` if no mask is known.
        """
        if not self.can_undo:
            return None
        self._at -= 1
        step = self._steps[self._at]
        if isinstance(step, CommitStep):
            step.commit.revert()
        else:
            self.prompts.undo()
        self.active = step.obj
        return step

    def redo(self) -> Step | None:
        """Do the last undone step again; returns it, or None when there is none."""
        if not self.can_redo:
            return None
        step = self._steps[self._at]
        self._at += 1
        self.active = step.obj
        if isinstance(step, CommitStep):
            step.commit.apply()
            self.active = self._next_object()
        else:
            self.prompts.redo()
        return step
