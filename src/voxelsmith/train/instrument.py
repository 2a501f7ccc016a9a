"""What an instrument does to a picture: blur, thick slices, uneven sensitivity, noise, a brightness scale of its own.

Owns these effects one by one, for the rendering of made-up volumes and for the augmentation of real ones. Images are
float32 of shape (I, J, K); unless said otherwise their values lie at about 0 to 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from voxelsmith.train.noise import smooth_noise
from voxelsmith.train.sample import Field
from voxelsmith.train.separable import apply_axes, blur_matrix, coarse_matrix

_LEVELS = 1024


def brightness_range(image: Field) -> tuple[float, float]:
    """The 1st and 99th percentile of a sparse sample of the voxels, and if these agree the extremes of all."""
    low, high = np.percentile(image[::2, ::2, ::2], (1, 99)).tolist()
    return (low, high) if high > low else (float(image.min()), float(image.max()))


def blur(image: Field, sigma: npt.ArrayLike) -> Field:
    """A Gaussian blur of ``sigma`` voxels along each axis."""
    widths = np.broadcast_to(np.asarray(sigma, dtype=np.float64), (3,)).tolist()
    return apply_axes(
        image, [blur_matrix(n, s) if s > 0.15 else None for n, s in zip(image.shape, widths, strict=True)]
    )


def sharpen(image: Field, sigma: float, amount: float) -> Field:
    """Add ``amount`` times what a blur of ``sigma`` voxels takes away."""
    sharper: Field = image + np.float32(amount) * (image - blur(image, sigma))
    return sharper


def thick_slices(image: Field, axis: int, factor: float) -> Field:
    """Average slabs of ``factor`` voxels along an axis and interpolate between them."""
    matrix = coarse_matrix(image.shape[axis], factor)
    return apply_axes(image, [matrix if index == axis else None for index in range(3)])


def bias_field(rng: np.random.Generator, image: Field, spacing: npt.ArrayLike, strength: float) -> Field:
    """Multiply by a smooth field whose logarithm has a standard deviation of ``strength``."""
    scale = float((np.asarray(spacing) * image.shape).max()) * rng.uniform(0.35, 0.9)
    field = smooth_noise(rng, (image.shape[0], image.shape[1], image.shape[2]), spacing, scale)
    biased: Field = image * np.exp(np.float32(strength) * field)
    return biased


def gaussian_noise(rng: np.random.Generator, image: Field, sigma: float) -> Field:
    """Noise of the same strength everywhere, as in CT; a third of the time its grain is coarser than a voxel."""
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    if rng.random() < 0.35:
        grain = blur(grain, rng.uniform(0.4, 0.9))
        grain /= max(float(grain.std()), 1e-6)
    return image + np.float32(sigma) * grain


def rician_noise(rng: np.random.Generator, image: Field, sigma: float) -> Field:
    """The length of a signal with Gaussian noise in two channels: the noise of MR, which lifts the darkness."""
    real = image + np.float32(sigma) * rng.standard_normal(image.shape, dtype=np.float32)
    imaginary = np.float32(sigma) * rng.standard_normal(image.shape, dtype=np.float32)
    length: Field = np.hypot(real, imaginary)
    return length


def shot_noise(rng: np.random.Generator, image: Field, counts: float) -> Field:
    """The noise of counting ``counts`` particles where the image is 1; its variance grows with the signal."""
    deviation = np.sqrt(np.maximum(image, np.float32(0)) / np.float32(counts))
    return np.maximum(image + deviation * rng.standard_normal(image.shape, dtype=np.float32), np.float32(0))


def speckle(rng: np.random.Generator, image: Field, strength: float) -> Field:
    """Multiplicative grain of about a voxel, as in ultrasound and optical coherence tomography."""
    grain = blur(rng.standard_normal(image.shape, dtype=np.float32), rng.uniform(0.3, 0.7))
    grain *= np.float32(strength) / max(float(grain.std()), 1e-6)
    return image * np.maximum(1 + grain, np.float32(0.05))


def gamma(image: Field, exponent: float) -> Field:
    """Raise to a power, keeping the sign of values below 0."""
    powered: Field = np.abs(image) ** np.float32(exponent)
    signed: Field = np.copysign(powered, image)
    return signed


def remap(rng: np.random.Generator, image: Field, *, wildness: float) -> Field:
    """Send brightness through a random piecewise linear curve that joins (0, 0) and (1, 1).

    Parameters
    ----------
    rng
        Where the randomness comes from.
    image
        Values outside 0 to 1 are carried along unchanged in their distance.
    wildness
        0 leaves the curve straight; up to 0.15 it mostly rises everywhere, at 1 the order of tissues is lost.
    """
    knots = np.concatenate([[0.0], np.sort(rng.uniform(0.05, 0.95, int(rng.integers(2, 6)))), [1.0]])
    heights = knots.copy()
    heights[1:-1] += wildness * rng.uniform(-1, 1, len(knots) - 2)
    curve = np.interp(np.linspace(0, 1, _LEVELS), knots, heights).astype(np.float32)
    inside = np.clip(image, 0, 1)
    place = inside * np.float32(_LEVELS - 1)
    below = np.minimum(place.astype(np.int16), _LEVELS - 2)
    mapped: Field = curve.take(below) + (place - below) * np.diff(curve).take(below) + (image - inside)
    return mapped
