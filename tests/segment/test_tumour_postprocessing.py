"""From probabilities to regions: nesting, holes, specks, and what enhances too little."""

import numpy as np
import pytest

from voxelsmith.segment.tumour.postprocessing import depth_from, nested

GRID = (20, 20, 20)


def probabilities(whole=(2, 18), core=(5, 15), enhancing=(8, 12)):
    out = np.zeros((3, *GRID), np.float32)
    for channel, (low, high) in enumerate((whole, core, enhancing)):
        out[channel, low:high, low:high, low:high] = 0.9
    return out


def test_probabilities_become_nested():
    wrong = np.zeros((3, 1, 1, 2), np.float32)
    wrong[:, 0, 0, 0] = 0.4, 0.9, 0.6
    wrong[:, 0, 0, 1] = 0.9, 0.2, 0.5
    assert np.allclose(nested(wrong)[:, 0, 0, 0], 0.4)
    assert np.allclose(nested(wrong)[:, 0, 0, 1], (0.9, 0.2, 0.2))


def test_depths_are_where_probabilities_exceed_a_half():
    depth = depth_from(probabilities(), 1.0, 0, 0)
    assert [int((depth >= d).sum()) for d in (1, 2, 3)] == [16**3, 10**3, 4**3]


@pytest.mark.parametrize(("voxel", "least", "left"), [(1.0, 64, 64), (1.0, 65, 0), (8.0, 512, 64), (8.0, 513, 0)])
def test_a_small_enhancing_piece_becomes_core(voxel, least, left):
    depth = depth_from(probabilities(), voxel, 0, least)
    assert (depth == 3).sum() == left
    assert (depth >= 2).sum() == 10**3


def test_specks_are_dropped_and_second_tumours_kept():
    p = probabilities(whole=(2, 9), core=(3, 5), enhancing=(3, 3))
    p[0, 12:18, 12:18, 12:18] = 0.9
    p[:, 0, 19, 0] = 0.9
    depth = depth_from(p, 1.0, 100, 0)
    assert depth[15, 15, 15] == 1
    assert depth[0, 19, 0] == 0


@pytest.mark.parametrize(("thick", "kept"), [(3, 0), (4, 1)])
def test_pieces_under_a_tenth_of_the_largest_are_dropped(thick, kept):
    p = probabilities(whole=(1, 11), core=(3, 5), enhancing=(3, 3))
    p[0, 13 : 13 + thick, 13:18, 13:18] = 0.9
    depth = depth_from(p, 1.0, 0, 0)
    assert depth[13, 13, 13] == kept
    assert (depth[1:11, 1:11, 1:11] >= 1).all()


def test_holes_are_filled():
    p = probabilities()
    p[0, 3, 3, 3] = 0
    p[1:, 6, 6, 6] = 0
    depth = depth_from(p, 1.0, 0, 0)
    assert depth[3, 3, 3] == 1
    assert depth[6, 6, 6] == 2


def test_no_tumour_is_no_tumour():
    assert not depth_from(np.zeros((3, *GRID), np.float32), 1.0, 0, 0).any()
