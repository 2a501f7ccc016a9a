"""Presets: what they take from the volume."""

import numpy as np
import pytest

from voxelsmith.core.volume import Volume
from voxelsmith.register.presets import preset

SMALL, LARGE = (Volume(np.zeros(grid, np.uint8)) for grid in ((100, 100, 100), (128, 128, 100)))


def test_the_fast_preview_of_a_large_volume_leaves_out_full_resolution():
    assert preset("fast", SMALL).deformable.shrinks[-1] == 1
    assert preset("fast", LARGE).deformable.shrinks[-1] == 2
    assert preset("same-modality", LARGE).deformable.shrinks == ()


@pytest.mark.parametrize("volume", [SMALL, LARGE])
def test_the_fast_preview_takes_few_steps(volume):
    fast, usual = (preset(name, volume).deformable for name in ("fast", "same-modality"))
    assert fast.iterations < usual.iterations
    assert min(fast.iterations, fast.fine_iterations) < usual.fine_iterations


def test_the_fast_preview_without_full_resolution_smooths_less():
    fast, usual = (preset(name, LARGE).deformable for name in ("fast", "same-modality"))
    assert fast.field_sigma < usual.field_sigma
    assert fast.gradient_sigma < usual.gradient_sigma


@pytest.mark.parametrize("name", ["cross-modality", "other-contrast"])
def test_across_contrasts_detail_is_smoothed_like_all_else(name):
    found = preset(name, SMALL).deformable
    assert (found.detail_gradient_sigma, found.detail_field_sigma) == (found.gradient_sigma, found.field_sigma)
