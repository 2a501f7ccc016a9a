"""Presets: what they take from the volume."""

import numpy as np
import pytest

from voxelsmith.core.volume import Volume
from voxelsmith.register.presets import PRESETS, preset

SMALL, LARGE = (Volume(np.zeros(grid, np.uint8)) for grid in ((100, 100, 100), (128, 128, 100)))


@pytest.mark.parametrize("name", PRESETS)
def test_large_volumes_are_deformed_less_smoothly(name):
    small, large = preset(name, SMALL).deformable, preset(name, LARGE).deformable
    assert large.field_sigma < small.field_sigma
    assert large.ease > small.ease


def test_the_fast_preview_leaves_out_the_finest_level():
    assert preset("fast", LARGE).deformable.shrinks[-1] == 2
    assert preset("same-modality", LARGE).deformable.shrinks == ()
