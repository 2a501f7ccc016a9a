"""Noise and the small matrices that it is made with."""

import numpy as np
import pytest

from voxelsmith.train.noise import noise_regions, smooth_noise
from voxelsmith.train.separable import apply_axes, blur_matrix, coarse_matrix, spline_matrix


def test_matrices_act_on_their_own_axis():
    rng = np.random.default_rng(0)
    array = rng.standard_normal((4, 5, 6), dtype=np.float32)
    matrices = [rng.standard_normal((n + 1, n), dtype=np.float32) for n in array.shape]
    expected = np.einsum("ia,jb,kc,abc->ijk", *matrices, array)
    np.testing.assert_allclose(apply_axes(array, matrices), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(apply_axes(array, [None, None, None]), array)


def test_noise_has_unit_variance_everywhere_even_at_the_border():
    rng = np.random.default_rng(1)
    fields = np.stack([smooth_noise(rng, (12, 10, 8), (1, 1, 1), 3.0) for _ in range(600)])
    assert fields.dtype == np.float32
    assert np.abs(fields.std(axis=0) - 1).max() < 0.15


def test_the_scale_of_noise_is_in_millimetres():
    field = smooth_noise(np.random.default_rng(2), (80, 80, 20), (1, 1, 4), 12.0)
    along_i = np.corrcoef(field[:-4].ravel(), field[4:].ravel())[0, 1]
    along_k = np.corrcoef(field[..., :-1].ravel(), field[..., 1:].ravel())[0, 1]
    assert along_i == pytest.approx(along_k, abs=0.08)
    assert 0.7 < along_i < 0.98


def test_noise_is_white_along_an_axis_of_thick_slices():
    field = smooth_noise(np.random.default_rng(3), (60, 60, 20), (1, 1, 9), 6.0)
    assert abs(np.corrcoef(field[..., :-1].ravel(), field[..., 1:].ravel())[0, 1]) < 0.1


def test_regions_use_every_number():
    regions = noise_regions(np.random.default_rng(4), (40, 40, 40), (1, 1, 1), 5, 10.0)
    assert np.unique(regions).tolist() == [0, 1, 2, 3, 4]


def test_splines_reach_every_voxel():
    for count, step, phase in ((24, 1.0, 0.0), (50, 3.3, 0.99), (96, 400.0, 0.5)):
        matrix = spline_matrix(count, step, phase)
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, rtol=1e-5)


def test_blur_and_loss_of_resolution_keep_a_constant_and_spread_a_point():
    point = np.zeros(40, np.float32)
    point[17] = 1
    for matrix in (blur_matrix(40, 1.5), coarse_matrix(40, 4), coarse_matrix(40, 2.7)):
        np.testing.assert_allclose(matrix @ np.ones(40, np.float32), 1, rtol=1e-5)
        spread = matrix @ point
        assert spread.max() < 0.5
        assert abs(int(spread.argmax()) - 17) <= 2
    np.testing.assert_allclose(coarse_matrix(40, 1), np.eye(40), atol=1e-6)
