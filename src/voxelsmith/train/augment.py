"""Other brightness for real images: the same anatomy as another scanner, protocol or contrast might show it.

Owns :func:`augment`, which keeps every voxel in its place. What moves voxels is in
:mod:`~voxelsmith.train.deform`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from voxelsmith.train import instrument
from voxelsmith.train.sample import Field
from voxelsmith.train.shapes import log_uniform


def augment(rng: np.random.Generator, image: Field, spacing: npt.ArrayLike) -> Field:
    """Change contrast, sharpness and noise at random, mostly mildly.

    Parameters
    ----------
    rng
        Where the randomness comes from.
    image : array of float32, shape (I, J, K)
        In any units.
    spacing
        Voxel size in millimetres.

    Returns
    -------
    array of float32, shape (I, J, K)
        In about the range of the image; a constant image comes back as it was.
    """
    low, high = instrument.brightness_range(image)
    if high <= low:
        return image.copy()
    size = np.asarray(spacing, dtype=np.float64)
    result = (image - np.float32(low)) / np.float32(high - low)
    if rng.random() < 0.4:
        result = instrument.remap(rng, result, wildness=float(rng.choice([0.08, 0.15, 0.6], p=[0.5, 0.35, 0.15])))
    if rng.random() < 0.4:
        result = instrument.gamma(result, log_uniform(rng, 0.6, 1.7))
    if rng.random() < 0.06:
        result = 1 - result
    if rng.random() < 0.3:
        result = instrument.bias_field(rng, result, size, rng.uniform(0.05, 0.3))
    if rng.random() < 0.15:
        result = instrument.thick_slices(result, int(rng.integers(3)), rng.uniform(1.5, 3.5))
    if rng.random() < 0.25:
        result = instrument.blur(result, rng.uniform(0.3, 1.1) * size.min() / size)
    elif rng.random() < 0.2:
        result = instrument.sharpen(result, 1.0, rng.uniform(0.3, 1.2))
    if rng.random() < 0.15:
        result = np.float32(0.5) + np.float32(rng.uniform(0.3, 0.8)) * (result - np.float32(0.5))
    if rng.random() < 0.35:
        result = instrument.gaussian_noise(rng, result, log_uniform(rng, 0.01, 0.1))
    return result * np.float32(high - low) + np.float32(low)
