"""Presets: what they take from the volume."""

import numpy as np

from voxelsmith.core.volume import Volume
from voxelsmith.register.presets import preset

SMALL, LARGE = (Volume(np.zeros(grid, np.uint8)) for grid in ((100, 100, 100), (128, 128, 100)))


def test_the_fast_preview_of_a_large_volume_leaves_out_full_resolution():
    assert preset("fast", SMALL).deformable.shrinks[-1] == 1
    assert preset("fast", LARGE).deformable.shrinks[-1] == 2
    assert preset("same-modality", LARGE).deformable.shrinks == ()


def test_the_fast_preview_takes_few_steps():
    fast, usual = (preset(name, SMALL).deformable for name in ("fast", "same-modality"))
    assert fast.iterations < usual.iterations
    assert fast.fine_iterations < usual.fine_iterations
