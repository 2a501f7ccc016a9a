"""Shape interpolation between painted slices."""

import numpy as np
import pytest
from phantoms import ball

from voxelsmith.core.metrics import dice
from voxelsmith.segment.interpolation import interpolate, signed_distance


def between(mask, painted, thickness=1.0, spacing=(1.0, 1.0)):
    distances = {z: signed_distance(mask[z], spacing) for z in painted}
    return interpolate(distances, range(len(mask)), thickness) > 0


def test_distances_are_millimetres_to_the_outline():
    mask = np.zeros((9, 9), bool)
    mask[3:6, :] = True
    distance = signed_distance(mask, (2.0, 2.0))
    assert distance[:, 4].tolist() == [-5, -3, -1, 1, 3, 1, -1, -3, -5]


def test_an_empty_and_a_full_mask_are_far_from_any_outline():
    empty = signed_distance(np.zeros((3, 4), bool), (1.0, 1.0))
    assert (empty == -5).all()
    assert (signed_distance(np.ones((3, 4), bool), (1.0, 1.0)) == 5).all()


def test_painted_slices_come_back_and_a_cylinder_is_filled():
    mask = np.repeat(ball((1, 30, 30), (0, 14, 14), 8), 12, axis=0)
    assert np.array_equal(between(mask, (0, 11)), mask)


def test_a_ball_grows_towards_its_middle():
    mask = ball((31, 40, 40), (15, 20, 20), 14)
    assert dice(mask, between(mask, (1, 8, 15, 22, 29))) > 0.9


def test_the_middle_of_two_shapes_is_between_them():
    mask = np.zeros((3, 21, 21), bool)
    mask[0, 2:19, 2:19] = True
    mask[2, 8:13, 8:13] = True
    middle = between(mask, (0, 2))[1]
    assert mask[2].sum() < middle.sum() < mask[0].sum()
    assert np.array_equal(middle, middle.T)


def test_beyond_the_last_slice_a_shape_shrinks_by_the_thickness():
    mask = np.zeros((8, 21, 21), bool)
    mask[0, 6:15, 6:15] = True
    widths = between(mask, (0,), thickness=1.0)[:, 10].sum(axis=-1)
    assert widths.tolist() == [9, 7, 5, 3, 1, 0, 0, 0]
    assert between(mask, (0,), thickness=3.0)[:, 10].sum(axis=-1).tolist() == [9, 3, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("flip", [False, True])
def test_towards_a_reviewed_empty_slice_a_shape_is_gone_there(flip):
    mask = np.zeros((9, 41, 41), bool)
    mask[0, 4:37, 4:37] = True
    if flip:
        mask = mask[::-1]
    sizes = between(mask, (0, 8)).sum(axis=(1, 2))
    sizes = sizes[::-1] if flip else sizes
    assert (np.diff(sizes) < 0).all()
    assert sizes[-1] == 0
    assert sizes[4] > 0
