"""The promptable engine: the embedded network behind a session.

Owns the order in which prompts become answers. The first prompt gives a region and a first answer; each click or
scribble bends the last answer and has the network answer again, on the whole region first and closer where its surface
lies. The result depends on the prompts and their order alone: answers to the first prompts of a longer list are kept,
so that one more click costs one more answer, but they are the same when computed anew.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Box, MaskPrompt, ObjectPrompts, Point, Prompt, Scribble
from voxelsmith.core.volume import Volume
from voxelsmith.segment.engine import Probability, PromptRequest, Segmentation, check_request
from voxelsmith.segment.extent import search_box
from voxelsmith.segment.network import Network, shipped_network
from voxelsmith.segment.prompted_region import MARGIN, PromptedRegion
from voxelsmith.segment.scene import Settings, finite, strokes_of
from voxelsmith.segment.training_free import crop_of, surroundings
from voxelsmith.segment.windows import Windows, fine_region
from voxelsmith.segment.zoom import FloatArray, Region

if TYPE_CHECKING:
    from voxelsmith.models.device import DeviceName

_VOXELS = 262_144
_FINE_VOXELS = 1_400_000
_KEPT = 12
_VIEWS = 3
_SEARCH = Settings()
_SEARCH_VOXELS = 64_000
_REFOCUS = 2
_SAME = 0.8


class _View:
    """A region of an image as the network sees it for one object, and the answers given in it so far."""

    def __init__(self, image: Volume, first: tuple[Prompt, ...], box: Box, region: Region, *, fine: bool) -> None:
        self.image, self.first, self.box = image, first, box
        self.region = region
        earlier = next((p for p in reversed(first) if isinstance(p, MaskPrompt)), None)
        self.drawn = any(isinstance(p, Box) for p in first)
        working = finite(region.shrink(image.array))
        self.earlier = None if earlier is None else region.average(crop_of(earlier, region))
        self.start = PromptedRegion(working, region, box, shown=self.drawn, start=self.earlier)
        self.windows: Windows | None = None
        finer = fine_region(region, image.spacing, _FINE_VOXELS) if fine else None
        if finer is not None:
            closer = finite(finer.shrink(image.array))
            self.windows = Windows(closer, finer, self.start.contrast, box if self.drawn else None)
        self.answers: OrderedDict[tuple[Prompt, ...], PromptedRegion] = OrderedDict()

    def matches(self, image: Volume, first: tuple[Prompt, ...], box: Box) -> bool:
        """Whether this view is that of an object's first prompts, on the region that all its prompts need."""
        return self.image is image and self.first == first and self.region.box == box

    def coarse(self, strokes: tuple[Prompt, ...], network: Network) -> Job[FloatArray]:
        """The answer on the working grid, as a job; answers to the first of the strokes are not asked for again."""
        known = next((n for n in range(len(strokes), -1, -1) if strokes[:n] in self.answers), None)
        if known is None:
            # A click without a box is answered together with what it says about the object's place.
            alone = self.drawn or self.earlier is not None or not strokes
            state, known = self.start.branch(), 0
            if alone:
                yield Progress(0, 1 + len(strokes), "Asking the network")
                if self.earlier is None:
                    state.take(network(state.inputs()))
                self._keep((), state)
        else:
            state = self.answers[strokes[:known]].branch()
        for n in range(known, len(strokes)):
            yield Progress(n - known, len(strokes) - known, "Following the clicks")
            for stroke in strokes_of(ObjectPrompts((strokes[n],)), self.region):
                state.add(stroke)
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
    title = "Voxelsmith promptable network"
    accepts = frozenset({Point, Box, Scribble, MaskPrompt})

    def __init__(self, network: Network | None = None, device: DeviceName = "auto") -> None:
        self._network, self._device = network, device
        self._views: list[_View] = []
        self._extents: list[tuple[Volume, Prompt, Box]] = []

    def segment(self, request: PromptRequest) -> Job[Segmentation]:
        """Answer one request, as a job."""
        check_request(request, self)
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
        view = self._view(image, first, box, surroundings(box, prompts, image.grid, MARGIN))
        values = yield from view.coarse(strokes, network)
        region = view.region
        if view.windows is not None and (strokes or view.earlier is None):
            region = view.windows.region
            coarse = _onto(values, view.region, region)
            values = yield from view.windows.refine(coarse, strokes_of(prompts, region), network)
        return Segmentation.cut(request, Probability(region, values.astype(np.float16)), self.name)

    def _view(self, image: Volume, first: tuple[Prompt, ...], box: Box, around: Box) -> _View:
        view = next((v for v in self._views if v.matches(image, first, around)), None)
        if view is None:
            view = _View(image, first, box, Region.over(around, image.spacing, _VOXELS), fine=True)
            self._views = [*self._views[1 - _VIEWS :], view]
        return view

    def _extent(self, image: Volume, click: Prompt, network: Network) -> Job[Box]:
        """The box of an object that has no box: a search by brightness, then the extent of what the network finds."""
        known = next((box for at, clicked, box in self._extents if at is image and clicked == click), None)
        if known is not None:
            return known
        prompts = ObjectPrompts((click,))
        box = yield from search_box(image, prompts, _SEARCH)
        for _ in range(_REFOCUS):
            region = Region.over(surroundings(box, prompts, image.grid, MARGIN), image.spacing, _SEARCH_VOXELS)
            view = _View(image, (click,), box, region, fine=False)
            found = _extent_of((yield from view.coarse((click,), network)), click, region)
            if found is None or _overlap(found, box) > _SAME:
                break
            box = found
        self._extents = [*self._extents[1 - _VIEWS :], (image, click, box)]
        return box


def _onto(values: FloatArray, coarse: Region, fine: Region) -> FloatArray:
    """Values of one working grid, interpolated onto a finer one over the same box."""
    grid = Box((0, 0, 0), (fine.grid[0] - 1, fine.grid[1] - 1, fine.grid[2] - 1))
    between = Region(grid, coarse.grid, np.array(fine.grid) / coarse.grid, coarse.spacing)
    out = np.empty(fine.grid, dtype=np.float32)
    for part, slab in between.expand(values):
        out[part] = slab
    return np.clip(out, 0, 1)


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
