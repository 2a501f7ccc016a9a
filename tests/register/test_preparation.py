"""Preparation: intensities in 0..1, what counts, and coarser images that stay where they were."""

import numpy as np
import pytest

from registration_pairs import blobs
from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.register.preparation import prepare


def test_intensities_go_from_the_first_to_the_last_percentile():
    array = np.arange(1000, dtype=np.int16).reshape(10, 10, 10) - 500
    array[0, 0, 0] = 30_000
    prepared = prepare(Volume(array))
    assert prepared.weight is None
    assert prepared.values.dtype == np.float32
    assert (prepared.values.min(), prepared.values.max()) == (0, 1)
    assert prepared.values[5, 0, 0] == pytest.approx(0.5, abs=0.02)


def test_what_is_not_finite_counts_for_nothing_and_spoils_nothing():
    array = np.random.default_rng(0).random((8, 8, 8)).astype(np.float32)
    array[1, 2, 3], array[4, 4, 4] = np.nan, np.inf
    prepared = prepare(Volume(array))
    assert np.isfinite(prepared.values).all()
    assert (prepared.weight == 0).sum() == 2
    assert np.isfinite(prepared.coarser(2).values).all()


def test_a_mask_on_another_grid_is_carried_over():
    image = blobs()
    mask = LabelVolume(np.ones((20, 18, 15), np.uint8), image.affine.scaled(2))
    half = LabelVolume(mask.array[:10], mask.affine)
    assert (prepare(image, mask).weight is None) is True
    weight = prepare(image, half).weight
    assert (weight[:20] == 1).all()
    assert (weight[20:] == 0).all()


@pytest.mark.parametrize(
    ("array", "mask", "said"),
    [
        (np.full((6, 6, 6), 3.0), None, "constant (3)"),
        (np.full((6, 6, 6), np.nan), None, "no finite voxel"),
        (np.random.default_rng(0).random((6, 6, 6)), np.zeros((6, 6, 6), np.uint8), "inside its mask"),
    ],
)
def test_images_that_say_nothing_are_refused(array, mask, said):
    with pytest.raises(InputError, match=said.replace("(", r"\(").replace(")", r"\)")):
        prepare(Volume(array, name="scan"), None if mask is None else LabelVolume(mask))


def test_a_mostly_empty_image_keeps_its_few_bright_voxels():
    array = np.zeros((10, 10, 10))
    array[5, 5, 5] = 7
    assert prepare(Volume(array)).values[5, 5, 5] == 1


def test_coarser_images_cover_the_same_places():
    image = blobs(affine=Affine.from_spacing((1, 1, 2), (5, 6, 7)))
    prepared = prepare(image)
    small = prepared.coarser(4)
    assert small.grid == (10, 9, 15)
    assert small.affine.spacing.tolist() == [4, 4, 4]
    assert np.linalg.norm(small.mass()[0] - prepared.mass()[0]) < 0.05
    assert small.values.mean() == pytest.approx(prepared.values.mean(), rel=0.01)


def test_what_does_not_count_does_not_seep_into_coarser_images():
    array = np.random.default_rng(0).random((16, 16, 16)).astype(np.float32)
    spoilt = array.copy()
    spoilt[:, :, 8:] = np.nan
    clean, dirty = (prepare(Volume(a)).coarser(2) for a in (array, spoilt))
    assert (dirty.weight[:, :, 4:] == 0).all()
    assert dirty.values[:, :, :3] == pytest.approx(clean.values[:, :, :3], abs=0.06)


def test_the_centre_of_mass_is_in_millimetres():
    array = np.zeros((9, 9, 9), np.float32)
    array[2:5, 4:7, 6:9] = 1
    prepared = prepare(Volume(array, Affine.from_spacing((2, 1, 3), (10, 0, 0))))
    centre, radius = prepared.mass()
    assert centre == pytest.approx([16, 5, 21])
    assert radius == pytest.approx(np.sqrt(2 / 3 * (4 + 1 + 9)))
    assert prepared.centre() == pytest.approx([18, 4, 12])
