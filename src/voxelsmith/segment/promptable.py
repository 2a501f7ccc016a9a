"""The promptable engine: the embedded network behind a session.

Owns the order in which prompts become answers. The first prompt gives a region and a first answer; each click or
scribble bends the last answer and has the network answer again, on the whole region first and closer where its surface
lies. The result depends on the prompts and their order alone: answers to the first prompts of a longer list are kept,
so that one more click costs one more answer, but they are the same when computed anew.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import reduce
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Box, MaskPrompt, ObjectPrompts, Point, Prompt, Scribble
from voxelsmith.core.volume import Volume
from voxelsmith.segment.engine import Probability, PromptRequest, Segmentation, check_request
from voxelsmith.segment.evidence import BoolArray
from voxelsmith.segment.extent import search_box
from voxelsmith.segment.network import Network, shipped_network
from voxelsmith.segment.prompted_region import MARGIN, PromptedRegion
from voxelsmith.segment.scene import Settings, finite, strokes_of
from voxelsmith.segment.training_free import crop_of, surroundings
from voxelsmith.segment.windows import Windows, fine_region
from voxelsmith.segment.zoom import FloatArray, Region

if TYPE_CHECKING:
    from voxelsmith.models.device import DeviceName

_VOXELS = 96_000
_FINE_VOXELS = 500_000
_KEPT = 12
_VIEWS = 3
_SEARCH = Settings()
_SEARCH_VOXELS = 64_000
_REFOCUS = 2
_SAME = 0.8
_REACHED = 0.1


class _View:
    """A region of an image as the network sees it for one object, and the answers given in it so far."""

    def __init__(self, image: Volume, first: tuple[Prompt, ...], region: Region) -> None:
        # Whoever closes an image need not wait for the engine to forget it.
        self.image = ref(image)
        self.first, self.region = first, region
        self.drawn = [p for p in first if isinstance(p, Box)]
        self.earlier: BoolArray | None = None
        self.start: PromptedRegion
        self.windows: Windows | None = None
        self.answers: OrderedDict[tuple[Prompt, ...], PromptedRegion] = OrderedDict()

    @classmethod
    def opened(cls, image: Volume, first: tuple[Prompt, ...], box: Box, region: Region, *, fine: bool) -> Job[_View]:
        """Read the region and make the first guess, as a job; ``fine`` is for those that will be looked at closer."""
        view = cls(image, first, region)
        yield Progress(0, 3, "Reading the region")
        working = finite(region.shrink(image.array))
        mask = next((p for p in reversed(first) if isinstance(p, MaskPrompt)), None)
        view.earlier = None if mask is None else crop_of(mask, region)
        start = None if view.earlier is None else region.average(view.earlier)
        yield Progress(1, 3, "Making a first guess")
        view.start = PromptedRegion(working, region, box, drawn=view.drawn, start=start)
        finer = fine_region(region, image.spacing, _FINE_VOXELS) if fine else None
        if finer is not None:
            yield Progress(2, 3, "Reading the region closer")
            closer = finite(finer.shrink(image.array))
            view.windows = Windows(closer, finer, view.start.contrast, view.drawn)
        return view

    def matches(self, image: Volume, first: tuple[Prompt, ...], box: Box) -> bool:
        """Whether this view is that of an object's first prompts, on the region that all its prompts need."""
        return self.image() is image and self.first == first and self.region.box == box

    def answer(self, prompts: ObjectPrompts, strokes: tuple[Prompt, ...], network: Network) -> Job[Probability]:
        """The answer as finely as it is computed, as a job; away from the clicks an earlier mask stays as it was."""
        if self.earlier is not None and not strokes:
            return self._at_full_resolution(self.earlier)
        region, values = self.region, (yield from self.coarse(strokes, network))
        if self.windows is not None:
            region = self.windows.region
            coarse = _onto(values, self.region, region)
            values = yield from self.windows.refine(coarse, strokes_of(prompts, region), network)
        if self.earlier is None:
            return Probability(region, values.astype(np.float16))
        reach = Probability(self.region, self.answers[strokes].reach()).dense()
        return self._at_full_resolution(np.where(reach > _REACHED, Probability(region, values).dense(), self.earlier))

    def _at_full_resolution(self, values: npt.NDArray[Any]) -> Probability:
        box = self.region.box
        full = Region(box, box.shape, np.ones(3), self.region.spacing / self.region.factors)
        return Probability(full, values.astype(np.float16))

    def coarse(self, strokes: tuple[Prompt, ...], network: Network) -> Job[FloatArray]:
        """The answer on the working grid, as a job; answers to the first of the strokes are not asked for again."""
        known = next((n for n in range(len(strokes), -1, -1) if strokes[:n] in self.answers), None)
        if known is None:
            state, known = self.start.branch(), 0
            # A click without a box or mask has no answer before it.
            if self.drawn or self.earlier is not None:
                yield Progress(0, 1 + len(strokes), "Asking the network")
                if self.earlier is None:
                    state.take(network(state.inputs()))
                self._keep((), state)
                state = state.branch()
        else:
            state = self.answers[strokes[:known]].branch()
        for n in range(known, len(strokes)):
            yield Progress(n - known, len(strokes) - known, "Following the clicks")
            touching = strokes_of(ObjectPrompts((strokes[n],)), self.region)
            for stroke in touching:
                state.add(stroke)
            if touching:
                state.take(network(state.inputs()))
            self._keep(strokes[: n + 1], state)
            state = state.branch()
        return self.answers[strokes].guess

    def _keep(self, strokes: tuple[Prompt, ...], state: PromptedRegion) -> None:
        self.answers[strokes] = state
        if len(self.answers) > _KEPT:
            self.answers.popitem(last=False)


class PromptableEngine:
    """Prompted segmentation by the embedded network; see the module's paragraph.

    Parameters
    ----------
    network
        What answers; default the shipped one, loaded at the first request.
    device
        Where the shipped one computes: "auto", "cpu", "cuda" or "mps".
    """

    name = "promptable"
    title = "Promptable network"
    accepts = frozenset({Point, Box, Scribble, MaskPrompt})

    def __init__(self, network: Network | None = None, device: DeviceName = "auto") -> None:
        self._network, self._device = network, device
        self._views: list[_View] = []
        self._extents: list[tuple[ref[Volume], Prompt, Box]] = []

    def segment(self, request: PromptRequest) -> Job[Segmentation]:
        """Answer one request, as a job."""
        check_request(request, self)
        yield Progress(0, 1, "Loading the network")
        network = self._network or shipped_network(self._device)
        image, prompts = request.image, request.prompts
        strokes = tuple(p for p in prompts.prompts if isinstance(p, Point | Scribble))
        whole = [p for p in prompts.prompts if isinstance(p, Box | MaskPrompt)]
        if whole:
            first: tuple[Prompt, ...] = tuple(whole)
            box = reduce(Box.union, (p.box if isinstance(p, MaskPrompt) else p.clipped(image.grid) for p in whole))
        else:
            first = (next(p for p in strokes if p.positive),)
            box = yield from self._extent(image, first[0], network)
        view = yield from self._view(image, first, box, surroundings(box, prompts, image.grid, MARGIN))
        probability = yield from view.answer(prompts, strokes, network)
        return Segmentation.cut(request, probability, self.name)

    def _view(self, image: Volume, first: tuple[Prompt, ...], box: Box, around: Box) -> Job[_View]:
        alive = [view for view in self._views if view.image() is not None]
        view = next((v for v in alive if v.matches(image, first, around)), None)
        if view is None:
            region = Region.over(around, image.spacing, _VOXELS)
            view = yield from _View.opened(image, first, box, region, fine=True)
        # The one used last is forgotten last.
        self._views = [*[v for v in alive if v is not view][1 - _VIEWS :], view]
        return view

    def _extent(self, image: Volume, click: Prompt, network: Network) -> Job[Box]:
        """The box of an object that has no box: a search by brightness, then the extent of what the network finds."""
        known = next((box for at, clicked, box in self._extents if at() is image and clicked == click), None)
        if known is not None:
            return known
        prompts = ObjectPrompts((click,))
        box = yield from search_box(image, prompts, _SEARCH)
        for _ in range(_REFOCUS):
            region = Region.over(surroundings(box, prompts, image.grid, MARGIN), image.spacing, _SEARCH_VOXELS)
            view = yield from _View.opened(image, (click,), box, region, fine=False)
            found = _extent_of((yield from view.coarse((click,), network)), click, region)
            if found is None or _overlap(found, box) > _SAME:
                break
            box = found
        self._extents = [*self._extents[1 - _VIEWS :], (ref(image), click, box)]
        return box


def _onto(values: FloatArray, coarse: Region, fine: Region) -> FloatArray:
    """Values of one working grid, interpolated onto a finer one over the same box."""
    grid = Box((0, 0, 0), (fine.grid[0] - 1, fine.grid[1] - 1, fine.grid[2] - 1))
    between = Region(grid, coarse.grid, np.array(fine.grid) / coarse.grid, coarse.spacing)
    return np.clip(between.dense(values), 0, 1)


def _extent_of(probability: FloatArray, click: Prompt, region: Region) -> Box | None:
    """The image voxels that the part of an answer around a click spans; None if the click lies in no part."""
    parts, _ = ndimage.label(probability > 0.5)
    touched = {int(n) for s in strokes_of(ObjectPrompts((click,)), region) for n in parts[tuple(s.voxels.T)]} - {0}
    mask = np.isin(parts, list(touched))
    return region.covered(Box.around(mask)) if mask.any() else None


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    shared = np.minimum(one.hi, other.hi) - np.maximum(one.lo, other.lo) + 1
    both = float(np.prod(np.clip(shared, 0, None)))
    return both / float(np.prod(one.shape) + np.prod(other.shape) - both)
