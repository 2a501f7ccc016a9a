"""How a map of tissues looks in an instrument that may exist.

Owns :func:`render`: it fills the background with structures that nobody annotated, gives each class of tissue a
brightness and a texture, and takes the picture like a CT, MR, PET or ultrasound scanner, a fluorescence microscope, or
none of these. Contrast between neighbours is mostly clear and sometimes weak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from voxelsmith.train import instrument
from voxelsmith.train.canvas import boundaries
from voxelsmith.train.noise import noise_regions, smooth_noise
from voxelsmith.train.sample import Field, Grid, Labels, Vector
from voxelsmith.train.separable import apply_axes, blur_matrix
from voxelsmith.train.shapes import log_uniform


@dataclass(frozen=True, eq=False)
class Tissues:
    """What is to be rendered.

    Parameters
    ----------
    index : array of int16, shape (I, J, K)
        The tissue of each voxel, 0 to T - 1; 0 is air.
    classes : array of integers, shape (T,)
        The class of each tissue, 0 to C - 1; class 0 is air.
    background : array of bool, shape (C,)
        Classes that nobody annotates.
    spacing : array of float, shape (3,)
        Voxel size in millimetres.
    """

    index: npt.NDArray[np.int16]
    classes: npt.NDArray[np.integer]
    background: npt.NDArray[np.bool_]
    spacing: Vector

    @property
    def grid(self) -> Grid:
        """Number of voxels along i, j and k."""
        i, j, k = self.index.shape
        return i, j, k


def render(
    rng: np.random.Generator,
    labels: Labels,
    spacing: npt.ArrayLike,
    *,
    classes: npt.ArrayLike | None = None,
    air: bool = False,
) -> Field:
    """An image of a label map.

    Parameters
    ----------
    rng
        Where the randomness comes from.
    labels : array of integers, shape (I, J, K)
        Small numbers, 0 for background. Unannotated tissues may have numbers as well.
    spacing
        Voxel size in millimetres.
    classes : array of integers, shape (highest label + 1,)
        Labels with the same number here look alike; by default each label looks different. The first one is 0.
    air
        Whether 0 is empty space, as around a head that is labelled completely; otherwise it is filled with structures.

    Returns
    -------
    array of float32, shape (I, J, K)
        Brightness, about 0 to 1.
    """
    size = np.asarray(spacing, dtype=np.float64)
    index = labels.astype(np.int16)
    kinds = np.arange(int(index.max()) + 1) if classes is None else np.asarray(classes)
    own = int(kinds.max()) + 1
    if not air:
        index, added = _fill_background(rng, index, size, len(kinds))
        kinds = np.concatenate([kinds, own + np.arange(added)])
    background = np.arange(int(kinds.max()) + 1) >= own
    background[0] = True
    return _MODALITIES[rng.choice(len(_MODALITIES), p=_CHANCES)](rng, Tissues(index, kinds, background, size))


def _fill_background(
    rng: np.random.Generator, index: npt.NDArray[np.int16], spacing: Vector, first: int
) -> tuple[npt.NDArray[np.int16], int]:
    """Give voxels of tissue 0 to new tissues, numbered from ``first``; returns how many of them there are.

    Half of the time they fill the grid; otherwise they fill a body around the labels, and what lies outside is air.
    """
    i, j, k = index.shape
    extent = spacing * index.shape
    count = int(rng.integers(2, 8))
    scale = float(np.prod(extent) ** (1 / 3)) * rng.uniform(0.12, 0.45)
    filling = noise_regions(rng, (i, j, k), spacing, count, scale) + np.int16(first)
    empty = index == 0
    if rng.random() < 0.5:
        sigma = extent.max() * rng.uniform(0.06, 0.2) / spacing
        near = apply_axes(
            (~empty).astype(np.float32), [blur_matrix(n, s) for n, s in zip(index.shape, sigma.tolist(), strict=True)]
        )
        empty &= near > rng.uniform(0.02, 0.15)
    return np.where(empty, filling, index), count


def _paint(rng: np.random.Generator, tissues: Tissues, levels: Vector, texture: float, jitter: float) -> Field:
    """Brightness and texture of every voxel, before any instrument.

    Parameters
    ----------
    rng
        Where the randomness comes from.
    tissues
        What is where.
    levels : array of float, shape (C,)
        Mean brightness of each class.
    texture
        Typical standard deviation within a tissue; many have much less.
    jitter
        How much tissues of one class differ in brightness.
    """
    count = len(tissues.classes)
    means = levels[tissues.classes] + jitter * rng.standard_normal(count)
    image: Field = means.astype(np.float32).take(tissues.index)
    finest, span = float(tissues.spacing.min()), float(np.prod(tissues.spacing * tissues.grid) ** (1 / 3))
    for scale in (1.5 * finest, log_uniform(rng, 3, 8) * finest, span * rng.uniform(0.25, 0.6)):
        strength = texture * np.minimum(rng.exponential(0.7, len(levels)), 1.5) * (rng.random(len(levels)) < 0.6)
        strength[0] *= 0.2
        image += strength[tissues.classes].astype(np.float32).take(tissues.index) * smooth_noise(
            rng, tissues.grid, tissues.spacing, scale
        )
    return image


def _spread(rng: np.random.Generator, count: int) -> Vector:
    """Levels all over 0 to 1, so that few of them are close to each other."""
    levels = (rng.permutation(count) + rng.uniform(0, 1, count)) / max(count, 1)
    return levels


def _resolve(rng: np.random.Generator, image: Field, spacing: Vector, chance: float) -> Field:
    """Partial volume, and with ``chance`` a loss of resolution along one axis."""
    image = instrument.blur(image, rng.uniform(0.2, 0.75) * (spacing.min() / spacing) ** 0.5)
    if rng.random() < chance:
        axis = int(rng.integers(3))
        image = instrument.thick_slices(image, axis, rng.uniform(1.5, 4) ** min(1.0, spacing.min() / spacing[axis]))
    return image


def _plain(rng: np.random.Generator, tissues: Tissues) -> Field:
    """No instrument in particular: any contrast, texture and noise."""
    levels = _spread(rng, len(tissues.background))
    image = _paint(rng, tissues, levels, rng.uniform(0, 0.12), rng.uniform(0, 0.04))
    image = _resolve(rng, image, tissues.spacing, 0.25)
    if rng.random() < 0.5:
        image = instrument.bias_field(rng, image, tissues.spacing, rng.uniform(0, 0.25))
    image = instrument.gaussian_noise(rng, image, log_uniform(rng, 0.005, 0.12))
    return _finish(rng, image, 0.2)


def _ct(rng: np.random.Generator, tissues: Tissues) -> Field:
    """Black air, much soft tissue of similar brightness, some fat and bone, cut to a window."""
    count = len(tissues.background)
    soft = 0.35 + 0.45 * _spread(rng, count)
    levels = np.where(rng.random(count) < 0.3, rng.choice([-0.5, 0.05, 0.1, 1.0, 1.5], count), soft)
    levels[0] = -0.6
    image = _paint(rng, tissues, levels, rng.uniform(0, 0.05), rng.uniform(0, 0.02))
    image = _resolve(rng, image, tissues.spacing, 0.2)
    image = instrument.gaussian_noise(rng, image, log_uniform(rng, 0.005, 0.08))
    return np.clip(image, -0.2, 1.3) if rng.random() < 0.6 else image


def _mr(rng: np.random.Generator, tissues: Tissues) -> Field:
    """Any order of brightness on black air, a bias field, Rician noise, often thick slices."""
    levels = 0.08 + 0.92 * _spread(rng, len(tissues.background))
    levels[0] = rng.uniform(0, 0.03)
    image = _paint(rng, tissues, levels, rng.uniform(0, 0.08), rng.uniform(0, 0.03))
    image = _resolve(rng, np.maximum(image, 0), tissues.spacing, 0.35)
    image = instrument.bias_field(rng, image, tissues.spacing, rng.uniform(0.05, 0.35))
    image = instrument.rician_noise(rng, image, log_uniform(rng, 0.008, 0.08))
    return _finish(rng, image, 0.05)


def _pet(rng: np.random.Generator, tissues: Tissues) -> Field:
    """Bright objects on a dim background, blurred, counted, and smoothed again."""
    count = len(tissues.background)
    levels = np.where(tissues.background, 0.22 * rng.random(count), 0.25 + 0.75 * _spread(rng, count))
    image = _paint(rng, tissues, levels, rng.uniform(0, 0.08), rng.uniform(0, 0.1))
    sigma = rng.uniform(0.7, 1.4) * tissues.spacing.min() / tissues.spacing
    image = instrument.shot_noise(rng, instrument.blur(image, sigma), log_uniform(rng, 8, 120))
    return instrument.blur(image, sigma * rng.uniform(0.3, 0.7))


def _fluorescence(rng: np.random.Generator, tissues: Tissues) -> Field:
    """Stained, uneven objects in the dark, blurred most along the coarse axis and dimmer with depth.

    At times the rims of the objects are stained rather than their insides.
    """
    count = len(tissues.background)
    levels = np.where(tissues.background, rng.uniform(0, 0.15) * rng.random(count), 0.3 + 0.7 * _spread(rng, count))
    image = _paint(rng, tissues, levels, rng.uniform(0.02, 0.16), rng.uniform(0, 0.15))
    if rng.random() < 0.3:
        image *= np.float32(rng.uniform(0.2, 0.6))
        image += np.float32(rng.uniform(0.4, 0.9)) * boundaries(tissues.index)
    image = np.maximum(image, 0)
    axis = int(np.argmax(tissues.spacing + 1e-3 * rng.random(3)))
    sigma = np.full(3, rng.uniform(0.3, 1.0))
    sigma[axis] *= rng.uniform(1, 2.2)
    depth = np.exp(-rng.uniform(0, 1) * np.linspace(0, 1, tissues.grid[axis], dtype=np.float32))
    image = instrument.blur(image, sigma) * depth.reshape([-1 if index == axis else 1 for index in range(3)])
    return instrument.shot_noise(rng, image, log_uniform(rng, 15, 400)) + np.float32(0.05)


def _ultrasound(rng: np.random.Generator, tissues: Tissues) -> Field:
    """Speckle that grows with brightness, and a compressed scale."""
    levels = 0.05 + 0.95 * _spread(rng, len(tissues.background))
    image = _paint(rng, tissues, levels, rng.uniform(0, 0.06), 0.02)
    image = np.maximum(_resolve(rng, image, tissues.spacing, 0.2), 0)
    return _finish(rng, instrument.speckle(rng, image, rng.uniform(0.15, 0.5)), 0.2)


def _finish(rng: np.random.Generator, image: Field, inversion: float) -> Field:
    """A random gamma, and with the chance ``inversion`` black and white exchanged."""
    if rng.random() < 0.5:
        image = instrument.gamma(image, log_uniform(rng, 0.6, 1.6))
    return 1 - image if rng.random() < inversion else image


_MODALITIES: tuple[Callable[[np.random.Generator, Tissues], Field], ...] = (
    _plain,
    _ct,
    _mr,
    _pet,
    _fluorescence,
    _ultrasound,
)
_CHANCES = (0.3, 0.2, 0.22, 0.08, 0.13, 0.07)
