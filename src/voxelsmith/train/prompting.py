"""Prompting in training: what a user might say of an object whose mask is known.

Owns the random prompts that the promptable network is trained with: boxes, tight and loose; clicks and scribbles of
both signs, deep and near borders; an earlier mask that is partly wrong; and clicks at the errors of an answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.prompts import Box, ObjectPrompts
from voxelsmith.segment.prompted_region import MARGIN, PromptedRegion
from voxelsmith.segment.scene import Stroke, finite
from voxelsmith.segment.training_free import surroundings
from voxelsmith.segment.zoom import FloatArray, Region
from voxelsmith.train.noise import smooth_noise
from voxelsmith.train.sample import Field, Mask, Vector

_KINDS = ("box", "click", "mask")
_SHARES = (0.6, 0.25, 0.15)
# Few different shapes, since convolutions are compiled for each.
_MULTIPLE = 8


@dataclass(frozen=True, eq=False)
class Episode:
    """One object with its first prompts, ready for a first answer.

    Parameters
    ----------
    region
        The network's view with the first prompts in it.
    target : float16 array, shape ``region.region.grid``
        Share of each working voxel that belongs to the object.
    kind
        What the first prompt was: "box", "click" or "mask".
    """

    region: PromptedRegion
    target: npt.NDArray[np.float16]
    kind: str


def begin(rng: np.random.Generator, image: Field, truth: Mask, spacing: Vector, voxels: int, kind: str = "") -> Episode:
    """Prompt an object for the first time.

    Parameters
    ----------
    rng
        Decides the prompts.
    image, truth : arrays, shape (I, J, K)
        The image and the object's mask, at least one voxel of it.
    spacing
        Voxel size in millimetres.
    voxels
        Size of the working grid.
    kind
        "box", "click" or "mask"; empty for a random one.

    Raises
    ------
    InputError
        If the image is constant around the object.
    """
    kind = kind or str(rng.choice(_KINDS, p=_SHARES))
    tight = Box.around(truth)
    box, click = tight, None
    if kind == "box":
        box = jittered(rng, tight, truth.shape)
    elif kind == "click":
        click = pick(rng, truth, spacing)
        box = misjudged(rng, tight, truth.shape, click)
    around = surroundings(box, ObjectPrompts(), truth.shape, MARGIN)
    if kind == "mask" and rng.random() < 0.5:
        around = window(rng, around, truth, spacing)
    region = Region.over(around, spacing, voxels).rounded(_MULTIPLE)
    working = finite(region.shrink(image))
    target = region.shrink(truth)
    start = corrupted(rng, target) if kind == "mask" else None
    shown = kind == "box" or (kind == "mask" and rng.random() < 0.3)
    prompted = PromptedRegion(working, region, box, drawn=[box] if shown else [], start=start)
    inside = target > 0.5
    if click is not None:
        prompted.add(Stroke(region.nearest(click)[None], True))
    if rng.random() < (0.25 if click is None else 0.4):
        counts = {True: int(rng.integers(0, 4)), False: int(rng.integers(0, 4))}
        for positive, count in counts.items():
            side = inside if positive else _surroundings(inside)
            if count and side.any():
                prompted.add(stroke(rng, side, region.spacing, positive, count))
    return Episode(prompted, target.astype(np.float16), kind)


def jittered(rng: np.random.Generator, tight: Box, grid: tuple[int, ...]) -> Box:
    """A box as a user draws it: exact, or each side off by a share of the object's size, more often outwards."""
    if rng.random() < 0.4:
        return tight
    size = np.array(tight.shape)
    loose = rng.uniform(0.0, 0.2) if rng.random() < 0.7 else 0.0
    low = np.array(tight.lo) - np.round(size * (loose * rng.random(3) + rng.normal(0, 0.04, 3)))
    high = np.array(tight.hi) + np.round(size * (loose * rng.random(3) + rng.normal(0, 0.04, 3)))
    return _box(low, high, grid)


def misjudged(rng: np.random.Generator, tight: Box, grid: tuple[int, ...], click: npt.NDArray[np.intp]) -> Box:
    """An estimate of an object's box from a click in it: off in place and size, but around the click."""
    size = np.array(tight.shape)
    half = np.maximum(size * np.exp(rng.normal(0.1, 0.3) + rng.normal(0, 0.1, 3)) / 2, 1)
    centre = (np.array(tight.lo) + tight.hi) / 2
    centre = centre + rng.beta(1, 2) * (click - centre) + rng.normal(0, 0.08, 3) * size
    return _box(np.minimum(np.round(centre - half), click), np.maximum(np.round(centre + half), click), grid)


def _box(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], grid: tuple[int, ...]) -> Box:
    last = np.array(grid) - 1
    low = np.clip(low, 0, last).astype(int)
    high = np.clip(np.maximum(high, low), low, last).astype(int)
    return Box(tuple(low.tolist()), tuple(high.tolist()))


def window(rng: np.random.Generator, around: Box, truth: Mask, spacing: Vector) -> Box:
    """A part of a region that holds some of the object, as the windows of a closer look do."""
    size = np.maximum(np.array(around.shape) * rng.uniform(0.4, 0.9, 3), np.minimum(around.shape, 8))
    centre = pick(rng, truth, spacing, deep=0.2) + rng.uniform(-0.4, 0.4, 3) * size
    low = np.clip(np.round(centre - size / 2), around.lo, np.array(around.hi) - np.round(size) + 1).astype(int)
    high = np.minimum(low + np.round(size).astype(int) - 1, around.hi)
    cut = Box(tuple(low.tolist()), tuple(high.tolist()))
    return cut if truth[cut.slices].any() else around


def corrupted(rng: np.random.Generator, target: FloatArray) -> FloatArray:
    """An earlier mask that is right in most places: its surface moved, parts lost and others added; values 0 or 1."""
    # Small objects lose less of their surface, or nothing would be right.
    scale = min(1.0, float(np.cbrt((target > 0.5).sum())) / 20)
    depth = ndimage.gaussian_filter(target, rng.uniform(0.5, 3.0) * scale)
    noise = smooth_noise(rng, target.shape, (1.0, 1.0, 1.0), rng.uniform(0.08, 0.5) * max(target.shape))
    wrong: FloatArray = (depth + rng.uniform(0.05, 0.35) * noise > rng.uniform(0.35, 0.65)).astype(np.float32)
    if not wrong.any():
        wrong = (target > 0.5 * target.max()).astype(np.float32)
    return wrong


def _surroundings(inside: Mask) -> Mask:
    """Voxels outside the object but not far from it."""
    near: Mask = ndimage.uniform_filter(inside.astype(np.float32), 9) > 0
    return near & ~inside


def pick(rng: np.random.Generator, side: Mask, spacing: Vector, deep: float = 0.5) -> npt.NDArray[np.intp]:
    """A voxel of a mask: with chance ``deep`` one far inside, else anywhere."""
    if rng.random() < deep:
        at = Box.around(side)
        depth = ndimage.distance_transform_edt(np.pad(side[at.slices], 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
        flat = np.flatnonzero(depth >= rng.uniform(0.6, 1.0) * depth.max())
        return np.array(np.unravel_index(rng.choice(flat), depth.shape), dtype=np.intp) + at.lo
    flat = np.flatnonzero(side)
    return np.array(np.unravel_index(rng.choice(flat), side.shape), dtype=np.intp)


def stroke(rng: np.random.Generator, side: Mask, spacing: Vector, positive: bool, count: int = 1) -> Stroke:
    """Clicks, or now and then a scribble, on one side of the object."""
    voxels = np.array([pick(rng, side, spacing) for _ in range(count)])
    if rng.random() < 0.15:
        voxels = _scribble(rng, side, voxels[0])
    return Stroke(voxels, positive)


def _scribble(rng: np.random.Generator, side: Mask, start: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """A wavy line in one slice, as far as it stays on its side."""
    flat = int(rng.integers(3))
    heading, length = rng.uniform(0, 2 * np.pi), int(rng.integers(5, 20))
    at, out = start.astype(np.float64), [start]
    for _ in range(length):
        heading += rng.normal(0, 0.4)
        at = at + np.insert([np.cos(heading), np.sin(heading)], flat, 0.0)
        voxel = np.round(at).astype(np.intp)
        if (voxel < 0).any() or (voxel >= side.shape).any() or not side[tuple(voxel)]:
            break
        out.append(voxel)
    return np.unique(np.array(out), axis=0)


def correction(rng: np.random.Generator, truth: Mask, answer: Mask, spacing: Vector) -> Stroke | None:
    """A stroke on an error of an answer, most likely on the largest; None if there is no error."""
    errors = [(truth & ~answer, True), (answer & ~truth, False)]
    sizes: list[float] = []
    parts: list[tuple[Mask, bool, tuple[slice, ...]]] = []
    for error, positive in errors:
        labels, count = ndimage.label(error)
        if count:
            volumes = np.bincount(labels.ravel())[1:]
            places = ndimage.find_objects(labels)
            for which in np.argsort(volumes)[-3:]:
                sizes.append(float(volumes[which]))
                parts.append((labels[places[which]] == which + 1, positive, places[which]))
    if not sizes:
        return None
    weight = np.array(sizes) ** 2
    part, positive, place = parts[int(rng.choice(len(sizes), p=weight / weight.sum()))]
    made = stroke(rng, part, spacing, positive)
    return Stroke(made.voxels + np.array([s.start for s in place]), positive)
