"""Phantoms of bodies with two organs, alike but not the same from one to the next."""

import numpy as np
from scipy import ndimage

from voxelsmith.core.affine import Affine
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import Volume

GRID = (30, 28, 12)
SPACING = (2.0, 2.0, 4.0)


def body(seed=0, grid=GRID, shift=(0, 0, 0)):
    """An image with its labels: 1 a bright ball, 2 a dark one beside it, in a textured body; shift in voxels."""
    rng = np.random.default_rng(seed)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid), indexing="ij"), axis=-1) - np.array(shift)
    middle = (np.array(grid) - 1) / 2

    def ball(centre, radius):
        return np.linalg.norm((index - middle - centre) * SPACING, axis=-1) <= radius

    wobble = rng.normal(0, 0.4, (2, 3))
    outline = (((index - middle) / (0.44 * np.array(grid))) ** 2).sum(-1) <= 1
    one, other = ball((-5, 0, 0) + wobble[0], 9), ball((6, 2, 1) + wobble[1], 8)
    image = 100 * outline + 80 * one - 60 * other
    image = ndimage.gaussian_filter(image.astype(float), 0.6) + rng.normal(0, 6, grid)
    labels = np.where(one, 1, np.where(other, 2, 0)).astype(np.uint8)
    volume = Volume(image.astype(np.float32), Affine.from_spacing(SPACING), f"body {seed}")
    return volume, volume.labels(labels)


def support_of(*pairs, **options):
    """A support set of whole volumes, or of what the options say."""
    found = SupportSet()
    for image, labels in pairs:
        found = found.add(SupportExample(image, labels, **options))
    return found
