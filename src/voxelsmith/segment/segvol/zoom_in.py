"""The default zoom-in: look again, at full resolution, where the coarse answer is.

Owns where to look and how answers are joined. It follows SegVol's published zoom-in and mends what is odd about it (see
:mod:`official`): the coarse logits are interpolated; specks of the coarse answer do not widen the region; windows lie
inside the crop wherever it is large enough, on a lattice, so that a region that moves a little finds their embeddings
again; the user's box and points of both signs reach every window that they lie in; windows with nothing in them are
skipped; and overlapping answers fade into each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Box, Grid, Index
from voxelsmith.segment.segvol.caches import Embeddings
from voxelsmith.segment.segvol.network import VIEW, SegVolNetwork, ViewPrompts
from voxelsmith.segment.segvol.prompts import CropPrompts
from voxelsmith.segment.segvol.resize import covered, smooth
from voxelsmith.segment.zoom import FloatArray

_SPECK = 0.02
_STEPS = 4
_SIGMA = 0.125


@dataclass(frozen=True, eq=False)
class Logits:
    """Logits at the voxels of a part of a crop; what lies outside is background.

    Parameters
    ----------
    box
        Where they lie, in voxels (d, h, w) of the crop.
    values : float32 array of shape ``box.shape``
    """

    box: Box
    values: FloatArray


def zoom_in(
    crop: FloatArray, coarse: FloatArray, prompts: CropPrompts, network: SegVolNetwork, embeddings: Embeddings
) -> Job[Logits | None]:
    """Look at the voxels of a crop, window by window, as a job.

    Parameters
    ----------
    crop
        Brightness 0..1, axes (d, h, w).
    coarse
        The logits of the view of the whole crop.
    prompts
        In voxels of the crop.
    network, embeddings
        Answer the windows.

    Returns
    -------
    Logits or None
        None if the coarse answer is empty and no prompt says where to look.
    """
    shape = crop.shape
    guess = without_specks(coarse, prompts.in_view(shape))
    region = region_of(guess > 0, prompts, shape)
    if region is None:
        return None
    places = [(origin, _inside(origin, shape)) for origin in windows(region, shape)]
    frame = reduce(Box.union, (part for _, part in places))
    values = smooth(guess, shape, frame)
    nothing = not (guess > 0).any()
    looks = []
    for origin, part in places:
        found = _found(values[_local(part, frame.lo)] > 0, part, origin)
        asked = prompts.in_window(origin, found)
        if found or 1 in asked.labels or (nothing and asked.box is not None):
            looks.append((origin, part, asked))
    total, weight = (np.zeros(frame.shape, dtype=np.float32) for _ in range(2))
    fade = _fade()
    for done, (origin, part, asked) in enumerate(looks):
        report = Progress(done, len(looks), "Looking closer")
        yield report
        embedding = yield from embeddings.of(window_view(crop, origin), network, report)
        yield report
        logits = network.decode(embedding, asked)
        at, own = _local(part, frame.lo), _local(part, origin)
        total[at] += (fade * logits)[own]
        weight[at] += fade[own]
    np.divide(total, weight, out=values, where=weight > 0)
    return Logits(frame, values)


def without_specks(coarse: FloatArray, asked: ViewPrompts) -> FloatArray:
    """The coarse logits with those parts turned negative that do not count.

    With a box, parts that it does not touch; without one, parts that are tiny beside the largest. A part that holds a
    positive point always counts.
    """
    parts, count = ndimage.label(coarse > 0, np.ones((3, 3, 3)))
    counts = np.zeros(count + 1, dtype=bool)
    if asked.box is not None:
        lo, hi = asked.box[:3].astype(int), asked.box[3:].astype(int)
        counts[parts[tuple(slice(a, b + 1) for a, b in zip(lo, hi, strict=True))]] = True
    elif count:
        sizes = np.bincount(parts.ravel())
        counts = sizes >= _SPECK * sizes[1:].max()
    counts[parts[tuple(asked.points[asked.labels == 1].astype(int).T)]] = True
    counts[0] = True
    return np.where(counts[parts], coarse, -coarse)


def region_of(found: npt.NDArray[np.bool_], prompts: CropPrompts, shape: Grid) -> Box | None:
    """Where to look, in voxels of the crop: what was found and the positive points, or else the user's box."""
    boxes = [covered(Box.around(found), shape)] if found.any() else []
    boxes += [Box(tuple(p), tuple(p)) for p in prompts.points[prompts.positive].tolist()]
    return reduce(Box.union, boxes) if boxes else prompts.box


def windows(region: Box, shape: Grid) -> list[Index]:
    """First voxels of windows that cover a region; negative along axes where the crop is smaller than a window."""
    axes = [_origins(*axis) for axis in zip(region.lo, region.hi, shape, VIEW, strict=True)]
    return [(d, h, w) for d, h, w in product(*axes)]


def _origins(lo: int, hi: int, count: int, window: int) -> list[int]:
    """Along one axis: one window about the middle if it holds the region, else as many as it takes, half over half."""
    if count <= window:
        return [-((window - count) // 2)]
    step = window // _STEPS
    if hi - lo < window:
        middle = round((lo + hi + 1 - window) / (2 * step)) * step
        return [int(np.clip(middle, max(0, hi + 1 - window), min(lo, count - window)))]
    stride = window // 2
    first = lo // step * step
    more = int(np.ceil((hi + 1 - first - window) / stride))
    return sorted({min(first + n * stride, count - window) for n in range(more + 1)})


def window_view(crop: FloatArray, origin: Index) -> FloatArray:
    """A window of a crop, zeros beyond its borders, contiguous."""
    part = _inside(origin, crop.shape)
    if part.shape == VIEW:
        return np.ascontiguousarray(crop[part.slices])
    view = np.zeros(VIEW, dtype=np.float32)
    view[_local(part, origin)] = crop[part.slices]
    return view


def _inside(origin: Index, shape: Grid) -> Box:
    """The voxels of the crop that a window holds."""
    d, h, w = (o + n - 1 for o, n in zip(origin, VIEW, strict=True))
    return Box(origin, (d, h, w)).clipped(shape)


def _local(part: Box, origin: Index) -> tuple[slice, ...]:
    """A box of the crop as an index into an array that begins at ``origin``."""
    return tuple(slice(a - o, b - o + 1) for a, b, o in zip(part.lo, part.hi, origin, strict=True))


def _found(mask: npt.NDArray[np.bool_], part: Box, origin: Index) -> Box | None:
    """The box around a mask on a part of the crop, in voxels of a window."""
    if not mask.any():
        return None
    box, offset = Box.around(mask), np.subtract(part.lo, origin)
    return Box(tuple((box.lo + offset).tolist()), tuple((box.hi + offset).tolist()))


def _fade() -> FloatArray:
    """Weights of the voxels of a window: a Gaussian about its middle."""
    d, h, w = (np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (_SIGMA * n)) ** 2) for n in VIEW)
    weights: FloatArray = (d[:, None, None] * h[:, None] * w).astype(np.float32)
    return weights
