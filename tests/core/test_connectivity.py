"""Connectivity: topology of known shapes, and the filters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import euler_number

from voxelsmith.core.connectivity import (
    Betti,
    betti,
    betti_of_labels,
    fill_cavities,
    holes_by_slice,
    keep_components,
)
from voxelsmith.core.volume import LabelVolume


def ball():
    return np.ones((4, 4, 4), bool)


def ring():
    mask = np.ones((5, 5, 2), bool)
    mask[2, 2] = False
    return mask


def shell():
    mask = np.ones((5, 5, 5), bool)
    mask[2, 2, 2] = False
    return mask


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (np.zeros((3, 3, 3)), Betti(0, 0, 0)),
        (ball(), Betti(1, 0, 0)),
        (ring(), Betti(1, 1, 0)),
        (shell(), Betti(1, 0, 1)),
        (np.pad(ring(), ((0, 6), (0, 0), (0, 0))) | np.pad(shell(), ((6, 0), (0, 0), (0, 0)))[:, :, :2], None),
        (ring()[:, :, :1], Betti(1, 1, 0)),
    ],
)
def test_known_shapes(mask, found):
    if found is None:
        assert betti(mask).components == 2
    else:
        assert betti(mask) == found


def test_voxels_that_touch_at_a_corner_are_one_piece():
    mask = np.zeros((2, 2, 2))
    mask[0, 0, 0] = mask[1, 1, 1] = 1
    assert betti(mask) == Betti(1, 0, 0)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_euler_characteristic_is_that_of_scikit_image(seed):
    mask = np.random.default_rng(seed).random((6, 5, 4)) < 0.4
    found = betti(mask)
    assert found.components - found.tunnels + found.cavities == euler_number(mask, connectivity=3)
    assert min(found.components, found.tunnels, found.cavities) >= 0


def test_each_label_by_itself():
    labels = np.zeros((5, 12, 5), np.uint8)
    labels[:, :5] = 2 * shell()
    labels[:, 7:12, :2] = 5 * ring()
    assert betti_of_labels(LabelVolume(labels)) == {2: Betti(1, 0, 1), 5: Betti(1, 1, 0)}


def test_holes_are_counted_slice_by_slice():
    assert holes_by_slice(ring(), 2) == 2
    assert holes_by_slice(ring(), 0) == 0
    assert holes_by_slice(shell(), 1) == 1


def test_large_components_stay():
    mask = np.zeros((12, 3, 3), bool)
    mask[:5], mask[6:8], mask[9, 0, 0] = True, True, True
    assert keep_components(mask, least_voxels=2).sum() == 45 + 18
    assert keep_components(mask, most=1).sum() == 45
    assert keep_components(mask, most=5).sum() == mask.sum()
    assert not keep_components(np.zeros_like(mask), most=1).any()


def test_cavities_are_filled_and_tunnels_are_not():
    assert fill_cavities(shell()).all()
    assert (fill_cavities(ring()) == ring()).all()
    assert fill_cavities(ring()[:, :, :1]).all()
