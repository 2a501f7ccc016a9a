"""Values between voxels: trilinear as scipy has it, the likeliest label as one-hot and argmax find it."""

import numpy as np
import pytest
from scipy import ndimage

from voxelsmith.core import sampling

RNG = np.random.default_rng(0)
GRIDS = [(9, 7, 8), (1, 7, 8), (9, 1, 8), (9, 7, 1), (1, 1, 1), (2, 1, 3)]


def scattered(grid, count=500, beyond=2.0):
    return RNG.uniform(-beyond, np.array(grid) - 1 + beyond, (count, 3))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_linear_agrees_with_scipy(grid, order):
    source = np.asarray(RNG.random(grid), order=order)
    index = scattered(grid)
    expected = ndimage.map_coordinates(source, index.T, order=1, mode="nearest")
    np.testing.assert_allclose(sampling.linear(source, index), expected, atol=1e-12)


def test_linear_reads_views_and_vectors():
    source = RNG.random((6, 7, 8, 3)).astype(np.float32)
    index = scattered((6, 7, 8)).reshape(50, 10, 3)
    vectors = sampling.linear(source, index)
    assert vectors.shape == (50, 10, 3)
    for channel in range(3):
        np.testing.assert_allclose(vectors[..., channel], sampling.linear(source[..., channel], index), atol=1e-6)
    flipped = source[::-1, :, ::2, 0]
    index = scattered(flipped.shape)
    expected = ndimage.map_coordinates(np.ascontiguousarray(flipped), index.T, order=1, mode="nearest")
    np.testing.assert_allclose(sampling.linear(flipped, index), expected, atol=1e-6)


@pytest.mark.parametrize(("dtype", "expected"), [("uint8", "f4"), ("int64", "f4"), ("bool", "f4"), ("float64", "f8")])
def test_linear_types(dtype, expected):
    source = (RNG.random((4, 4, 4)) > 0.5).astype(dtype)
    assert sampling.linear(source, scattered((4, 4, 4))).dtype == np.dtype(expected)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_likeliest_label_is_that_of_one_hot_and_argmax(grid):
    labels = RNG.choice([0, 3, 4, 200], grid).astype(np.uint8)
    index = scattered(grid)
    classes = np.unique(labels)
    hot = [ndimage.map_coordinates((labels == c).astype(float), index.T, order=1, mode="nearest") for c in classes]
    ranked = np.sort(hot, axis=0)
    clear = ranked[-1] - (ranked[-2] if len(classes) > 1 else 0) > 1e-9
    assert clear.mean() > 0.9
    found = sampling.likeliest(labels, index)
    np.testing.assert_array_equal(found[clear], classes[np.argmax(hot, axis=0)][clear])


def test_of_labels_as_heavy_the_smallest_wins():
    labels = np.array([7, 2, 5], np.int16).reshape(3, 1, 1)
    assert sampling.likeliest(labels, np.array([[0.5, 0, 0], [1.5, 0, 0]])).tolist() == [2, 2]


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63)])
def test_large_labels_are_exact(value):
    assert (sampling.likeliest(np.full((3, 3, 3), value), scattered((3, 3, 3))) == value).all()


def test_voxels_reach_to_their_faces():
    index = np.array([[-0.5, 0, 0], [-0.51, 0, 0], [3.5, 0, 0], [3.51, 0, 0], [0, 0, 0.5], [0, 0, 0.6]])
    assert sampling.outside((4, 4, 1), index).tolist() == [False, True, False, True, False, True]
    source = np.arange(4.0).reshape(4, 1, 1)
    assert sampling.nearest(source, index[:4]).tolist() == [0, 0, 3, 3]


@pytest.mark.parametrize("grid", [(3, 4, 5), (70000, 1, 1), (1, 300, 300), (2, 40000, 2), (1, 1, 70000)])
def test_blocks_cover_a_grid_once(grid):
    seen = np.zeros(grid, int)
    for block in sampling.blocks(grid):
        seen[block] += 1
    assert (seen == 1).all()
    stops = [stop for _, stop in sampling.slabs(grid)]
    assert stops[-1] == grid[0]
    assert [start for start, _ in sampling.slabs(grid)] == [0, *stops[:-1]]
