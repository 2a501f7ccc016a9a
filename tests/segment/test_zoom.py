"""Zoom: the working grid never costs more than asked, and what goes down and comes back stays in place."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxelsmith.core.prompts import Box
from voxelsmith.segment.zoom import Region

shapes = st.tuples(*[st.integers(1, 40)] * 3)
spacings = st.tuples(*[st.floats(0.2, 6)] * 3)


def region(shape, spacing=(1, 1, 1), voxels=1000, offset=(0, 0, 0)):
    return Region.over(Box(offset, tuple(int(o + n - 1) for o, n in zip(offset, shape, strict=True))), spacing, voxels)


def expanded(zoom, working):
    out = np.full(zoom.box.shape, np.nan, np.float32)
    for part, slab in zoom.expand(working):
        out[part] = slab
    return out


@given(shapes, spacings, st.integers(1, 5000))
def test_the_working_grid_is_affordable_and_never_finer(shape, spacing, voxels):
    zoom = region(shape, spacing, voxels)
    assert np.prod(zoom.grid) <= 1.1 * voxels
    assert all(1 <= g <= n for g, n in zip(zoom.grid, shape, strict=True))
    np.testing.assert_allclose(zoom.factors * zoom.grid, shape)
    np.testing.assert_allclose(zoom.spacing, zoom.factors * spacing)


def test_the_budget_is_used_and_working_voxels_are_nearly_cubes():
    zoom = region((200, 200, 50), (0.5, 0.5, 2.0), 20_000)
    assert np.prod(zoom.grid) > 15_000
    assert zoom.spacing.max() / zoom.spacing.min() < 1.2


def test_coarse_axes_are_not_refined():
    zoom = region((100, 100, 8), (0.5, 0.5, 6.0), 5000)
    assert zoom.grid[2] == 8
    assert not zoom.is_full


@settings(max_examples=40)
@given(shapes, st.integers(1, 3000))
def test_averaging_conserves_the_mean(shape, voxels):
    crop = np.random.default_rng(0).normal(50, 20, shape)
    zoom = region(shape, voxels=voxels)
    working = zoom.average(crop)
    assert working.shape == zoom.grid
    assert working.mean(dtype=float) == pytest.approx(crop.mean(), rel=1e-4)
    assert working.min() >= crop.min() - 1e-3
    assert working.max() <= crop.max() + 1e-3


def test_a_working_voxel_is_the_mean_of_what_it_covers():
    zoom = region((6, 6, 6), voxels=27)
    crop = np.random.default_rng(0).random((6, 6, 6))
    blocks = crop.reshape(3, 2, 3, 2, 3, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(zoom.average(crop), blocks, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_spoil_only_themselves(bad):
    zoom = region((6, 6, 6), voxels=27)
    crop = np.random.default_rng(0).random((6, 6, 6))
    crop[0, 0, 0] = bad
    crop[4:, 4:, 4:] = bad
    working = zoom.average(crop)
    assert np.isnan(working[2, 2, 2])
    assert np.isnan(working).sum() == 1
    assert working[0, 0, 0] == pytest.approx((crop[:2, :2, :2].sum(where=np.isfinite(crop[:2, :2, :2]))) / 7, rel=1e-4)
    assert working[1, 1, 1] == pytest.approx(crop[2:4, 2:4, 2:4].mean(), rel=1e-4)


def test_values_beyond_single_precision_count_as_infinite():
    crop = np.ones((6, 6, 6))
    crop[0, 0, 0] = 1e300
    np.testing.assert_allclose(region((6, 6, 6), voxels=27).average(crop), 1, rtol=1e-5)


@settings(max_examples=40)
@given(shapes, st.integers(8, 3000))
def test_a_linear_ramp_comes_back_exactly(shape, voxels):
    zoom = region(shape, voxels=voxels)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    working = np.stack(np.meshgrid(*map(np.arange, zoom.grid), indexing="ij"), axis=-1)
    slope = [1.0, -2.0, 0.5]
    found = expanded(zoom, (((working + 0.5) * zoom.factors - 0.5) @ slope).astype(np.float32))
    last = np.array(zoom.grid) - 1
    at = zoom.to_working(index)
    inner = ((at >= 0) & (at <= last)).all(axis=-1)
    np.testing.assert_allclose(found[inner], (index @ slope)[inner], atol=1e-3)


@given(shapes, st.integers(1, 3000))
def test_expanding_fills_the_region_and_invents_no_value(shape, voxels):
    zoom = region(shape, voxels=voxels)
    working = np.random.default_rng(1).random(zoom.grid).astype(np.float32)
    full = expanded(zoom, working)
    assert full.min() >= working.min() - 1e-6
    assert full.max() <= working.max() + 1e-6


@given(shapes, st.integers(1, 3000), st.tuples(*[st.integers(0, 100)] * 3), st.data())
def test_coordinates_agree_with_the_averages(shape, voxels, offset, data):
    zoom = region(shape, voxels=voxels, offset=offset)
    at = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    index = np.add(at, offset)
    working = zoom.to_working(index)
    np.testing.assert_allclose((working + 0.5) * zoom.factors - 0.5 + offset, index, atol=1e-9)
    lit = np.zeros(shape)
    lit[at] = 1
    covers = zoom.average(lit)
    assert covers[tuple(zoom.nearest(index))] == covers.max()


def test_indices_outside_go_to_the_border():
    zoom = region((10, 10, 10), voxels=125, offset=(5, 5, 5))
    assert zoom.nearest([[0, 7, 99]]).tolist() == [[0, 1, 4]]


@pytest.mark.parametrize("shape", [(1, 50, 50), (50, 1, 50), (50, 50, 1), (1, 1, 500), (1, 1, 1)])
def test_flat_and_thin_regions(shape):
    zoom = region(shape, voxels=100)
    image = np.random.default_rng(0).random(np.add(shape, 1))
    working = zoom.shrink(image)
    np.testing.assert_allclose(working.mean(), image[zoom.box.slices].mean(), rtol=1e-4)
    assert expanded(zoom, working).shape == shape


def test_a_large_region_costs_little_memory():
    image = np.zeros((160, 160, 160), np.uint8)
    zoom = region(image.shape, voxels=8000)
    tracemalloc.start()
    working = zoom.shrink(image)
    for _, slab in zoom.expand(working):
        assert slab.size < image.size / 10
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < image.nbytes
