"""A made-up brain with a tumour in four MR sequences, and a network that sees it by its brightness."""

import numpy as np
from scipy.special import expit

from voxelsmith.core.affine import Affine
from voxelsmith.core.volume import Volume

# Semi-axes of the brain along L, P and S in millimetres: 1.4 litres.
BRAIN = np.array([66.0, 82.0, 62.0])
TUMOUR = np.array([20.0, -15.0, 10.0])
# Radii of the whole tumour, its core and what enhances.
RADII = (26.0, 18.0, 12.0)
FLUID, CORTEX, WHITE, OEDEMA, CORE, ENHANCING = range(1, 7)
BRIGHTNESS = {
    "t1": (0, 52, 64, 80, 55, 40, 55),
    "t1c": (0, 52, 64, 80, 55, 40, 140),
    "t2": (0, 120, 70, 55, 100, 90, 80),
    "flair": (0, 10, 68, 60, 115, 95, 90),
}


def geometry(spacing, axes=(-1, -1, 1)):
    """Affine and grid of an image with voxels of a size in millimetres, centred; by default along L, P and S."""
    size = np.broadcast_to(np.asarray(spacing, float), (3,))
    grid = tuple(np.ceil((2 * BRAIN + 24) / size).astype(int).tolist())
    matrix = np.diag([*(size * axes), 1.0])
    matrix[:3, 3] = -(matrix[:3, :3] @ ((np.array(grid) - 1) / 2))
    return Affine(matrix), grid


def tissues(spacing=4.0, affine=None, grid=None, grown=1.0):
    """What is where, and the depths of the tumour (0 to 3), both on one grid."""
    if affine is None:
        affine, grid = geometry(spacing)
    at = affine.apply(np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), axis=-1))
    radius = np.linalg.norm(at / (BRAIN * grown), axis=-1)
    below = (1 - radius) * BRAIN.mean() * grown
    kind = np.zeros(grid, int)
    for least, tissue in ((0, FLUID), (3, CORTEX), (8, WHITE)):
        kind[below > least] = tissue
    distance = np.linalg.norm(at - TUMOUR, axis=-1)
    depth = np.zeros(grid, np.uint8)
    for place, (reach, tissue) in enumerate(zip(RADII, (OEDEMA, CORE, ENHANCING), strict=True)):
        kind[distance < reach] = tissue
        depth[distance < reach] = place + 1
    return kind, depth, affine


def sequences(names=("t1", "t1c", "t2", "flair"), spacing=4.0, seed=0, **where):
    """Sequences of one patient as volumes, skull-stripped, background 0; and the depths of the tumour."""
    kind, depth, affine = tissues(spacing, **where)
    rng = np.random.default_rng(seed)
    images = {}
    for name in names:
        noise = rng.normal(0, 2, kind.shape)
        values = np.where(kind > 0, np.array(BRIGHTNESS[name])[kind] + noise, 0)
        images[name] = Volume(values.astype(np.float32), affine, name)
    return images, depth


class Brightness:
    """A network that cuts z-scores of FLAIR and T1c, voxel by voxel."""

    identity = "brightness"
    side, multiple = 96, 8

    def __init__(self, modalities=("t1c", "flair"), side=96):
        self.modalities, self.side = modalities, side
        self.windows = []

    def __call__(self, images, available):
        self.windows.append(images.shape[1:])
        by_name = dict(zip(self.modalities, images, strict=True))
        whole = _above(by_name["flair"], 1.2) if available[self.modalities.index("flair")] else np.zeros_like(images[0])
        enhancing = _above(by_name["t1c"], 2.0)
        core = np.maximum(enhancing, whole * _above(-by_name["t1c"], 2.0))
        return np.stack([np.maximum(whole, core), core, enhancing])

    def synthetic(self, available):
        return tuple(m for m, there in zip(self.modalities, available, strict=True) if not there)


def _above(values, least):
    return expit(20 * (values - least)).astype(np.float32)
