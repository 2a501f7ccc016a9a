"""Extent: how large is the object that somebody clicked on?

Owns the search for a box when there are only clicks or scribbles. It tries boxes of growing size around them, segments
each at low resolution, and keeps the size whose mask looks most like an object: a strong and closed step of brightness
at its surface, uniform inside, not cut off by the box.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Box, ObjectPrompts, Point, Scribble
from voxelsmith.core.volume import Volume
from voxelsmith.segment.evidence import BoolArray, FloatArray
from voxelsmith.segment.scene import Scene, Settings, finite, strokes_of
from voxelsmith.segment.zoom import Region

# Half-sizes tried, as shares of the image's longest side, largest first.
_SHARES = (1 / 3.5, 1 / 5, 1 / 7, 1 / 10, 1 / 14, 1 / 20, 1 / 28, 1 / 40, 1 / 60)
_VOXELS = 15_000
_KNOTS = 65
# Weights of what _describe tells, fitted to choose the size with the best Dice on the cases of benchmarks/prompts.py.
_WEIGHTS = np.array([4.88, 34.3, -4.74, -20.6, 0.88, -0.35, 1.0, -0.093, -19.0])
_WRONG_CLICK = 6.0


def search_box(image: Volume, prompts: ObjectPrompts, settings: Settings) -> Job[Box]:
    """Find a box for an object that has only clicks and scribbles, as a job.

    The first positive one decides, so that later corrections act on a region that stays.

    Parameters
    ----------
    image
        A 3-D volume.
    prompts
        At least one positive click or scribble.
    settings
        Parameters of the engine; the search works on fewer voxels.

    Returns
    -------
    Box
        The box that the best mask fills.
    """
    prompts = ObjectPrompts((next(p for p in prompts.prompts if isinstance(p, Point | Scribble) and p.positive),))
    coarse = replace(settings, working_voxels=_VOXELS, rounds=3)
    best: tuple[float, Box] | None = None
    scale: BrightnessScale | None = None
    longest = _longest_mm(image)
    boxes = list(_candidates(prompts, image))
    for done, box in enumerate(boxes):
        yield Progress(done, len(boxes), "Finding the object's size")
        around = box.grown(np.maximum(np.array(box.shape) / 4, 2)).clipped(image.grid)
        region = Region.over(around, image.spacing, _VOXELS)
        try:
            working = finite(region.shrink(image.array))
        except InputError:
            continue  # Nothing to tell apart at this size; a larger one was tried before.
        # Brightness counts on the scale of the widest surroundings, so that noise in a small box wins nothing.
        scale = scale or BrightnessScale(working)
        mask, score = _try(working, region, box, prompts, coarse, scale, longest)
        if best is None or score > best[0]:
            best = (score, region.covered(Box.around(mask)) if mask.any() else box)
    if best is None:
        raise InputError("The image is constant around the clicks; there is nothing to segment there.")
    return best[1]


class BrightnessScale:
    """Units of brightness taken from one image: its standard deviation and its quantiles."""

    def __init__(self, image: FloatArray) -> None:
        self._unit = float(image.std(dtype=np.float64))
        self._quantiles = np.unique(np.quantile(image, np.linspace(0, 1, _KNOTS)))

    def deviations(self, image: FloatArray) -> FloatArray:
        """Brightness in standard deviations."""
        return image / self._unit

    def ranks(self, image: FloatArray) -> FloatArray:
        """Brightness as a quantile, 0 to 1."""
        return np.interp(image, self._quantiles, np.linspace(0, 1, len(self._quantiles))).astype(np.float32)


def _longest_mm(image: Volume) -> float:
    return float((np.array(image.grid) * image.spacing).max())


def _candidates(prompts: ObjectPrompts, image: Volume) -> Iterator[Box]:
    seeds = prompts.seeds(True)
    core = Box(tuple(seeds.min(axis=0).tolist()), tuple(seeds.max(axis=0).tolist()))
    longest = _longest_mm(image)
    seen = set()
    for share in _SHARES:
        half = np.floor(share * longest / image.spacing + 0.5)
        box = core.grown(np.maximum(half, 1)).clipped(image.grid)
        if (half >= 2).any() and box not in seen:
            seen.add(box)
            yield box
    if not seen:
        yield core.grown(2).clipped(image.grid)


def _try(
    working: FloatArray,
    region: Region,
    box: Box,
    prompts: ObjectPrompts,
    settings: Settings,
    scale: BrightnessScale,
    longest_mm: float,
) -> tuple[BoolArray, float]:
    """The connected mask that a candidate box gives, and its score."""
    scene = Scene.in_box(working, region, box, settings)
    probability = scene.settle(scene.start(), settings.rounds)
    strokes = strokes_of(prompts, region)
    for stroke in strokes:
        scene.add(stroke, probability)
    probability = scene.settle(probability, 2)
    parts, _ = ndimage.label(probability > 0.5)
    touched = {int(n) for s in strokes if s.positive for n in parts[tuple(s.voxels.T)]} - {0}
    mask: BoolArray = np.isin(parts, list(touched))
    if not mask.any():
        return mask, -np.inf
    wrong = float(np.mean([np.mean(mask[tuple(s.voxels.T)] != s.positive) for s in strokes]))
    score = float(_WEIGHTS @ _describe(mask, working, scene, scale, longest_mm)) - _WRONG_CLICK * wrong
    return mask, score


def _describe(
    mask: BoolArray, working: FloatArray, scene: Scene, scale: BrightnessScale, longest_mm: float
) -> npt.NDArray[np.float64]:
    """What tells a mask of the right size: its surface, its uniformity, its size and how it fills its box."""
    ranks = scale.ranks(working)
    step, open_share, cut_share = _surface(mask, scale.deviations(working), scene)
    rank_step, _, _ = _surface(mask, ranks, scene)
    size = np.log(scene.scale_mm / longest_mm)
    fill = np.log(np.clip(mask.sum() / scene.inside.sum(), 1e-3, 1.0))
    spread = ranks[mask].std()
    return np.array([min(step, 1.0), rank_step, open_share, cut_share, size, size**2, fill, fill**2, spread])


def _surface(mask: BoolArray, image: FloatArray, scene: Scene) -> tuple[float, float, float]:
    """Of the faces between mask and background: mean step of brightness, how open they are, share cut by the box."""
    step = open_edges = cut = faces = 0.0
    for axis in range(3):
        below = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        above = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        side = mask[below].astype(np.int8) - mask[above]
        at = side != 0
        area = float(scene.spacing.min() / scene.spacing[axis])
        step += area * float((side * (image[below] - image[above]))[at].sum())
        open_edges += float(scene.edges[axis][at].sum()) / area
        cut += area * float(np.count_nonzero(at & (scene.inside[below] != scene.inside[above])))
        faces += area * float(np.count_nonzero(at))
    faces = max(faces, 1e-9)
    return abs(step) / faces, open_edges / faces, cut / faces
