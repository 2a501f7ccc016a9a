"""Small images for the tests of registration."""

import numpy as np
import torch
from scipy import ndimage


def textured(*grid, seed=0, sigma=1.0):
    """A smooth random image (1, 1, *grid) in 0..1, float64."""
    rng = np.random.default_rng(seed)
    x = ndimage.gaussian_filter(rng.standard_normal(grid), sigma)
    x = (x - x.min()) / np.ptp(x)
    return torch.from_numpy(x)[None, None]


def noise(*shape, seed=0):
    """Uniform in 0..1, float64."""
    return torch.from_numpy(np.random.default_rng(seed).random(shape))
