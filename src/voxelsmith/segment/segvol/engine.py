"""The SegVol engine: zoom out, then zoom in, with the published weights.

Owns the order in which prompts become answers: the whole image at the network's size first, handed on as a preview,
then the voxels where that answer is. What was read of the last images and what the encoder made of their views is kept,
so that a further click costs only decoding. An answer depends on the image, the prompts and the weights alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING
from weakref import ref

import numpy as np

from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Box, Point, Scribble, TextPrompt
from voxelsmith.core.volume import Volume
from voxelsmith.segment.engine import Probability, PromptRequest, Segmentation, check_request
from voxelsmith.segment.segvol import official as published
from voxelsmith.segment.segvol.caches import Embeddings
from voxelsmith.segment.segvol.caution import caution
from voxelsmith.segment.segvol.network import SegVolNetwork, load_network
from voxelsmith.segment.segvol.preprocess import Prepared, prepare
from voxelsmith.segment.segvol.prompts import CropPrompts
from voxelsmith.segment.segvol.resize import covered, smooth, zoomed_out
from voxelsmith.segment.segvol.zoom_in import Logits, zoom_in
from voxelsmith.segment.zoom import FloatArray, Region

if TYPE_CHECKING:
    from voxelsmith.models.device import DeviceName

_IMAGES = 2
_FAINT = -4.6
_CERTAIN = 30


class SegVolEngine:
    """Prompted segmentation of CT by points, scribbles, boxes and words; see the module's paragraph.

    Parameters
    ----------
    network
        What answers; default the published one, loaded at the first request.
    device
        Where the published one computes: "auto", "cpu", "cuda" or "mps".
    official
        Do exactly what the published code does: the stored order of the axes and its zoom-in. Its name is another one.
    """

    name = "segvol"
    title = "SegVol"
    accepts = frozenset({Point, Box, Scribble, TextPrompt})

    def __init__(
        self, network: SegVolNetwork | None = None, device: DeviceName = "auto", official: bool = False
    ) -> None:
        self._network, self._device, self._official = network, device, official
        if official:
            self.name, self.title = "segvol-official", "SegVol as published"
        self._images: list[tuple[ref[Volume], Prepared]] = []
        self._embeddings = Embeddings()

    def segment(self, request: PromptRequest) -> Job[Segmentation]:
        """Answer one request, as a job; it reports the coarse answer as a partial result."""
        check_request(request, self)
        yield Progress(0, 0, "Reading the image")
        image = self._prepared(request.image)
        yield Progress(0, 0, "Loading SegVol")
        network = self._network or load_network(self._device)
        texts = request.prompts.texts
        text = network.text(texts[-1].text.strip()) if texts else None
        prompts = CropPrompts.of(request.prompts, image, text)
        asked = prompts.in_view(image.shape)
        if self._official:
            published.check(asked)
        report = Progress(0, 0, "Looking at the whole image")
        yield report
        embedding = yield from self._embeddings.of(zoomed_out(image.crop), network, report)
        yield report
        coarse = network.decode(embedding, asked)
        first = self._answer(request, image, _on_crop(coarse, image))
        yield Progress(0, 0, "Looking closer", partial=first)
        fine: Logits | None
        if self._official:
            logits = yield from published.zoom_in(image.crop, coarse, asked, network, self._embeddings)
            fine = Logits(Box((0, 0, 0), _last(image)), logits)
        else:
            fine = yield from zoom_in(image.crop, coarse, prompts, network, self._embeddings)
        return self._answer(request, image, fine)

    def _answer(self, request: PromptRequest, image: Prepared, logits: Logits | None) -> Segmentation:
        """The segmentation that logits mean, with what the user should know about it."""
        found = Segmentation.cut(request, _probability(request, image, logits), self.name)
        return replace(found, note=caution(request, image.lowest))

    def _prepared(self, image: Volume) -> Prepared:
        """The image as SegVol takes it; whoever closes an image need not wait for the engine to forget it."""
        alive = [(at, known) for at, known in self._images if at() is not None]
        found = next((known for at, known in alive if at() is image), None)
        if found is None:
            found = prepare(image, self._official)
        others = [(at, known) for at, known in alive if known is not found]
        self._images = [*others[1 - _IMAGES :], (ref(image), found)]
        return found


def _on_crop(coarse: FloatArray, image: Prepared) -> Logits | None:
    """The coarse logits at the voxels of the crop, where they are not faint."""
    likely = coarse > _FAINT
    if not likely.any():
        return None
    box = covered(Box.around(likely), image.shape)
    return Logits(box, smooth(coarse, image.shape, box))


def _last(image: Prepared) -> tuple[int, int, int]:
    d, h, w = (n - 1 for n in image.shape)
    return d, h, w


def as_published(device: DeviceName = "auto") -> SegVolEngine:
    """The engine that does exactly what the published code does."""
    return SegVolEngine(device=device, official=True)


def _probability(request: PromptRequest, image: Prepared, logits: Logits | None) -> Probability:
    """What logits mean, in a box around what is not faint and the marks inside the object."""
    seeds = request.prompts.seeds(True)
    boxes = [Box(tuple(seeds.min(axis=0).tolist()), tuple(seeds.max(axis=0).tolist()))] if len(seeds) else []
    likely = None if logits is None else _likely(logits)
    if likely is not None:
        own = image.source_box(likely.box)
        boxes.append(own)
    box = reduce(Box.union, boxes) if boxes else Box((0, 0, 0), (0, 0, 0))
    values = np.zeros(box.shape, dtype=np.float16)
    if likely is not None:
        place = tuple(slice(a - o, b - o + 1) for a, b, o in zip(own.lo, own.hi, box.lo, strict=True))
        values[place] = image.axes.back(1 / (1 + np.exp(-np.clip(likely.values, -_CERTAIN, _CERTAIN))))
    return Probability(Region(box, box.shape, np.ones(3), request.image.spacing), values)


def _likely(logits: Logits) -> Logits | None:
    """The part around what is not faint; None if all is."""
    mask = logits.values > _FAINT
    if not mask.any():
        return None
    inner = Box.around(mask)
    lo, hi = (np.add(corner, logits.box.lo).tolist() for corner in (inner.lo, inner.hi))
    return Logits(Box(tuple(lo), tuple(hi)), logits.values[inner.slices])
