"""Search: a part of a body is found in the whole, wherever its header puts it."""

import numpy as np
import pytest
from scipy import ndimage

from registration_pairs import blobs
from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.resample import reorient
from voxelsmith.core.volume import Volume
from voxelsmith.register.preparation import prepare
from voxelsmith.register.search import difference, search

FAR = np.array((250.0, -40.0, 900.0))


@pytest.fixture(scope="module")
def whole():
    return blobs()


def elsewhere(volume, shift=FAR):
    matrix = volume.affine.matrix.copy()
    matrix[:3, 3] += shift
    return Volume(volume.array, Affine(matrix), volume.name)


def slab(volume, first=16, last=24):
    return Volume(volume.array[..., first:last], volume.affine.shifted((0, 0, first)), "slab")


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "PIR"])
def test_a_slab_with_a_wrong_header_is_found_in_the_whole(whole, axcodes):
    found = search(reorient(slab(whole), axcodes), elsewhere(whole))
    np.testing.assert_allclose(found.matrix[:3, 3], FAR, atol=1.01)
    np.testing.assert_array_equal(found.matrix[:3, :3], np.eye(3))
    assert found.matched


def test_the_whole_is_found_around_a_slab(whole):
    found = search(whole, elsewhere(slab(whole)))
    np.testing.assert_allclose(found.matrix[:3, 3], FAR, atol=1.01)


def test_inverted_brightness_is_found_too(whole):
    inverted = np.where(whole.array > 5, 120 - whole.array, 0).astype(np.float32)
    found = search(whole, elsewhere(Volume(inverted, whole.affine)))
    np.testing.assert_allclose(found.matrix[:3, 3], FAR, atol=1.01)


def test_images_of_something_else_do_not_match(whole):
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=whole.grid), 1.5)
    other = search(whole, Volume((1000 * texture).astype(np.float32), whole.affine))
    assert not other.matched
    assert other.unlike > search(whole, elsewhere(whole)).unlike


def test_fine_volumes_are_found_where_coarse_ones_are(whole):
    fine = Volume(np.repeat(whole.array, 4, axis=0), whole.affine.scaled((0.25, 1, 1)), "fine")
    np.testing.assert_allclose(search(fine, elsewhere(whole)).matrix[:3, 3], FAR, atol=1.01)


def test_the_difference_is_least_under_the_true_map(whole):
    here, there = prepare(whole), prepare(elsewhere(whole))
    true, wrong, away = np.eye(4), np.eye(4), np.eye(4)
    true[:3, 3], wrong[:3, 3], away[:3, 3] = FAR, FAR - 4, FAR + 1000
    unlike, met = difference(here, there, true)
    assert unlike < 0.5 * difference(here, there, wrong)[0]
    assert met > 0.9
    assert difference(here, there, away) == (float("inf"), 0.0)


def test_a_constant_image_is_refused(whole):
    with pytest.raises(InputError, match="constant"):
        search(whole, Volume(np.ones((8, 8, 8), np.float32), whole.affine))
