"""Deformed and augmented real volumes: image and labels move together, brightness changes in place."""

import numpy as np
import pytest
from scipy import ndimage

from voxelsmith.train import instrument, warp
from voxelsmith.train.augment import augment
from voxelsmith.train.deform import deform
from voxelsmith.train.sample import Annotated

STILL = {"scaling": (1.0, 1.0), "degrees": 0.0, "elasticity": 0.0}


def blocks(grid=(30, 36, 24), spacing=(1.0, 1.0, 2.5)) -> Annotated:
    """Three blocks whose brightness is ten times their label."""
    labels = np.zeros(grid, dtype=np.uint8)
    labels[5:14, 6:18, 4:12] = 1
    labels[16:26, 6:18, 4:12] = 2
    labels[8:22, 20:32, 10:20] = 7
    return Annotated(labels.astype(np.float32) * 10, labels, np.array(spacing), "blocks")


def test_a_seed_gives_the_same_deformation_again():
    first, again = (deform(np.random.default_rng(3), blocks()) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.labels, again.labels)


@pytest.mark.parametrize("seed", range(8))
def test_labels_move_with_their_image(seed):
    moved = deform(np.random.default_rng(seed), blocks())
    assert moved.image.dtype == np.float32
    assert moved.labels.dtype == np.uint8
    assert moved.image.shape == moved.labels.shape
    assert moved.name == "blocks"
    assert set(np.unique(moved.labels)) <= {0, 1, 2, 7}
    inside = np.zeros(moved.grid, dtype=bool)
    for label in np.unique(moved.labels):
        core = ndimage.binary_erosion(moved.labels == label, np.ones((3, 3, 3)))
        # A sharp corner may pass between the voxels of the core.
        assert np.mean(np.abs(moved.image[core] - 10.0 * label) > 1e-3) < 1e-3
        inside |= core
    assert inside.mean() > 0.3


def test_the_spacing_follows_the_permutation_and_nothing_is_resampled_without_need():
    source = blocks(spacing=(1.0, 1.5, 2.5))
    orders = set()
    for seed in range(40):
        moved = deform(np.random.default_rng(seed), source, flips=False, **STILL)
        order = tuple(int(np.argmin(abs(source.spacing - size))) for size in moved.spacing)
        np.testing.assert_array_equal(moved.labels, source.labels.transpose(order))
        np.testing.assert_allclose(moved.image, source.image.transpose(order), atol=1e-4)
        orders.add(order)
    assert len(orders) == 6


def test_flips_mirror_image_and_labels():
    source, seen = blocks(), set()
    for seed in range(60):
        moved = deform(np.random.default_rng(seed), source, permute=False, **STILL)
        for flips in np.ndindex(2, 2, 2):
            axes = [axis for axis, flip in enumerate(flips) if flip]
            if np.array_equal(moved.labels, np.flip(source.labels, axes)):
                np.testing.assert_allclose(moved.image, np.flip(source.image, axes), atol=1e-4)
                seen.add(flips)
    assert len(seen) == 8


@pytest.mark.parametrize(("factor", "grid"), [(0.7, (21, 25, 16)), (1.4, (30, 36, 24))])
def test_scaling_changes_the_size_of_objects(factor, grid):
    source = blocks()
    moved = deform(
        np.random.default_rng(1),
        source,
        scaling=(factor, factor),
        degrees=0,
        elasticity=0,
        flips=False,
        permute=False,
    )
    assert moved.grid == grid
    np.testing.assert_array_equal(moved.spacing, source.spacing)
    grown = np.mean(moved.labels > 0) * moved.labels.size / np.count_nonzero(source.labels)
    if factor < 1:
        assert grown == pytest.approx(factor**3, rel=0.15)
    else:
        assert grown > 1.2


def test_rotation_spares_thick_slices():
    matrices = [warp.random_rotation(np.random.default_rng(s), np.array([1.0, 1.0, 5.0]), 20) for s in range(50)]
    tilt = max(np.degrees(np.arccos(m[2, 2])) for m in matrices)
    turn = max(np.degrees(np.arccos(min(m[0, 0], 1))) for m in matrices)
    assert tilt < 6
    assert 15 < turn < 21


def test_places_beyond_the_border_are_reflected():
    places = np.array([-2.0, -0.25, 3.0, 9.5, 11.0], dtype=np.float32).reshape(1, -1, 1, 1).repeat(3, axis=0)
    folded = warp.reflect(places, (10, 10, 10))
    np.testing.assert_allclose(folded[0, :, 0, 0], [2, 0.25, 3, 8.5, 7])


def test_augmentation_keeps_places_and_about_the_range():
    image = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(32, 32, 20)), 2).astype(np.float32)
    image = image / image.std() * 200 + 40
    before, correlations = image.copy(), []
    for seed in range(60):
        result = augment(np.random.default_rng(seed), image, (1, 1, 2))
        assert result.dtype == np.float32
        assert result.shape == image.shape
        assert np.isfinite(result).all()
        assert np.ptp(result) < 8 * np.ptp(image)
        correlations.append(np.corrcoef(result.ravel(), image.ravel())[0, 1])
    np.testing.assert_array_equal(image, before)
    assert np.median(correlations) > 0.9
    assert np.mean(np.array(correlations) < 0) < 0.2
    assert min(correlations) < 0.5


def test_augmentation_is_reproducible_and_leaves_a_constant_image_alone():
    image = blocks().image
    first, again = (augment(np.random.default_rng(4), image, (1, 1, 1)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    flat = np.full((8, 8, 8), 3.0, np.float32)
    np.testing.assert_array_equal(augment(np.random.default_rng(0), flat, (1, 1, 1)), flat)


def test_a_straight_curve_changes_nothing_and_carries_outliers_along():
    image = np.linspace(-0.5, 1.5, 1000, dtype=np.float32).reshape(10, 10, 10)
    np.testing.assert_allclose(instrument.remap(np.random.default_rng(0), image, wildness=0), image, atol=1e-5)
    mild = instrument.remap(np.random.default_rng(0), image, wildness=0.1)
    np.testing.assert_allclose(mild[image < 0], image[image < 0], atol=1e-6)
    np.testing.assert_allclose(mild[image > 1], image[image > 1], atol=1e-5)
    assert np.abs(mild - image).max() > 0.01


def test_thick_slices_blur_one_axis_only():
    image = np.random.default_rng(0).standard_normal((24, 24, 24), dtype=np.float32)
    thick = instrument.thick_slices(image, 1, 4)
    changes = [np.abs(np.diff(thick, axis=axis)).mean() for axis in range(3)]
    assert changes[1] < 0.4 * min(changes[0], changes[2])


def test_shot_noise_grows_with_the_signal_and_rician_noise_lifts_darkness():
    image = np.zeros((40, 40, 40), np.float32)
    image[20:] = 1
    rng = np.random.default_rng(0)
    shot = instrument.shot_noise(rng, image, 50)
    assert shot[:20].std() < 1e-6
    assert shot[20:].std() == pytest.approx(50**-0.5, rel=0.05)
    rician = instrument.rician_noise(rng, image, 0.1)
    assert rician[:20].mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.05)
