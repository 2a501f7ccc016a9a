"""Made-up patients with tumours, small enough to train on within a test."""

import numpy as np

from voxelsmith.models.crossmodality import TWO, Architecture
from voxelsmith.segment.crossmodality import zscored
from voxelsmith.train.crossmodality_data import Case
from voxelsmith.train.noise import smooth_noise

TINY = Architecture(TWO, widths=(4, 8), detail=4)
TINY_FOUR = Architecture(widths=(4, 8), detail=4)
GRID = (36, 40, 32)
# Brightness of tissue, fluid, and depths 1, 2 and 3.
LEVELS = {
    "t1": (0.7, 0.3, 0.55, 0.5, 0.55),
    "t1c": (0.7, 0.3, 0.55, 0.3, 1.3),
    "t2": (0.5, 1.1, 0.9, 0.95, 0.7),
    "flair": (0.5, 0.1, 1.0, 0.7, 0.85),
}


def patient(seed, modalities=TWO):
    """An ellipsoid of a brain with a ventricle and a nested tumour, in the given sequences."""
    rng = np.random.default_rng(seed)
    places = np.indices(GRID).astype(np.float32)
    half = np.array(GRID) / 2

    def within(centre, radii):
        away = (places - np.reshape(centre, (3, 1, 1, 1))) / np.reshape(radii, (3, 1, 1, 1))
        return np.sqrt((away**2).sum(0))

    brain = within(half - 0.5, half - 2) < 1
    ventricle = within(half, (4, 8, 4)) < 1
    distance = within(half + rng.choice([-7, 7], 3) * (1, 1, 0.5), rng.uniform(0.8, 1.2, 3))
    distance += 0.7 * smooth_noise(rng, GRID, np.ones(3), 6)
    reach = rng.uniform(7, 9)
    depth = sum((distance < reach * share).astype(np.uint8) for share in (1, 0.7, 0.4)) * brain
    kind = np.where(depth > 0, depth + 1, ventricle)
    noise = [0.05 * rng.standard_normal(GRID) for _ in modalities]
    images = [np.asarray(LEVELS[m])[kind] + n for m, n in zip(modalities, noise, strict=True)]
    x = np.stack([zscored(image, brain) for image in images])
    return Case(f"patient {seed}", x, np.ones(len(modalities), bool), depth.astype(np.uint8))


def grainy(seed):
    """A patient whose tumour is as bright as the brain in the first sequence, but grainier; bright in the second."""
    rng = np.random.default_rng(seed)
    places = np.indices(GRID) - rng.uniform(13, 19, (3, 1, 1, 1))
    tumour = np.sqrt((places**2).sum(0)) < rng.uniform(8, 10)
    grain, noise = (smooth_noise(rng, GRID, np.ones(3), 2) for _ in range(2))
    x = np.stack([np.where(tumour, 1.6, 0.4) * grain, np.where(tumour, 1.5, -0.5) + 0.1 * noise]).astype(np.float32)
    return Case(f"grainy {seed}", x, np.ones(2, bool), tumour.astype(np.uint8))


def head():
    """A label map with FreeSurfer's numbers: white matter around ventricles, cortex, fluid, and a skull."""
    places = np.indices((64, 64, 64)) - 31.5
    distance = np.sqrt((places**2).sum(0))
    labels = np.zeros((64, 64, 64), np.int16)
    for radius, left, right in ((31, 516, 516), (29, 24, 24), (27, 3, 42), (23, 2, 41), (7, 4, 43)):
        labels[distance < radius] = left
        labels[(distance < radius) & (places[0] > 0)] = right
    return labels
