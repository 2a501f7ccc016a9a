"""Scene: a region with everything that is known about it, ready to be solved.

Owns the heart of the training-free engine: the balance between brightness, position and clicks over the working grid of
one region, and how a click changes it. Nothing here knows files, sessions or full resolution.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.errors import InputError
from voxelsmith.core.prompts import Box, ObjectPrompts, Point, Scribble
from voxelsmith.segment.evidence import (
    Appearance,
    AppearanceSettings,
    BoolArray,
    FloatArray,
    box_distance,
    box_log_odds,
    click_reach,
)
from voxelsmith.segment.random_walk import RandomWalk, edge_weights
from voxelsmith.segment.zoom import Region

_FIXED = 1e4


@dataclass(frozen=True)
class Settings:
    """Parameters of the engine; lengths are shares of the object's smallest half-extent unless said otherwise.

    Chosen by random search, with tight and loose boxes, on a third of the development cases of
    ``benchmarks/prompts.py``; the last choice looked at another third. Its untouched cases served no choice.
    """

    working_voxels: int = 40_000
    margin: float = 0.2
    rounds: int = 8
    appearance: AppearanceSettings = field(default_factory=AppearanceSettings)
    appearance_weight: float = 1.0
    outside_weight: float = 0.5
    position_weight: float = 0.25
    position_decay: float = 0.3
    edge_contrast: float = 200.0
    hold: float = 0.2
    click_strength: float = 3.0
    click_reach: float = 1.5
    click_shortest: float = 0.3
    click_longest: float = 0.6
    click_similarity: float = 0.3
    click_resistance: float = 4.0
    click_full: float = 0.05
    fill: float = 0.5
    lowest_threshold: float = 0.3
    smallest_part: float = 0.1
    surface_width: float = 0.8
    surface_hold: float = 0.05
    surface_voxels: int = 80_000


@dataclass(frozen=True, eq=False)
class Stroke:
    """A click or a scribble on the working grid."""

    voxels: npt.NDArray[np.intp]
    positive: bool


def strokes_of(prompts: ObjectPrompts, region: Region) -> list[Stroke]:
    """What clicks and scribbles touch of the region, in the order in which they were made."""
    out = []
    for p in prompts.prompts:
        if isinstance(p, Point | Scribble):
            voxels = np.array([p.voxel]) if isinstance(p, Point) else p.voxels
            voxels = voxels[((voxels >= region.box.lo) & (voxels <= region.box.hi)).all(axis=1)]
            if len(voxels):
                out.append(Stroke(np.unique(region.nearest(voxels), axis=0), p.positive))
    return out


class Scene:
    """One region, ready to be solved for any strokes.

    Parameters
    ----------
    image : float array
        The working image, finite.
    region
        Its place.
    position : float array
        What the position of a voxel says, as log-odds of belonging to the object.
    inside : bool array
        Where the object may be before any click.
    focus : bool array
        Where contrast counts (see :class:`Appearance`).
    scale_mm
        Half of the object's smallest extent.
    settings
        Parameters of the engine.
    """

    def __init__(
        self,
        image: FloatArray,
        region: Region,
        *,
        position: FloatArray,
        inside: BoolArray,
        focus: BoolArray,
        scale_mm: float,
        settings: Settings,
    ) -> None:
        self.settings = settings
        self.spacing = region.spacing
        self.scale_mm = scale_mm
        self.position = position
        self.inside = inside
        self.appearance = Appearance(image, focus, self.spacing, settings.appearance)
        self.edges = edge_weights(self.appearance.fine, self.spacing, settings.edge_contrast)
        self.walk = RandomWalk(self.edges)
        self.allowed = inside.copy()
        self.bend = np.zeros(region.grid, dtype=np.float32)
        self.fixed = np.full(region.grid, -1, dtype=np.int8)
        self.reached = np.zeros(region.grid, dtype=np.float32)
        self.strokes = 0

    @classmethod
    def in_box(cls, image: FloatArray, region: Region, box: Box, settings: Settings) -> Scene:
        """An object that fills a box (in voxels of the whole image)."""
        low, high = region.to_working(np.array(box.lo) - 0.5), region.to_working(np.array(box.hi) + 0.5)
        radius = np.maximum((high - low) / 2, 0.5)
        distance, inside = box_distance(region.grid, (low + high) / 2, radius)
        return cls(
            image,
            region,
            position=settings.position_weight * box_log_odds(distance),
            inside=inside,
            focus=inside | (distance < 1.5),
            scale_mm=_half_extent(region, 2 * radius),
            settings=settings,
        )

    @classmethod
    def from_mask(cls, image: FloatArray, region: Region, share: FloatArray, box: Box, settings: Settings) -> Scene:
        """An object that is roughly known: ``share`` is how much of each working voxel an earlier mask covers."""
        known = np.clip(share, 0.02, 0.98)
        return cls(
            image,
            region,
            position=np.log(known / (1 - known)).astype(np.float32),
            inside=np.ones(region.grid, dtype=bool),
            focus=np.ones(region.grid, dtype=bool),
            scale_mm=_half_extent(region, np.array(box.shape) / region.factors),
            settings=settings,
        )

    def branch(self) -> Scene:
        """A copy that strokes can be added to while this one stays as it is."""
        twin = copy(self)
        twin.allowed, twin.bend, twin.fixed = self.allowed.copy(), self.bend.copy(), self.fixed.copy()
        return twin

    def start(self) -> FloatArray:
        """Probabilities from position alone."""
        return np.where(self.inside, 1 / (1 + np.exp(-self.position)), 0).astype(np.float32)

    def settle(self, probability: FloatArray, rounds: int) -> FloatArray:
        """Refit the appearance and solve the walk, a number of times."""
        s = self.settings
        outside = np.where(self.allowed, 1.0, s.outside_weight).astype(np.float32)
        position = self.position / (1 + s.position_decay * self.strokes) + self.bend
        strength = np.where(self.allowed & (self.fixed < 0), s.hold, _FIXED).astype(np.float32)
        for _ in range(rounds):
            brightness = self.appearance.log_ratio(probability * self.allowed, (1 - probability) * outside)
            evidence = 1 / (1 + np.exp(-np.clip(s.appearance_weight * brightness + position, -8, 8)))
            evidence = np.where(self.fixed >= 0, self.fixed, np.where(self.allowed, evidence, 0)).astype(np.float32)
            probability = np.clip(self.walk.solve(evidence, strength, probability), 0, 1)
        return probability

    def threshold(self, probability: FloatArray) -> float:
        """One half, or less where the mask would otherwise leave the tight box empty along an axis."""
        s, level = self.settings, 0.5
        inside = np.where(self.inside, probability, 0)
        for axis in range(3):
            others = tuple(a for a in range(3) if a != axis)
            peaks = np.sort(inside.max(axis=others)[self.inside.any(axis=others)])
            level = min(level, float(peaks[min(int((1 - s.fill) * len(peaks)), len(peaks) - 1)]) * 0.999)
        return max(level, s.lowest_threshold)

    def tidy(self, probability: FloatArray) -> FloatArray:
        """Drop parts that are small beside the largest one, unless a positive click or scribble lies in them."""
        parts, _ = ndimage.label(probability > self.threshold(probability))
        size = np.bincount(parts.ravel())
        size[0] = 0
        small = size < self.settings.smallest_part * size.max()
        small[parts[self.fixed == 1]] = False
        small[0] = False
        return np.where(small[parts], np.float32(0), probability)

    def correct(self, stroke: Stroke, probability: FloatArray) -> FloatArray:
        """Probabilities after one more stroke; they change only where it reaches, so that what was right stays."""
        near = self.add(stroke, probability)
        share = np.minimum(near / self.settings.click_full, np.float32(1))
        corrected: FloatArray = probability + share * (self.settle(probability, 1) - probability)
        return corrected

    def add(self, stroke: Stroke, probability: FloatArray) -> FloatArray:
        """Let a stroke bend the evidence, as far as the present mask is wrong around it; returns its reach."""
        s = self.settings
        at = tuple(stroke.voxels.T)
        mask = probability > self.threshold(probability)
        wrong = mask[at] != stroke.positive
        reach = 0.0
        if wrong.any():
            depth = ndimage.distance_transform_edt(~mask if stroke.positive else mask, sampling=self.spacing)
            reach = float(depth[at].max())
        shortest = max(s.click_shortest * self.scale_mm, 0.5 * float(self.spacing.min()))
        reach = float(np.clip(s.click_reach * reach, shortest, max(s.click_longest * self.scale_mm, shortest)))
        near = click_reach(
            self.appearance.fine, self.spacing, stroke.voxels, reach, s.click_similarity, s.click_resistance
        )
        self.bend += (1 if stroke.positive else -1) * s.click_strength * near
        self.fixed[at] = stroke.positive
        self.reached = np.maximum(self.reached, near)
        if stroke.positive:
            self.allowed |= near > 0.3
        self.strokes += 1
        return near


def _half_extent(region: Region, shape: npt.NDArray[np.float64]) -> float:
    """Half of the smallest extent in millimetres, over the axes that have more than one voxel."""
    extents = [n * h for n, h, g in zip(shape, region.spacing, region.grid, strict=True) if g > 1]
    return float(min(extents, default=float(region.spacing.min()))) / 2


def finite(image: FloatArray) -> FloatArray:
    """Replace NaN and infinity by the darkest finite value; InputError if nothing is left to tell apart."""
    good = np.isfinite(image)
    if not good.any():
        raise InputError("The image has no finite voxel around the prompts; there is nothing to segment there.")
    low, high = float(image[good].min()), float(image[good].max())
    # Averaging leaves rounding errors in what was constant.
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        raise InputError(f"The image is constant ({low:g}) around the prompts; there is nothing to segment there.")
    return image if good.all() else np.where(good, image, np.float32(low))
