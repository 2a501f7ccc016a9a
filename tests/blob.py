"""Engines that give probabilities, or refuse to be made, for tests; and how to offer them."""

import numpy as np

from voxelsmith.core.errors import ModelUnavailableError
from voxelsmith.core.progress import Progress
from voxelsmith.core.prompts import Box, MaskPrompt, Point, Scribble
from voxelsmith.segment import engine
from voxelsmith.segment.engine import EngineInfo, Probability, Segmentation, check_request
from voxelsmith.segment.zoom import Region

SIGMA = 4.0


class BlobEngine:
    """A Gaussian around the last positive point, or the middle of the last box, in voxels of the image."""

    name = "blob"
    title = "Gaussian blob"
    accepts = frozenset({Point, Box, Scribble, MaskPrompt})

    def __init__(self):
        self.calls = 0

    def segment(self, request):
        check_request(request, self)
        yield Progress(0, 1)
        self.calls += 1
        seeds, boxes = request.prompts.seeds(True), request.prompts.boxes
        centre = seeds[-1] if len(seeds) else (np.array(boxes[-1].lo) + boxes[-1].hi) / 2
        full = Box((0, 0, 0), tuple(n - 1 for n in request.image.grid))
        region = Region.over(full, request.image.spacing, 4000)
        index = np.stack(np.meshgrid(*map(np.arange, region.grid), indexing="ij"), axis=-1)
        distance = np.linalg.norm((index - region.to_working(centre)) * region.factors, axis=-1)
        values = np.exp(-((distance / SIGMA) ** 2) / 2).astype(np.float16)
        return Segmentation.cut(request, Probability(region, values), self.name)


class PointBlobEngine(BlobEngine):
    """The same, for points only."""

    name = "point-blob"
    title = "Point blob"
    accepts = frozenset({Point})


class MissingEngine(BlobEngine):
    """An engine whose weights are not there when it is made."""

    name = "missing"
    title = "Missing model"

    def __init__(self):
        raise ModelUnavailableError("The weights of 'missing' are not here; run voxelsmith weights get missing.")


class EmptyEngine(BlobEngine):
    """An engine whose weights are not there when it is used."""

    name = "empty"
    title = "Empty model"

    def segment(self, request):
        yield Progress(0, 1)
        raise ModelUnavailableError("The weights of 'empty' are not here; run voxelsmith weights get empty.")


def offer(monkeypatch, *engines):
    """Add engines to those that there are."""
    infos = [
        EngineInfo(e.name, e.title, "Round things.", "CC0-1.0", "1 ms a prompt", f"{e.__module__}:{e.__name__}")
        for e in engines
    ]
    monkeypatch.setattr(engine, "_ENGINES", engine._ENGINES | {info.name: info for info in infos})
