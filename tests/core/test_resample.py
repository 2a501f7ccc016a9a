"""Resampling: exact where it can be, in the right place where it interpolates, nearest for labels."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.resample import reorient, resample_to, resample_to_spacing
from voxelsmith.core.volume import LabelVolume, Volume

AXCODES = [
    "".join(codes[n] for codes, n in zip(p, signs, strict=True))
    for p in itertools.permutations(("LR", "PA", "IS"))
    for signs in itertools.product((0, 1), repeat=3)
]
RNG = np.random.default_rng(3)


def tilted(degrees=17.0, spacing=(0.8, 1.3, 2.9)):
    matrix = np.eye(4)
    rotation = Rotation.from_euler("xyz", [degrees, -degrees / 2, degrees / 3], degrees=True).as_matrix()
    matrix[:3, :3] = rotation * spacing
    matrix[:3, 3] = (-20, 13, 7)
    return Affine(matrix)


def linear_in_space(affine, grid):
    """A volume whose values are a linear function of the position, and that function."""
    positions = affine.apply(np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), axis=-1))
    return Volume(positions @ [1.0, -2.0, 0.5] + 4.0, affine), lambda p: p @ [1.0, -2.0, 0.5] + 4.0


@pytest.mark.parametrize("axcodes", AXCODES)
def test_reorienting_there_and_back_changes_nothing(axcodes):
    volume = Volume(RNG.integers(0, 99, (3, 4, 5)), tilted())
    there = reorient(volume, axcodes)
    assert there.affine.axcodes == axcodes
    back = reorient(there, volume.affine.axcodes)
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.affine.allclose(volume.affine, 1e-9)


@pytest.mark.parametrize("axcodes", ["LPI", "SAR", "IRP"])
def test_reorienting_keeps_every_voxel_in_its_place(axcodes):
    volume = Volume(RNG.random((3, 4, 5)), tilted())
    there = reorient(volume, axcodes)
    index = np.argwhere(np.ones(there.grid, bool))
    home = np.rint(volume.affine.inverse().apply(there.affine.apply(index))).astype(int)
    np.testing.assert_array_equal(there.array[tuple(index.T)], volume.array[tuple(home.T)])


def test_reorienting_keeps_frames_and_copies_nothing():
    volume = Volume(RNG.random((3, 4, 5, 2)), Affine.from_spacing(), extra_axis="time")
    there = reorient(volume, "spl")
    assert there.array.shape == (5, 4, 3, 2)
    assert np.shares_memory(there.array, volume.array)
    np.testing.assert_array_equal(there.array[0, 0, 0], volume.array[2, 3, 0])
    assert reorient(volume, "RAS") is volume


@pytest.mark.parametrize("axcodes", ["RA", "RAA", "RASL", "XYZ", "RLS"])
def test_an_orientation_names_three_axes(axcodes):
    with pytest.raises(GeometryError, match="orientation names"):
        reorient(Volume(np.zeros((2, 2, 2))), axcodes)


@pytest.mark.parametrize("dtype", ["bool", "int16", "float16", "float32", "float64"])
def test_onto_the_same_grid_nothing_changes(dtype):
    volume = Volume(RNG.integers(0, 2, (3, 4, 5)).astype(dtype), tilted())
    same = resample_to(volume, tilted(), volume.grid)
    np.testing.assert_array_equal(same.array, volume.array)
    assert same.array.dtype == dtype


@settings(max_examples=25)
@given(st.floats(-40, 40), st.tuples(*[st.floats(0.4, 3)] * 3), st.sampled_from([1, 3]))
def test_positions_are_kept_on_oblique_anisotropic_grids(degrees, spacing, order):
    source, value = linear_in_space(tilted(), (24, 20, 12))
    centre = source.affine.apply([11.5, 9.5, 5.5])
    matrix = tilted(degrees, spacing).matrix.copy()
    matrix[:3, 3] += centre - Affine(matrix).apply([1, 1, 1])
    target = resample_to(source, Affine(matrix), (3, 3, 3), order=order)
    index = np.argwhere(np.ones((3, 3, 3), bool))
    positions = target.affine.apply(index)
    at = source.affine.inverse().apply(positions)
    interior = ((at >= 4) & (at <= np.array(source.grid) - 5)).all(axis=1)
    assert interior.any()
    tolerance = 1e-8 if order == 1 else 0.1
    np.testing.assert_allclose(target.array.ravel()[interior], value(positions[interior]), atol=tolerance)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_finer_voxels_reach_to_the_faces_of_the_image(order):
    finer = resample_to_spacing(Volume(np.full((4, 4, 4), 7.0), tilted()), (0.2, 0.4, 0.5), order)
    assert finer.grid == (16, 13, 23)
    inner = finer.array[:, :12]
    np.testing.assert_allclose(inner, 7)


def test_labels_on_the_border_survive_finer_voxels():
    finer = resample_to_spacing(LabelVolume(np.full((3, 3, 1), 5, np.uint8)), 0.25)
    assert finer.grid == (12, 12, 4)
    assert (finer.array == 5).all()


@pytest.mark.parametrize("order", [0, 1, 2])
def test_outside_the_image_is_fill(order):
    moved = resample_to(Volume(np.full((4, 4, 4), 7.0)), Affine.from_spacing(1, (2, 0, 0)), (4, 4, 4), order, fill=-5)
    np.testing.assert_allclose(moved.array[:2], 7)
    np.testing.assert_array_equal(moved.array[2:], -5)


def test_labels_are_never_mixed():
    labels = LabelVolume(RNG.choice([0, 3, 200], (9, 9, 9)).astype(np.uint8), tilted())
    moved = resample_to(labels, tilted(5, (0.5, 0.5, 0.5)), (20, 20, 20), order=3)
    assert isinstance(moved, LabelVolume)
    assert moved.array.dtype == np.uint8
    assert {0, 3, 200} == set(np.unique(moved.array).tolist())


@pytest.mark.parametrize("value", [2**63 - 1, 2**53 + 1, -(2**63)])
def test_large_labels_are_exact(value):
    labels = LabelVolume(np.full((3, 3, 3), value, np.int64))
    moved = resample_to(labels, Affine.from_spacing(1, (1, 0, 0)), (2, 3, 3))
    assert (moved.array == value).all()


def test_nearest_takes_the_voxel_that_holds_the_centre():
    volume = Volume(np.arange(4, dtype=np.int16).reshape(4, 1, 1))
    moved = resample_to(volume, Affine.from_spacing(1, (0.4, 0, 0)), (4, 1, 1), order=0)
    assert moved.array.ravel().tolist() == [0, 1, 2, 3]
    moved = resample_to(volume, Affine.from_spacing(1, (0.6, 0, 0)), (4, 1, 1), order=0)
    assert moved.array.ravel().tolist() == [1, 2, 3, 0]


def test_each_frame_is_resampled_by_itself():
    array = RNG.random((6, 5, 4, 3))
    series = resample_to(Volume(array, extra_axis="time"), tilted(3), (4, 4, 4))
    for n in range(3):
        alone = resample_to(Volume(array[..., n]), tilted(3), (4, 4, 4))
        np.testing.assert_array_equal(series.array[..., n], alone.array)
    labels = resample_to(LabelVolume((array > 0.5).astype(np.uint8), extra_axis="time"), tilted(3), (4, 4, 4))
    assert labels.array.shape == (4, 4, 4, 3)


@pytest.mark.parametrize(
    ("dtype", "expected"), [("int16", "f4"), ("bool", "f4"), ("float16", "f4"), ("float32", "f4"), ("float64", "f8")]
)
def test_types_after_interpolation(dtype, expected):
    half = resample_to(Volume(np.ones((4, 4, 4), dtype)), Affine.from_spacing(1, (0.5, 0, 0)), (3, 4, 4))
    assert half.array.dtype == np.dtype(expected)
    np.testing.assert_array_equal(half.array, 1)


def test_a_coarser_grid_covers_the_same_box():
    volume, value = linear_in_space(tilted(), (12, 12, 12))
    coarse = resample_to_spacing(volume, volume.spacing * 3)
    assert coarse.grid == (4, 4, 4)
    index = np.argwhere(np.ones(coarse.grid, bool))
    np.testing.assert_allclose(coarse.array.ravel(), value(coarse.affine.apply(index)), atol=1e-8)
    assert coarse.history == ("resampled",)


@pytest.mark.parametrize("spacing", [0, -1, np.nan, (1, np.inf, 1)])
def test_a_voxel_size_is_positive(spacing):
    with pytest.raises(InputError, match="voxel size is positive"):
        resample_to_spacing(Volume(np.zeros((2, 2, 2))), spacing)
