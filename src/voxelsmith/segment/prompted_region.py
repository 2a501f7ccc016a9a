"""Prompted region: one region of an image as the promptable network sees it.

Owns the channels of the network's input on the working grid: the image at two contrasts, a guess of the mask, and maps
of the box and the clicks. The guess comes from the training-free scene of the same region: first its own answer, later
the last answer bent by the newest click, so that a click reaches as far as similar tissue does. Every answer after the
first is averaged with the guess that it was made from. Inference and training build their inputs here, so that they
cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.prompts import Box
from voxelsmith.segment.scene import Scene, Settings, Stroke
from voxelsmith.segment.zoom import FloatArray, Region

SCENE = Settings(working_voxels=20_000, rounds=6)
"""How the guess is made; a coarser grid than the training-free engine's own, since the network refines it."""

MARGIN = 0.5
"""Surroundings that the network sees on both sides of a box together, as a share of the box."""

_CLIP = 3.0
_BALL = 1.5
_REACH = 5


@dataclass(frozen=True)
class Contrast:
    """How brightness becomes a channel: the image's own scale, and one on which the object lies in the middle."""

    centre: float
    width: float
    focus_centre: float
    focus_width: float

    @classmethod
    def of(cls, image: FloatArray, guess: FloatArray) -> Contrast:
        """From a finite working image and a guess of the mask on its grid."""
        low, high = np.percentile(image, (0.5, 99.5))
        kept = np.clip(image, low, high)
        width = max(float(kept.std()), 1e-6 * max(abs(float(low)), abs(float(high)), 1e-30))
        weight = guess + 1e-3 * float(guess.max()) + 1e-6
        weight = weight / weight.sum(dtype=np.float64)
        centre = float((weight * kept).sum(dtype=np.float64))
        spread = float(np.sqrt((weight * (kept - centre) ** 2).sum(dtype=np.float64)))
        return cls(float(kept.mean()), width, centre, max(2 * spread, 0.1 * width))

    def channels(self, image: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The two channels, within -3 to 3."""
        plain = np.clip((image - self.centre) / self.width, -_CLIP, _CLIP)
        focus = np.clip((image - self.focus_centre) / self.focus_width, -_CLIP, _CLIP)
        return plain.astype(np.float32), focus.astype(np.float32)


def click_map(grid: tuple[int, int, int], voxels: npt.NDArray[np.intp]) -> FloatArray:
    """Soft balls around working voxels, 1 at each of them; shape ``grid``."""
    out = np.zeros(grid, dtype=np.float32)
    if not len(voxels):
        return out
    low = np.maximum(voxels.min(axis=0) - _REACH, 0)
    high = np.minimum(voxels.max(axis=0) + _REACH + 1, grid)
    away = np.ones(high - low, dtype=bool)
    away[tuple((voxels - low).T)] = False
    distance = ndimage.distance_transform_edt(away)
    at = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    out[at] = np.where(distance <= _REACH, np.exp(-0.5 * (distance / _BALL) ** 2), 0)
    return out


def boxes_map(region: Region, boxes: Sequence[Box]) -> FloatArray:
    """How much of each working voxel the boxes cover, 0 to 1; where several do, the one that covers most of it."""
    out = np.zeros(region.grid, dtype=np.float32)
    for box in boxes:
        np.maximum(out, _box_map(region, box), out=out)
    return out


def _box_map(region: Region, box: Box) -> FloatArray:
    low, high = region.to_working(np.array(box.lo) - 0.5), region.to_working(np.array(box.hi) + 0.5)
    shares = []
    for axis in range(3):
        edge = np.arange(region.grid[axis]) - 0.5
        shares.append(np.clip(np.minimum(high[axis], edge + 1) - np.maximum(low[axis], edge), 0, 1))
    cover: FloatArray = (shares[0][:, None, None] * shares[1][:, None] * shares[2]).astype(np.float32)
    return cover


class PromptedRegion:
    """One region, its prompts so far, and the guess that they give.

    Parameters
    ----------
    working : float array of shape ``region.grid``
        The image on the working grid, finite.
    region
        Where it lies.
    box
        Extent of the object in voxels of the image, from the user or estimated.
    drawn
        The boxes that the user drew, all of one object; the network does not see one that was estimated.
    start
        Share of each working voxel that an earlier mask covers, or None.
    """

    def __init__(
        self, working: FloatArray, region: Region, box: Box, *, drawn: Sequence[Box], start: FloatArray | None = None
    ) -> None:
        self.region = region
        inner = Region.over(region.box, region.spacing / region.factors, SCENE.working_voxels)
        a, b, c = region.grid
        grid = Box((0, 0, 0), (a - 1, b - 1, c - 1))
        self._inner = Region(grid, inner.grid, np.array(region.grid) / inner.grid, inner.spacing)
        coarse = self._inner.average(working)
        if start is None:
            self._scene = Scene.in_box(coarse, inner, box, SCENE)
            probability = self._scene.settle(self._scene.start(), SCENE.rounds)
            if len(drawn) < 2:
                probability = self._scene.tidy(probability)
            level = self._scene.threshold(probability)
            self.guess = self._expanded(_centred(probability, level))
        else:
            self._scene = Scene.from_mask(coarse, inner, self._inner.average(start), box, SCENE)
            self.guess = start
        self._answered = start is not None
        self.contrast = Contrast.of(working, self.guess)
        self._image = self.contrast.channels(working)
        self._box = boxes_map(region, drawn)
        self._clicks = {sign: np.zeros(region.grid, dtype=np.float32) for sign in (True, False)}

    def _expanded(self, coarse: FloatArray) -> FloatArray:
        return np.clip(self._inner.dense(coarse), 0, 1)

    def inputs(self) -> FloatArray:
        """Input of the network, shape (6, I, J, K) in the order of :data:`voxelsmith.models.promptable.CHANNELS`."""
        return np.stack([*self._image, self.guess, self._box, self._clicks[True], self._clicks[False]])

    def take(self, probability: FloatArray) -> None:
        """Make the network's answer the guess from now on; a later one only in half, so that clicks are not undone."""
        self.guess = np.float32(0.5) * (self.guess + probability) if self._answered else probability
        self._answered = True

    def add(self, stroke: Stroke) -> None:
        """Bend the guess by a click or scribble, given in working voxels of :attr:`region`."""
        inner = np.unique(self._inner.nearest(stroke.voxels), axis=0)
        before = self._inner.average(self.guess)
        after = self._scene.correct(Stroke(inner, stroke.positive), before)
        self.guess = np.clip(self.guess + self._inner.dense(after - before), 0, 1)
        clicks = self._clicks[stroke.positive]
        self._clicks[stroke.positive] = np.maximum(clicks, click_map(self.region.grid, stroke.voxels))

    def reach(self) -> FloatArray:
        """How far the clicks and scribbles so far carry, 0 to 1 on the working grid."""
        return self._expanded(self._scene.reached)

    def branch(self) -> PromptedRegion:
        """A copy that can go on by itself."""
        twin = copy(self)
        twin._scene = self._scene.branch()
        twin._clicks = dict(self._clicks)
        return twin


def _centred(probability: FloatArray, level: float) -> FloatArray:
    """Probabilities on a scale on which ``level`` is one half."""
    out: FloatArray = np.where(
        probability < level, 0.5 * probability / level, 1 - 0.5 * (1 - probability) / (1 - level)
    ).astype(np.float32)
    return out
