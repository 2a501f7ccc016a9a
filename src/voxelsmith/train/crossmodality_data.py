"""What the tumour network is trained on: windows of patients and of made-up tumours, never twice the same.

Owns a patient in memory (:class:`Case`), how a window of one is cut, bent and re-coloured, and the dataset that mixes
real and made-up windows. Few patients are the rule, so augmentation is strong: any size between 0.9 and 2.2 mm a voxel,
turns, bends, flips, and brightness changed as a whole and for each part of the tumour.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from voxelsmith.core.regions import DepthMap
from voxelsmith.segment.crossmodality import HIGHEST
from voxelsmith.train import instrument, warp
from voxelsmith.train.noise import smooth_noise
from voxelsmith.train.sample import Field, Mask, Vector
from voxelsmith.train.tumours import BrainMap, Patch, synthetic_patch

_KEPT_VOXELS = 250_000_000
_ON_TUMOUR = 0.4
_SPACING = (0.9, 1.15, 2.2)


@dataclass(frozen=True, eq=False)
class Case:
    """A patient.

    Parameters
    ----------
    name
        For messages.
    x : array of float32, shape (M, I, J, K)
        z-scored sequences on voxels of 1 mm, axes to left, posterior and superior; 0 outside the brain and where a
        sequence is missing.
    available : array of bool, shape (M,)
        Which sequences there are.
    depth : array of uint8, shape (I, J, K)
        Nested regions, as :mod:`voxelsmith.core.regions` has them.
    """

    name: str
    x: Field
    available: Mask
    depth: DepthMap

    def read(self) -> Case:
        """Itself; a patient whose files are read late has a method of this name."""
        return self

    @cached_property
    def _places(self) -> tuple[npt.NDArray[np.intp], ...]:
        """Flat indices of the brain, and of each part of the tumour that there is."""
        brain = np.flatnonzero((self.x != 0).any(0))
        parts = [np.flatnonzero(self.depth == code) for code in (1, 2, 3)]
        return brain, *(part for part in parts if part.size)

    def patch(self, rng: np.random.Generator, side: int, *, colour: float | None = 1.0, spacing: float = 0.0) -> Patch:
        """A window.

        Parameters
        ----------
        rng
            Where the randomness comes from.
        side
            Voxels along each axis.
        colour
            How much brightness is changed, 0 to 1; None changes shapes neither: a plain view around the tumour.
        spacing
            Size of the voxels in millimetres; 0 for a random one.
        """
        grid, size = (side, side, side), np.full(3, spacing or random_spacing(rng))
        brain, *tumour = self._places
        on_tumour = bool(tumour) and (rng.random() < _ON_TUMOUR or colour is None)
        pool = tumour[int(rng.integers(len(tumour)))] if on_tumour else brain
        centre = np.array(np.unravel_index(rng.choice(pool), self.depth.shape), dtype=np.float64)
        matrix, elasticity = np.diag(size), 0.0
        if colour is not None:
            centre += rng.uniform(-0.25, 0.25, 3) * side * size
            matrix = warp.random_rotation(rng, size, 25) * size * np.exp(rng.uniform(-0.12, 0.12, 3))[:, None]
            elasticity = rng.uniform(0, 0.08)
        places = warp.random_places(rng, grid, size, matrix, centre, np.ones(3), elasticity)
        inside = np.ones(grid, dtype=bool)
        for place, count in zip(places, self.depth.shape, strict=True):
            inside &= (place > -0.5) & (place < count - 0.5)
            np.clip(place, 0, count - 1, out=place)
        brain_there = warp.look_up_nearest(self._brain, places).astype(bool) & inside
        depth = np.where(brain_there, warp.look_up_nearest(self.depth, places), 0).astype(np.uint8)
        x = np.zeros((len(self.x), *grid), dtype=np.float32)
        for channel in np.flatnonzero(self.available):
            image = warp.look_up_linear(self.x[channel], places)
            if colour is not None:
                image = recoloured(rng, image, depth, size, colour)
            x[channel] = np.where(brain_there, np.clip(image, -HIGHEST, HIGHEST), 0)
        return Patch(x, self.available.copy(), depth)

    @cached_property
    def _brain(self) -> npt.NDArray[np.uint8]:
        brain: DepthMap = (self.x != 0).any(0).astype(np.uint8)
        return brain


class Readable(Protocol):
    """A patient, or the files of one."""

    def read(self) -> Case:
        """The patient, read from files if need be."""


def random_spacing(rng: np.random.Generator) -> float:
    """Size of voxels in millimetres: in half of the cases about 1, otherwise up to 2.2, so that previews work too."""
    finest, usual, coarsest = _SPACING
    if rng.random() < 0.5:
        return float(rng.uniform(finest, usual))
    return float(np.exp(rng.uniform(np.log(usual), np.log(coarsest))))


def recoloured(rng: np.random.Generator, image: Field, depth: DepthMap, size: Vector, strength: float) -> Field:
    """A sequence with another contrast, noise and sharpness, and with parts of the tumour brighter or darker."""
    grid = (image.shape[0], image.shape[1], image.shape[2])
    if rng.random() < 0.5:
        change = np.concatenate([[0.0], rng.normal(0, 0.35 * strength, 3)]).astype(np.float32)[depth]
        image = image + instrument.blur(change, 1 / size)
    if rng.random() < 0.5:
        image = image + np.float32(rng.uniform(0, 0.4) * strength) * smooth_noise(rng, grid, size, 60)
    if rng.random() < 0.3:
        image = np.float32(3) * instrument.gamma(image / np.float32(3), 1 + strength * rng.uniform(-0.25, 0.3))
    if rng.random() < 0.3:
        image = instrument.blur(image, strength * rng.uniform(0.4, 1.2) / size)
    if rng.random() < 0.5:
        image = instrument.gaussian_noise(rng, image, strength * rng.uniform(0.02, 0.2))
    factor, shift = 1 + strength * rng.uniform(-0.25, 0.25), strength * rng.normal(0, 0.15)
    changed: Field = image * np.float32(factor) + np.float32(shift)
    return changed


class Patches(Dataset[Patch]):
    """Windows of patients and of made-up tumours.

    Parameters
    ----------
    cases
        The patients.
    maps
        Label maps of heads for made-up tumours.
    modalities
        Sequences of the network, in the order of its channels; those of the patients, too.
    seed
        Decides, with the index, everything random.
    side
        Voxels of a window along each axis.
    synthetic
        Share of made-up windows; all are if there are no patients, none if there are no maps.
    dropout
        Share of windows from which sequences are taken away, at random but never all.
    colour
        How much the brightness of real windows is changed, 0 to 1.
    """

    def __init__(
        self,
        cases: Sequence[Readable],
        maps: Sequence[BrainMap],
        modalities: Sequence[str],
        seed: int,
        *,
        side: int,
        synthetic: float,
        dropout: float,
        colour: float = 1.0,
    ) -> None:
        self.cases, self.maps, self.modalities = tuple(cases), tuple(maps), tuple(modalities)
        self.seed, self.side, self.dropout, self.colour = seed, side, dropout, colour
        self.synthetic = float(not cases) if not cases or not maps else synthetic
        self._read: OrderedDict[int, Case] = OrderedDict()

    def __getitem__(self, index: int) -> Patch:
        rng = np.random.default_rng((self.seed, index))
        if rng.random() < self.synthetic:
            source = self.maps[int(rng.integers(len(self.maps)))]
            patch = synthetic_patch(rng, source, self.modalities, self.side, random_spacing(rng))
        else:
            patch = self.case(int(rng.integers(len(self.cases)))).patch(rng, self.side, colour=self.colour)
        return without_some(rng, flipped(rng, patch), self.dropout)

    def case(self, number: int) -> Case:
        """A patient; those seen last stay in memory."""
        case = self._read.pop(number, None) or self.cases[number].read()
        self._read[number] = case
        while len(self._read) > 1 and sum(kept.x.size for kept in self._read.values()) > _KEPT_VOXELS:
            self._read.popitem(last=False)
        return case


def flipped(rng: np.random.Generator, patch: Patch) -> Patch:
    """A window mirrored along random axes."""
    axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
    x = np.ascontiguousarray(np.flip(patch.x, tuple(1 + axis for axis in axes)))
    return Patch(x, patch.available, np.ascontiguousarray(np.flip(patch.depth, axes)))


def without_some(rng: np.random.Generator, patch: Patch, share: float) -> Patch:
    """A window from which, with the chance ``share``, some of the sequences are taken; at least one stays."""
    present = np.flatnonzero(patch.available)
    if len(present) < 2 or rng.random() >= share:
        return patch
    gone = rng.permutation(present)[: int(rng.integers(1, len(present)))]
    available, x = patch.available.copy(), patch.x.copy()
    available[gone], x[gone] = False, 0
    return Patch(x, available, patch.depth)
