"""Made-up volumes for training: random shapes in a random instrument.

Owns :func:`synthetic_sample`, which puts grid, scene and appearance together.
"""

from __future__ import annotations

import numpy as np

from voxelsmith.train.appearance import render
from voxelsmith.train.sample import Annotated
from voxelsmith.train.scene import random_grid, random_scene


def synthetic_sample(rng: np.random.Generator) -> Annotated:
    """An image of random shapes, 1 to 30 of them annotated, on a random grid of at most 600 000 voxels."""
    grid, spacing = random_grid(rng)
    scene = random_scene(rng, grid, spacing)
    image = render(rng, scene.tissues, spacing, classes=scene.classes)
    return Annotated(image, scene.labels, spacing, "shapes")
