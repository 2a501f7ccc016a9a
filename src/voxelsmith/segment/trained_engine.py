"""The trained engine: a network of the user's own makes the first proposal, and clicks correct it.

Owns how prompts pick an object out of what a trained network finds. The network looks at the whole image once; a
search that was broken off goes on with the next request. The first prompts say which class is meant and which pieces of
it: those that a click or scribble touches, and what lies in a box. All other clicks and scribbles correct these pieces
as they correct an earlier mask, which is another engine's work. Where the network finds nothing, that engine answers
alone, and a note says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.progress import Job
from voxelsmith.core.prompts import Box, MaskPrompt, ObjectPrompts, Point, Prompt, Scribble
from voxelsmith.core.volume import Volume
from voxelsmith.segment.engine import Engine, Probability, PromptRequest, Segmentation, check_request
from voxelsmith.segment.proposal import Proposal
from voxelsmith.segment.trained import TrainedModel, apply
from voxelsmith.segment.training_free import TrainingFreeEngine, surroundings
from voxelsmith.segment.zoom import Region

if TYPE_CHECKING:
    from voxelsmith.models.device import DeviceName

BoolArray = npt.NDArray[np.bool_]

_MARGIN = 0.2
_NOTHING = "{} finds nothing there, so the answer is that of {}."


@dataclass(frozen=True, eq=False)
class _Pieces:
    """What the prompts pick out of an answer.

    Parameters
    ----------
    box
        Around the pieces, in the image.
    mask : bool array of the box's shape
    channel
        Their class, as a channel of the answer.
    """

    box: Box
    mask: BoolArray
    channel: int


class TrainedEngine:
    """Prompted segmentation by a network that was trained in the application; see the module's paragraph.

    Parameters
    ----------
    model
        The network.
    name
        What the engine is called; different models want different names.
    device
        Where the network computes.
    corrector
        Takes in clicks; it must read earlier masks.
    """

    accepts = frozenset({Point, Box, Scribble})

    def __init__(
        self, model: TrainedModel, name: str = "", device: DeviceName = "auto", corrector: Engine | None = None
    ) -> None:
        self.name = name or f"trained {model.name}"
        self.title = f"Trained: {model.name}"
        self._model, self._device = model, device
        self._corrector = corrector or TrainingFreeEngine()
        self._image: ref[Volume] | None = None
        self._search: Job[Proposal] | None = None
        self._found: Proposal | None = None

    def segment(self, request: PromptRequest) -> Job[Segmentation]:
        """Answer one request, as a job; the first one for an image takes as long as applying the model does."""
        check_request(request, self)
        found = yield from self._whole(request.image)
        prompts = request.prompts
        pieces = _picked(found, prompts, request.image)
        if pieces is None:
            answer = yield from self._corrector.segment(request)
            notes = (_NOTHING.format(self._model.name, self._corrector.title), *found.notes)
            return replace(answer, engine=self.name, note=" ".join(notes))
        wanted = _corrections(pieces, prompts)
        corrected: Segmentation | None = None
        if wanted:
            start = MaskPrompt(pieces.mask, pieces.box.lo)
            corrected = yield from self._corrector.segment(
                PromptRequest(request.image, ObjectPrompts((start, *wanted)), request.obj)
            )
        probability = _probability(found, pieces, corrected, prompts, request.image)
        return replace(Segmentation.cut(request, probability, self.name), note=" ".join(found.notes))

    def _whole(self, image: Volume) -> Job[Proposal]:
        """What the network finds in an image, searched once."""
        if self._image is None or self._image() is not image:
            self._found, self._search = None, apply(self._model, image, self._device)
            # Whoever closes an image need not wait for the engine to forget it.
            self._image = ref(image, self._forget)
        while self._found is None:
            assert self._search is not None
            try:
                progress = next(self._search)
            except StopIteration as end:
                self._found, self._search = end.value, None
            except Exception:
                self._image = None
                raise
            else:
                yield progress
        return self._found

    def _forget(self, gone: ref[Volume]) -> None:
        if self._image is gone:
            self._found = self._image = None


def _picked(found: Proposal, prompts: ObjectPrompts, image: Volume) -> _Pieces | None:
    """The pieces of a class that the prompts mean; None if there is nothing where they point."""
    labels = np.asarray(found.labels.array)
    boxes = [box.clipped(image.grid) for box in prompts.boxes]
    seeds = prompts.seeds(True)
    pointed = [labels[box.slices].ravel() for box in boxes] if boxes else [labels[tuple(seeds.T)]]
    counts = np.bincount(np.concatenate(pointed), minlength=2)
    counts[0] = 0
    if not counts.any():
        return None
    value = int(counts.argmax())
    of_class = labels == value
    around = Box.around(of_class)
    parts, _ = ndimage.label(of_class[around.slices])
    inside = seeds[((seeds >= around.lo) & (seeds <= around.hi)).all(axis=1)] - around.lo
    touched = np.unique(parts[tuple(inside.T)])
    chosen = np.isin(parts, touched[touched > 0])
    for box in boxes:
        at = _within(around, box)
        chosen[at] |= parts[at] > 0
    tight = Box.around(chosen)
    whole = Box(*(tuple(np.add(corner, around.lo).tolist()) for corner in (tight.lo, tight.hi)))
    return _Pieces(whole, chosen[tight.slices], found.classes.index(value))


def _corrections(pieces: _Pieces, prompts: ObjectPrompts) -> tuple[Prompt, ...]:
    """Clicks and scribbles that the pieces do not answer yet."""
    return tuple(p for p in prompts.prompts if isinstance(p, Point | Scribble) and not _kept(pieces, p))


def _kept(pieces: _Pieces, prompt: Point | Scribble) -> bool:
    """Whether all voxels of a prompt lie on the side that it asks for."""
    voxels = np.array([prompt.voxel]) if isinstance(prompt, Point) else prompt.voxels
    near = ((voxels >= pieces.box.lo) & (voxels <= pieces.box.hi)).all(axis=1)
    inside = np.zeros(len(voxels), bool)
    inside[near] = pieces.mask[tuple((voxels[near] - pieces.box.lo).T)]
    return bool((inside == prompt.positive).all())


def _probability(
    found: Proposal, pieces: _Pieces, corrected: Segmentation | None, prompts: ObjectPrompts, image: Volume
) -> Probability:
    """The network's probabilities around the pieces, none where other pieces lie, and certainty where clicks reached.

    Cut at one half it is the pieces, or what the clicks made of them.
    """
    box = surroundings(pieces.box, prompts, image.grid, _MARGIN)
    if corrected is not None and corrected.mask.any():
        box = box.union(corrected.box)
    values: npt.NDArray[Any] = found.probabilities[(pieces.channel, *box.slices)].copy()
    start = np.zeros(box.shape, bool)
    start[_within(box, pieces.box)] = pieces.mask
    open_to = np.asarray(found.labels.array)[box.slices] == 0
    if prompts.boxes:
        drawn = np.zeros(box.shape, bool)
        for one in prompts.boxes:
            drawn[_within(box, one)] = True
        open_to &= drawn
    values[~(open_to | start)] = 0
    if corrected is not None:
        after = np.zeros(box.shape, bool)
        after[_within(box, corrected.box)] = corrected.mask
        changed = after != start
        values[changed] = after[changed]
    return Probability(Region(box, box.shape, np.ones(3), image.spacing), values)


def _within(outer: Box, inner: Box) -> tuple[slice, ...]:
    """Where a box lies in another one, as far as it does."""
    lo = np.maximum(np.subtract(inner.lo, outer.lo), 0)
    hi = np.minimum(np.subtract(inner.hi, outer.lo) + 1, outer.shape)
    return tuple(slice(int(a), max(int(a), int(b))) for a, b in zip(lo, hi, strict=True))
