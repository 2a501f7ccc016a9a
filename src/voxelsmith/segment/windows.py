"""Windows: look again, closer, where a coarse answer has its surface.

Owns the zoom-in of SegVol's zoom-out-zoom-in (Du et al., NeurIPS 2024). The region is laid out on a finer grid and cut
into overlapping windows; those that hold surface are answered again, with the coarse answer as an earlier mask. Every
window sees the user's box and all clicks, of both signs. A window whose inputs a click did not change is not computed
again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import product

import numpy as np
import numpy.typing as npt

from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Box
from voxelsmith.segment.network import Network
from voxelsmith.segment.prompted_region import Contrast, boxes_map, click_map
from voxelsmith.segment.scene import Stroke
from voxelsmith.segment.zoom import FloatArray, Region

WINDOW = 64
_OVERLAP = 16


def fine_region(region: Region, image_spacing: npt.NDArray[np.float64], voxels: int) -> Region | None:
    """The region on a finer grid of at most about ``voxels``; None if that is hardly finer than it is."""
    finer = Region.over(region.box, image_spacing, voxels)
    return finer if np.prod(finer.grid) > 1.5 * np.prod(region.grid) else None


class Windows:
    """One region on a fine grid, and the answers that were given in its windows.

    Parameters
    ----------
    working : float array of shape ``region.grid``
        The image on the fine grid, finite.
    region
        The fine grid.
    contrast
        Of the coarse view, so that both see the same brightness.
    drawn
        The user's boxes in voxels of the image.
    """

    def __init__(self, working: FloatArray, region: Region, contrast: Contrast, drawn: Sequence[Box]) -> None:
        self.region = region
        self._image = np.stack(contrast.channels(working))
        self._box = boxes_map(region, drawn)
        # For each place what was asked there last, as a digest, and its answer.
        self._known: dict[tuple[int, ...], tuple[bytes, FloatArray]] = {}

    def refine(self, coarse: FloatArray, strokes: list[Stroke], network: Network) -> Job[FloatArray]:
        """The answer on the fine grid, as a job.

        Parameters
        ----------
        coarse : float array of shape ``region.grid``
            The coarse answer, interpolated.
        strokes
            All clicks and scribbles so far, in voxels of the fine grid.
        network
            Answers the windows.
        """
        guess = (coarse > 0.5).astype(np.float32)
        clicks = [np.zeros(self.region.grid, dtype=np.float32) for _ in range(2)]
        for stroke in strokes:
            signed = clicks[0 if stroke.positive else 1]
            np.maximum(signed, click_map(self.region.grid, stroke.voxels), out=signed)
        total = np.zeros(self.region.grid, dtype=np.float32)
        weight = np.zeros(self.region.grid, dtype=np.float32)
        places = [at for at in _tiles(self.region.grid) if _has_surface(guess[at])]
        for done, at in enumerate(places):
            yield Progress(done, len(places), "Looking closer")
            channels = np.stack([*self._image[(slice(None), *at)], guess[at], self._box[at], *(c[at] for c in clicks)])
            taper = _taper(at, self.region.grid)
            total[at] += taper * self._answer(at, channels, network)
            weight[at] += taper
        # Where windows end, their answers give way to the coarse one.
        share = np.minimum(weight, np.float32(1))
        fine = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
        return share * fine + (1 - share) * coarse

    def _answer(self, at: tuple[slice, ...], channels: FloatArray, network: Network) -> FloatArray:
        place = tuple(s.start for s in at)
        asked = blake2b(channels[2:].data, digest_size=16).digest()
        if self._known.get(place, (b"",))[0] != asked:
            self._known[place] = asked, network(channels)
        return self._known[place][1]


def _tiles(grid: tuple[int, int, int]) -> Iterator[tuple[slice, ...]]:
    """Windows that cover a grid, overlapping."""
    axes = []
    for n in grid:
        count = 1 if n <= WINDOW else int(np.ceil((n - _OVERLAP) / (WINDOW - _OVERLAP)))
        starts = np.round(np.linspace(0, max(n - WINDOW, 0), count)).astype(int)
        axes.append([slice(int(s), min(int(s) + WINDOW, n)) for s in starts])
    yield from product(*axes)


def _has_surface(guess: FloatArray) -> bool:
    return bool(guess.any()) and not bool(guess.all())


def _taper(at: tuple[slice, ...], grid: tuple[int, int, int]) -> FloatArray:
    """Weights of a window: 1 in it, falling linearly towards its faces, but not where the grid itself ends."""
    axes = []
    for part, count in zip(at, grid, strict=True):
        index = np.arange(part.start, part.stop)
        left = index - part.start + 1 if part.start else np.full(len(index), _OVERLAP)
        right = part.stop - index if part.stop < count else np.full(len(index), _OVERLAP)
        axes.append(np.clip(np.minimum(left, right) / (_OVERLAP / 2), 0, 1))
    taper: FloatArray = (axes[0][:, None, None] * axes[1][:, None] * axes[2]).astype(np.float32)
    return taper
