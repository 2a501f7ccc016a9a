"""The training-free engine: brightness, position and clicks, settled by a random walk.

Owns the first engine behind :class:`~voxelsmith.segment.session.PromptSession`. It needs no weights: it zooms on the
region that the prompts span, fits object and background brightness in turns with a random walker (as GrabCut does with
a graph cut), lets each click bend the result over the tissue that it reaches, and settles the surface at full
resolution. It stays as the baseline that learned models must beat, and as the engine when none is installed.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Box, Grid, MaskPrompt, ObjectPrompts, Point, Scribble
from voxelsmith.core.volume import Volume
from voxelsmith.segment.engine import PromptRequest, Segmentation, check_request, keep_promises
from voxelsmith.segment.evidence import BoolArray, FloatArray
from voxelsmith.segment.extent import search_box
from voxelsmith.segment.scene import Scene, Settings, finite, strokes_of
from voxelsmith.segment.surface import settle_surface
from voxelsmith.segment.zoom import Region


class TrainingFreeEngine:
    """Prompted segmentation without training; see the module's paragraph.

    Parameters
    ----------
    settings
        Parameters; the defaults are tuned.
    """

    name = "training-free"
    title = "Training-free random walk"
    accepts = frozenset({Point, Box, Scribble, MaskPrompt})

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()

    def segment(self, request: PromptRequest) -> Job[Segmentation]:
        """Answer one request, as a job of a handful of steps."""
        check_request(request, self)
        image, prompts, s = request.image, request.prompts, self.settings
        earlier = prompts.mask
        boxes = [b.clipped(image.grid) for b in prompts.boxes]
        if earlier is not None:
            boxes.append(earlier.box)
        box = reduce(Box.union, boxes) if boxes else (yield from search_box(image, prompts, s))
        region = Region.over(surroundings(box, prompts, image.grid, s.margin), image.spacing, s.working_voxels)
        start = None if earlier is None else crop_of(earlier, region)
        strokes = strokes_of(prompts, region)
        if start is not None and not strokes:
            return Segmentation.cropped(request, region.box, start, self.name)
        yield Progress(0, 3 + len(strokes), "Fitting brightness")
        working = finite(region.shrink(image.array))
        if start is None:
            scene = Scene.in_box(working, region, box, s)
            probability = scene.settle(scene.start(), s.rounds)
        else:
            share = region.average(start)
            scene = Scene.from_mask(working, region, share, box, s)
            probability = share
        for done, stroke in enumerate(strokes):
            yield Progress(1 + done, 3 + len(strokes), "Following the clicks")
            probability = scene.correct(stroke, probability)
        if start is None:
            probability = scene.tidy(probability)
        yield Progress(1 + len(strokes), 3 + len(strokes), "Settling the surface")
        mask = _at_full_resolution(image, region, scene, probability, start)
        keep_promises(mask, region.box, prompts)
        return Segmentation.cropped(request, region.box, mask, self.name)


def surroundings(box: Box, prompts: ObjectPrompts, grid: Grid, margin: float) -> Box:
    """The region to work on: the box and every positive click, with surroundings to compare with."""
    out = box.grown(np.maximum(margin * np.array(box.shape) / 2, 2))
    seeds = prompts.seeds(True)
    if len(seeds):
        around = Box(tuple(seeds.min(axis=0).tolist()), tuple(seeds.max(axis=0).tolist()))
        out = out.union(around.grown(np.maximum(0.1 * np.array(box.shape), 2)))
    return out.clipped(grid)


def crop_of(earlier: MaskPrompt, region: Region) -> BoolArray:
    """The earlier mask on the region's box, which holds all of it."""
    out = np.zeros(region.box.shape, dtype=bool)
    at = tuple(slice(a - o, b - o + 1) for a, b, o in zip(earlier.box.lo, earlier.box.hi, region.box.lo, strict=True))
    out[at] = earlier.mask
    return out


def _at_full_resolution(
    image: Volume, region: Region, scene: Scene, probability: FloatArray, start: BoolArray | None
) -> BoolArray:
    """The mask on the region's box; away from the clicks an earlier mask stays as it was."""
    level = scene.threshold(probability) if start is None else 0.5
    mask = np.empty(region.box.shape, dtype=bool)
    plane = mask[0].size
    width = 0.0 if region.is_full else _band_width(_certainty(probability, level), region, scene.settings)
    index = np.int32 if mask.size <= np.iinfo(np.int32).max else np.int64
    band, doubt = [np.empty(0, dtype=index)], [np.empty(0, dtype=np.float32)]
    for part, slab in region.expand(probability):
        certainty = _certainty(slab, level)
        mask[part] = certainty > 0
        near = np.flatnonzero(np.abs(certainty) < width)
        band.append((near + part.start * plane).astype(index))
        doubt.append(certainty.ravel()[near])
    settle_surface(
        mask,
        np.concatenate(band),
        (np.concatenate(doubt) / 2 + 0.5).astype(np.float32),
        np.asarray(image.array[region.box.slices]),
        scene.appearance.normalise,
        image.spacing,
        contrast=scene.settings.edge_contrast,
        hold=scene.settings.surface_hold,
    )
    if start is not None:
        for part, slab in region.expand(scene.reached):
            mask[part] = np.where(slab > 0.1, mask[part], start[part])
    return mask


def _certainty(probability: FloatArray, level: float) -> FloatArray:
    """How sure a voxel is of its side: -1 certain background, 0 on the surface, 1 certain object."""
    span = np.where(probability < level, np.float32(level), np.float32(1 - level))
    certainty: FloatArray = np.divide(probability - np.float32(level), span, dtype=np.float32)
    return certainty


def _band_width(certainty: FloatArray, region: Region, settings: Settings) -> float:
    """Certainty below which voxels are solved again: the set one, or less to stay within the number of voxels."""
    affordable = int(settings.surface_voxels / np.prod(region.factors))
    doubts = np.abs(certainty).ravel()
    if affordable >= doubts.size:
        return settings.surface_width
    return min(settings.surface_width, float(np.partition(doubts, affordable)[affordable]))
