"""A small scan with two bright objects, some slices of which are painted; fast to learn."""

import numpy as np

from voxelsmith.core.affine import Affine
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.train.tvunet import TrainingRequest, settings

GRID = (40, 36, 12)
SLICES = (2, 4, 6, 8, 10)


def scan(seed=0, affine=None, air=0.0):
    """An image with a ball of label 1 and a rod of label 3 in noise, and the labels."""
    rng = np.random.default_rng(seed)
    i, j, k = np.indices(GRID)
    labels = np.zeros(GRID, np.uint8)
    labels[(i - 12) ** 2 + (j - 18) ** 2 + (2 * (k - 6)) ** 2 < 81] = 1
    labels[(i - 30) ** 2 + (j - 12) ** 2 < 16] = 3
    image = rng.normal(0, 0.15, GRID) + labels.astype(float) / 2 + air
    affine = affine or Affine.from_spacing((1, 1, 2))
    return Volume(image.astype(np.float32), affine, "scan"), LabelVolume(labels, affine, names={1: "ball", 3: "rod"})


def example(slices=SLICES, axis=2, image_and_labels=None, **more):
    image, labels = image_and_labels or scan()
    return SupportExample(image, labels, axis, slices, **{"classes": frozenset({1, 3}), **more})


def quick(**changes):
    """Numbers with which a few steps take about a second."""
    fast = {"steps": 6, "width": 4, "batch": 2, "patch": 48, "validate_every": 3, "checkpoint_every": 2, "log_every": 1}
    fast |= {"device": "cpu", "precision": "float32", "variation_wait": 2, "warm_up": 0}
    return settings(**{**fast, **changes})


def request(out, *examples, resume=False, show=None, judges=(), **changes):
    support = SupportSet()
    for each in examples or (example(),):
        support = support.add(each)
    return TrainingRequest(support, out, quick(**changes), judges=judges, resume=resume, show=show)
