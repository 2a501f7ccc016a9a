"""The random walk: the solution of its linear system, and what follows from it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxelsmith.segment.random_walk import RandomWalk, edge_weights
from voxelsmith.segment.surface import settle_surface

shapes = st.tuples(*[st.integers(1, 5)] * 3)
SPACING = np.array([1.0, 2.0, 0.5])


def dense_solution(weights, evidence, strength):
    """The same system with numpy, voxel by voxel."""
    shape = evidence.shape
    flat = np.arange(evidence.size).reshape(shape)
    matrix = np.diag(np.broadcast_to(strength, shape).ravel().astype(float))
    for axis, w in enumerate(weights):
        for at in np.ndindex(w.shape):
            p = flat[at]
            q = flat[tuple(x + (a == axis) for a, x in enumerate(at))]
            matrix[p, p] += w[at]
            matrix[q, q] += w[at]
            matrix[p, q] -= w[at]
            matrix[q, p] -= w[at]
    right = np.broadcast_to(strength, shape).ravel() * evidence.ravel()
    return np.linalg.solve(matrix, right).reshape(shape)


@settings(max_examples=40)
@given(shapes, st.integers(0, 2**31), st.floats(0.05, 5))
def test_the_solution_is_that_of_a_dense_solver(shape, seed, hold):
    rng = np.random.default_rng(seed)
    image, evidence = rng.random((2, *shape), dtype=np.float32)
    weights = edge_weights(image, SPACING, 10.0)
    strength = (hold * rng.uniform(0.5, 2, shape)).astype(np.float32)
    found = RandomWalk(weights).solve(evidence, strength, np.zeros(shape, np.float32), tolerance=1e-6)
    np.testing.assert_allclose(found, dense_solution(weights, evidence, strength), atol=1e-3)


@pytest.mark.parametrize("fixed", [0, 1])
def test_a_fixed_voxel_does_not_keep_the_others_from_settling(fixed):
    shape = (12, 12, 12)
    weights = edge_weights(np.zeros(shape, np.float32), np.ones(3), 10.0)
    evidence, strength = np.full(shape, 0.9, np.float32), np.full(shape, 0.2, np.float32)
    evidence[6, 6, 6], strength[6, 6, 6] = fixed, 1e4
    found = RandomWalk(weights).solve(evidence, strength, np.zeros(shape, np.float32))
    np.testing.assert_allclose(found, dense_solution(weights, evidence, strength), atol=0.02)


@settings(max_examples=40)
@given(shapes, st.integers(0, 2**31))
def test_no_voxel_leaves_the_range_of_the_evidence(shape, seed):
    rng = np.random.default_rng(seed)
    evidence = rng.uniform(0.2, 0.7, shape).astype(np.float32)
    walk = RandomWalk(edge_weights(rng.random(shape, dtype=np.float32), SPACING, 50.0))
    found = walk.solve(evidence, 0.3, np.full(shape, 0.5, np.float32), tolerance=1e-6)
    assert found.min() >= evidence.min() - 1e-3
    assert found.max() <= evidence.max() + 1e-3


def test_fixed_voxels_decide_their_side_of_an_edge():
    image = np.zeros((10, 6, 6), np.float32)
    image[5:] = 1
    strength = np.full(image.shape, 1e-4, np.float32)
    strength[0, 3, 3] = strength[9, 3, 3] = 1e4
    evidence = np.full(image.shape, 0.5, np.float32)
    evidence[0, 3, 3], evidence[9, 3, 3] = 0, 1
    walk = RandomWalk(edge_weights(image, np.ones(3), 100.0))
    found = walk.solve(evidence, strength, evidence, tolerance=1e-6)
    assert found[:5].max() < 0.3
    assert found[5:].min() > 0.7


def test_one_walk_solves_any_evidence():
    rng = np.random.default_rng(0)
    walk = RandomWalk(edge_weights(rng.random((4, 4, 4), dtype=np.float32), SPACING, 10.0))
    one, two = rng.random((2, 4, 4, 4), dtype=np.float32)
    start = np.zeros((4, 4, 4), np.float32)
    first = walk.solve(one, 1.0, start, 1e-6)
    walk.solve(two, 1.0, start, 1e-6)
    np.testing.assert_array_equal(walk.solve(one, 1.0, start, 1e-6), first)


def test_edges_conduct_less_across_steps_and_far_neighbours():
    image = np.zeros((3, 3, 3), np.float32)
    image[2] = 1
    i, j, k = edge_weights(image, SPACING, 100.0)
    assert i.shape == (2, 3, 3)
    assert (i[1] < 0.01 * i[0]).all()
    assert j[0].max() < k[0].min()
    assert k.max() == pytest.approx(1, abs=0.01)
    assert min(w.min() for w in (i, j, k)) > 0


def test_a_flat_axis_sets_no_scale():
    flat = edge_weights(np.zeros((4, 4, 1), np.float32), np.array([1.0, 1.0, 0.01]), 100.0)
    assert flat[0].max() == pytest.approx(1, abs=0.01)
    assert flat[2].size == 0


@pytest.mark.parametrize("bad", [None, np.nan, np.inf])
def test_the_surface_moves_to_the_edge_of_the_image(bad):
    image = np.zeros((12, 8, 8))
    image[6:] = 100
    mask = np.zeros(image.shape, bool)
    mask[5:] = True
    band = np.arange(image.size).reshape(image.shape)[3:9].ravel()
    if bad is not None:
        image[8, 2, 2] = bad
    settle_surface(
        mask,
        band.astype(np.int32),
        np.full(len(band), 0.5, np.float32),
        image,
        lambda values: np.nan_to_num(values, nan=0, posinf=0).clip(0, 100) / 100,
        np.ones(3),
        contrast=100.0,
        hold=0.05,
    )
    expected = np.zeros(image.shape, bool)
    expected[6:] = True
    assert (mask != expected).sum() <= (0 if bad is None else 1)


def test_without_a_band_nothing_moves():
    mask = np.random.default_rng(0).random((4, 4, 4)) > 0.5
    before = mask.copy()
    nothing = np.empty(0, np.int32)
    settle_surface(
        mask, nothing, nothing.astype(np.float32), mask * 1.0, lambda v: v, np.ones(3), contrast=100.0, hold=0.05
    )
    np.testing.assert_array_equal(mask, before)
