"""The published zoom-in, for parity with published results.

Owns SegVol's second look exactly as its authors run it, with what is odd about it: the coarse logits spread out to the
nearest voxels; a region around every positive voxel, padded at the middle and cut off at the borders; windows that are
averaged without weights; a box that several windows never see; negative points that no window sees; positive points
drawn anew at random (seeded here); and prompts that are not moved along where the region is padded. The default is
:mod:`zoom_in`.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import PromptError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Box, Grid
from voxelsmith.segment.segvol.caches import Embeddings
from voxelsmith.segment.segvol.network import VIEW, SegVolNetwork, ViewPrompts
from voxelsmith.segment.segvol.resize import nearest, spread_out
from voxelsmith.segment.zoom import FloatArray

Slices = tuple[slice, slice, slice]
_DRAWN = 5
_NOTHING = np.full(6, -1, dtype=np.float32)


def check(prompts: ViewPrompts) -> None:
    """Raise a PromptError if there are points and a box, which the published zoom-in does not take together."""
    if len(prompts.points) and prompts.box is not None:
        raise PromptError(
            "SegVol as published takes points or a box, not both; leave one of them out, or choose the engine segvol."
        )


def zoom_in(
    crop: FloatArray,
    coarse: FloatArray,
    prompts: ViewPrompts,
    network: SegVolNetwork,
    embeddings: Embeddings,
    seed: int = 0,
) -> Job[FloatArray]:
    """Look at the voxels of a crop, window by window, as a job.

    Parameters
    ----------
    crop
        Brightness 0..1, axes (d, h, w).
    coarse
        The logits of the view of the whole crop.
    prompts
        What that view was asked with; they have passed :func:`check`.
    network, embeddings
        Answer the windows.
    seed
        Of the points that are drawn.

    Returns
    -------
    float32 array of the crop's shape
        Logits.
    """
    logits = spread_out(coarse, crop.shape)
    found = logits > 0
    if not found.any():
        return logits
    region = region_of(Box.around(found), crop.shape)
    place = np.array([s.stop - s.start for s in region])
    before = np.maximum(np.array(VIEW) - place, 0) // 2
    after = np.maximum(np.array(VIEW) - place, 0) - before
    image, guess = (np.pad(a[region], np.stack([before, after], axis=1)) for a in (crop, logits))
    reflected = _Reflected(prompts, crop.shape, region)
    ways = windows(image.shape)
    total, count = np.zeros(image.shape, dtype=np.float32), np.zeros(image.shape, dtype=np.float32)
    rng = np.random.default_rng(seed)
    for done, at in enumerate(ways):
        report = Progress(done, len(ways), "Looking closer")
        yield report
        embedding = yield from embeddings.of(np.ascontiguousarray(image[at]), network, report)
        yield report
        total[at] += network.decode(embedding, reflected.in_window(at, guess[at], len(ways) == 1, rng))
        count[at] += 1
    inner = tuple(slice(b, b + n) for b, n in zip(before, place, strict=True))
    logits[region] = (total / count)[inner]
    return logits


def region_of(found: Box, shape: Grid) -> Slices:
    """The part of a crop to look at: what was found, grown to a window about its middle and cut off at the borders."""
    pad = np.maximum(np.array(VIEW) - found.shape, 0) // 2
    lo = np.maximum(np.array(found.lo) - pad, 0)
    hi = np.minimum(np.array(found.hi) + pad, np.array(shape) - 1)
    return Box(tuple(lo.tolist()), tuple(hi.tolist())).slices


def windows(shape: Grid) -> list[Slices]:
    """Windows over an array that is at least one window large, each half over the next, the last moved back to fit."""
    axes = []
    for count, window in zip(shape, VIEW, strict=True):
        stride = window // 2 if count > window else window
        starts = [min(n * stride, count - window) for n in range(1 + int(np.ceil((count - window) / stride)))]
        axes.append([slice(start, start + window) for start in starts])
    return [(d, h, w) for d, h, w in product(*axes)]


class _Reflected:
    """The prompts of the whole view on the voxels of a region, as nearest voxels carry them there."""

    def __init__(self, prompts: ViewPrompts, shape: Grid, region: Slices) -> None:
        self._prompts = prompts
        self._pointed = len(prompts.points) > 0
        self._seeds = np.unique(prompts.points[prompts.labels == 1], axis=0)
        # Which voxel of the view each voxel of the region shows; what pads the region is missing here, as published.
        self._shown = [nearest(v, n)[part] for v, n, part in zip(VIEW, shape, region, strict=True)]

    def in_window(self, at: Slices, guess: FloatArray, alone: bool, rng: np.random.Generator) -> ViewPrompts:
        """For a window of the padded region, ``alone`` or one of several, given the coarse logits there."""
        shown = [voxels[part] for voxels, part in zip(self._shown, at, strict=True)]
        points, box = np.empty((0, 3), dtype=np.float32), None
        if self._pointed:
            points, box = self._drawn(shown, rng), _around(guess > 0)
        elif self._prompts.box is not None and alone:
            lo, hi = self._prompts.box[:3], self._prompts.box[3:]
            ends = [np.flatnonzero((v >= a) & (v <= b)) for v, a, b in zip(shown, lo, hi, strict=True)]
            box = np.array([e[n] for n in (0, -1) for e in ends], np.float32) if all(map(len, ends)) else _NOTHING
        elif self._prompts.box is not None:
            box = _around(guess > 0)
        return ViewPrompts(points, np.where(points[:, 0] < 0, -1, 1), box, self._prompts.text)

    def _drawn(self, shown: list[npt.NDArray[np.intp]], rng: np.random.Generator) -> FloatArray:
        """One positive voxel, up to four more that may repeat it, and points to ignore up to five."""
        out = np.full((_DRAWN, 3), -1, dtype=np.float32)
        blocks = [
            list(product(*(np.flatnonzero(v == x) for v, x in zip(shown, seed, strict=True)))) for seed in self._seeds
        ]
        voxels = np.array([voxel for block in blocks for voxel in block])
        if len(voxels):
            chosen = [rng.integers(len(voxels)), *rng.permutation(len(voxels))[: _DRAWN - 1]]
            out[: len(chosen)] = voxels[chosen]
        return out


def _around(mask: npt.NDArray[np.bool_]) -> FloatArray:
    if not mask.any():
        return _NOTHING
    box = Box.around(mask)
    return np.array([*box.lo, *box.hi], dtype=np.float32)
