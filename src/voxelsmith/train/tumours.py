"""Made-up tumours in label maps of real brains, as four MR sequences would show them.

Owns how a tumour grows: an uneven core around a place in the white matter, with a rim that enhances, or solid, or
without enhancement; oedema that follows the white matter and stops at fluid; and tissue that is pushed aside. Owns the
contrasts, too: each sequence draws the brightness of every tissue from a range of its own, so that no scanner's
contrasts are learned by heart. Images come skull-stripped and z-scored, as the tumour network sees real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.core.regions import DepthMap
from voxelsmith.core.resample import reorient
from voxelsmith.io import read_labels
from voxelsmith.segment.crossmodality import HIGHEST
from voxelsmith.train import instrument, warp
from voxelsmith.train.noise import smooth_noise
from voxelsmith.train.sample import Field, Mask, Vector

_CSF, _CORTEX, _WHITE, _DEEP, _CEREBELLUM, _STEM = range(1, 7)
_OEDEMA, _CORE, _NECROSIS, _ENHANCING = range(7, 11)
_KINDS = 11
_FREESURFER: dict[int, tuple[int, ...]] = {
    _CSF: (4, 5, 14, 15, 24, 43, 44, 72),
    _CORTEX: (3, 42),
    _WHITE: (2, 7, 41, 46, 85),
    _DEEP: (10, 11, 12, 13, 17, 18, 26, 30, 49, 50, 51, 52, 53, 54, 58, 62),
    _CEREBELLUM: (8, 47),
    _STEM: (16, 28, 60),
}
# Millimetres of extra way that oedema has in a tissue.
_RESISTANCE = np.zeros(_KINDS, dtype=np.float32)
_RESISTANCE[[0, _CSF, _CORTEX, _DEEP, _CEREBELLUM, _STEM]] = 1e3, 1e3, 8, 6, 8, 3
_DEPTHS = np.zeros(_KINDS, dtype=np.uint8)
_DEPTHS[[_OEDEMA, _CORE, _NECROSIS, _ENHANCING]] = 1, 2, 2, 3
_FEWEST_WHITE = 1000
_WITHOUT = 0.25

# Brightness of fluid, grey and white matter, oedema, core, necrosis and enhancing tissue, from and to, as the sequences
# show them on common scanners; grey matter of other parts varies around that of the cortex.
_RANGES: dict[str, tuple[tuple[float, float], ...]] = {
    "t1": ((0.15, 0.35), (0.48, 0.62), (0.7, 0.85), (0.4, 0.62), (0.35, 0.6), (0.2, 0.45), (0.4, 0.68)),
    "t1c": ((0.15, 0.35), (0.5, 0.65), (0.68, 0.82), (0.42, 0.65), (0.38, 0.62), (0.2, 0.45), (0.95, 1.7)),
    "t2": ((0.9, 1.3), (0.5, 0.62), (0.35, 0.47), (0.68, 1.05), (0.6, 1.0), (0.7, 1.25), (0.5, 0.85)),
    "flair": ((0.08, 0.3), (0.5, 0.62), (0.4, 0.52), (0.78, 1.15), (0.65, 1.05), (0.25, 0.85), (0.62, 1.05)),
}


class Patch(NamedTuple):
    """A window of a patient, or of a made-up one.

    Parameters
    ----------
    x : array of float32, shape (M, X, Y, Z)
        z-scored sequences, 0 outside the brain and where a sequence is missing.
    available : array of bool, shape (M,)
        Which sequences there are.
    depth : array of uint8, shape (X, Y, Z)
        Nested regions, as :mod:`voxelsmith.core.regions` has them.
    """

    x: Field
    available: Mask
    depth: DepthMap


@dataclass(frozen=True)
class BrainMap:
    """A label map of a head with FreeSurfer's numbers, at about 1 mm, read when it is first looked at."""

    path: Path

    @cached_property
    def tissues(self) -> DepthMap:
        """Tissues of the brain, axes to left, posterior and superior; InputError if it has no white matter."""
        volume = np.asarray(reorient(read_labels(self.path), "LPS").array)
        table = np.zeros(int(volume.max()) + 1, dtype=np.uint8)
        for tissue, numbers in _FREESURFER.items():
            table[[number for number in numbers if number < len(table)]] = tissue
        found: DepthMap = table[volume]
        if np.count_nonzero(found == _WHITE) < _FEWEST_WHITE:
            raise InputError(
                f"{self.path} should be a label map of a head with FreeSurfer's numbers, but has hardly any white "
                "matter (2 or 41); leave it out of the folder."
            )
        brain: DepthMap = found[bounding_box(found > 0)]
        return brain

    @cached_property
    def white(self) -> npt.NDArray[np.intp]:
        """Flat indices of the white matter of the cerebrum and cerebellum."""
        return np.flatnonzero(self.tissues == _WHITE)

    @cached_property
    def counts(self) -> Vector:
        """Voxels of each tissue in the whole brain; 0 for the parts of a tumour and for the background."""
        counts = np.bincount(self.tissues.ravel(), minlength=_KINDS).astype(np.float64)
        counts[0] = 0
        return counts


def bounding_box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box that holds all of a mask that is not empty."""
    sides = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return tuple(slice(int(side[0]), int(side[-1]) + 1) for side in sides)


def synthetic_patch(
    rng: np.random.Generator, source: BrainMap, modalities: Sequence[str], side: int, spacing: float
) -> Patch:
    """A window around a made-up tumour; one in four shows none.

    Parameters
    ----------
    rng
        Where the randomness comes from.
    source
        The brain.
    modalities
        Sequences to show: "t1", "t1c", "t2", "flair".
    side
        Voxels of the window along each axis.
    spacing
        Their size in millimetres.
    """
    grid, size = (side, side, side), np.full(3, spacing)
    shape = np.array(source.tissues.shape)
    seed = np.array(np.unravel_index(rng.choice(source.white), source.tissues.shape), dtype=np.float64)
    centre = seed + rng.uniform(-0.3, 0.3, 3) * side * spacing
    matrix = warp.random_rotation(rng, size, 20) * size * np.exp(rng.uniform(-0.1, 0.1, 3))[:, None]
    places = warp.random_places(rng, grid, size, matrix, centre, np.ones(3), rng.uniform(0, 0.08))
    tumour = None if rng.random() < _WITHOUT else _Tumour.grown(rng, places, seed, size)
    if tumour is not None:
        places = tumour.pushed(places, seed)
    inside = np.ones(grid, dtype=bool)
    for place, count in zip(places, shape.tolist(), strict=True):
        inside &= (place > -0.5) & (place < count - 0.5)
        np.clip(place, 0, count - 1, out=place)
    tissues = np.where(inside, warp.look_up_nearest(source.tissues, places), 0).astype(np.uint8)
    kinds, spread = (tissues, None) if tumour is None else tumour.put_into(tissues)
    x = np.stack([_image(rng, m, tissues, kinds, spread, source.counts, size) for m in modalities])
    return Patch(x, np.ones(len(modalities), dtype=bool), _DEPTHS[kinds])


@dataclass(frozen=True, eq=False)
class _Tumour:
    """How far each voxel is from the middle, in millimetres along uneven ways, and where its parts end."""

    distance: Field
    radius: float
    reach: float
    fade: float
    push: float
    rim: Field
    style: str
    patches: Field

    @classmethod
    def grown(cls, rng: np.random.Generator, places: Field, seed: Vector, size: Vector) -> _Tumour:
        grid = (places.shape[1], places.shape[2], places.shape[3])
        radius = float(np.exp(rng.uniform(np.log(4), np.log(26))))
        shape = warp.random_rotation(rng, np.ones(3), 180) * np.exp(rng.uniform(-0.35, 0.35, 3))[:, None]
        away = (places - seed.reshape(3, 1, 1, 1)).astype(np.float32)
        distance = np.sqrt(np.square(np.einsum("ab,bijk->aijk", shape.astype(np.float32), away)).sum(0))
        distance += np.float32(0.18 * radius) * smooth_noise(rng, grid, size, radius)
        distance += np.float32(rng.uniform(0.3, 1.2)) * smooth_noise(rng, grid, size, 5)
        style = str(rng.choice(["ring", "solid", "none"], p=[0.65, 0.15, 0.2]))
        thickness = rng.uniform(1.5, 6) * (0.6 + 0.5 * np.abs(smooth_noise(rng, grid, size, 10)))
        return cls(
            distance,
            radius,
            reach=radius + float(rng.uniform(2, 26)),
            fade=float(rng.uniform(0.5, 4)),
            push=float(rng.uniform(0, 0.5)),
            rim=thickness.astype(np.float32),
            style=style,
            patches=smooth_noise(rng, grid, size, 8),
        )

    def pushed(self, places: Field, seed: Vector) -> Field:
        """Places nearer to the middle: the tissue that was there has been pushed outwards."""
        middle = seed.astype(np.float32).reshape(3, 1, 1, 1)
        closer = 1 - np.float32(self.push) * np.exp(-np.square(self.distance / self.radius) / 2)
        moved: Field = middle + (places - middle) * closer
        return moved

    def put_into(self, tissues: DepthMap) -> tuple[DepthMap, Field]:
        """Tissues with the parts of the tumour in them, and how much of a voxel's oedema there is, 0 to 1."""
        way = self.distance + _RESISTANCE[tissues]
        spread = np.clip((self.reach - way) / self.fade + 0.5, 0, 1).astype(np.float32)
        kinds = tissues.copy()
        kinds[spread > 0.5] = _OEDEMA
        core = (self.distance < self.radius) & (tissues > 0)
        if self.style == "solid":
            inner = np.where(self.patches > 1, _NECROSIS, _ENHANCING)
        else:
            inner = np.where(self.patches > 0.3, _CORE, _NECROSIS)
            if self.style == "ring":
                inner[(self.distance > self.radius - self.rim) & (self.patches > -1.3)] = _ENHANCING
            else:
                inner[self.patches > -1] = _CORE
        kinds[core] = inner[core]
        return kinds, spread


def _image(
    rng: np.random.Generator,
    modality: str,
    tissues: DepthMap,
    kinds: DepthMap,
    spread: Field | None,
    counts: Vector,
    size: Vector,
) -> Field:
    """One sequence, z-scored as if the whole brain were seen."""
    fluid, grey, white, *ill = (float(rng.uniform(low, high)) for low, high in _RANGES[modality])
    levels = np.zeros(_KINDS, dtype=np.float32)
    levels[[_CSF, _CORTEX, _WHITE]] = fluid, grey, white
    levels[[_DEEP, _CEREBELLUM]] = grey + rng.normal(0, 0.04, 2)
    levels[_STEM] = white + rng.normal(0, 0.04)
    levels[[_OEDEMA, _CORE, _NECROSIS, _ENHANCING]] = ill
    image = levels[kinds]
    grid = (kinds.shape[0], kinds.shape[1], kinds.shape[2])
    if spread is not None:
        edge = (kinds == _OEDEMA) | (kinds == tissues)
        image = np.where(edge, levels[tissues] + spread * (levels[_OEDEMA] - levels[tissues]), image)
        image += np.float32(rng.uniform(0.02, 0.1)) * smooth_noise(rng, grid, size, 5) * (kinds >= _OEDEMA)
    image += np.float32(rng.uniform(0.01, 0.04)) * smooth_noise(rng, grid, size, 3)
    image = instrument.blur(image.astype(np.float32), rng.uniform(0.4, 0.9) / size)
    bias, noise = rng.uniform(0, 0.12), rng.uniform(0.01, 0.06)
    image = instrument.gaussian_noise(rng, instrument.bias_field(rng, image, size, bias), noise)
    ill_counts = np.bincount(kinds.ravel(), minlength=_KINDS)[_OEDEMA:] * float(np.prod(size))
    seen = counts * max(1 - ill_counts.sum() / counts.sum(), 0.5)
    seen[_OEDEMA:] = ill_counts
    mean = float(np.average(levels, weights=seen))
    # Bias, noise and texture widen what the levels spread.
    deviation = float(np.sqrt(np.average(np.square(levels - mean), weights=seen) + (bias * mean) ** 2 + noise**2))
    scored: Field = np.clip((image - np.float32(mean)) / np.float32(deviation), -HIGHEST, HIGHEST)
    scored[kinds == 0] = 0
    return scored


def brain_maps(folder: Path) -> tuple[BrainMap, ...]:
    """The label maps of a folder, ``*.nii.gz`` or ``*.nii``; InputError if there are none."""
    found = sorted([*folder.glob("*.nii.gz"), *folder.glob("*.nii")])
    if not found:
        raise InputError(f"{folder} should hold label maps of heads (*.nii.gz), but has none; name another folder.")
    return tuple(BrainMap(path) for path in found)
