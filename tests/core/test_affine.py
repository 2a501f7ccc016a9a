"""Affine: what every orientation is called, and that points come back from where they were sent."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from voxelsmith.core.affine import Affine, lps_to_ras
from voxelsmith.core.errors import GeometryError

SIGNED_PERMUTATIONS = [
    np.eye(3)[:, list(p)] * signs
    for p in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


@st.composite
def affines(draw):
    """Any orientation, tilted or not, anisotropic, anywhere."""
    direction = SIGNED_PERMUTATIONS[draw(st.integers(0, 47))]
    angles = [draw(st.floats(-44, 44)) for _ in range(3)]
    spacing = [draw(st.floats(0.05, 10)) for _ in range(3)]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ direction * spacing
    matrix[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return Affine(matrix)


points = st.lists(st.tuples(*[st.floats(-200, 200)] * 3), min_size=1, max_size=5)


def matrix_of(direction, spacing=(1.0, 2.0, 3.0), origin=(4.0, 5.0, 6.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = direction * np.asarray(spacing)
    matrix[:3, 3] = origin
    return matrix


def test_the_48_orientations_have_nibabels_names():
    names = set()
    for direction in SIGNED_PERMUTATIONS:
        affine = Affine(matrix_of(direction))
        assert affine.axcodes == "".join(nib.aff2axcodes(affine.matrix))
        assert [int(np.argmax(np.abs(column))) for column in direction.T] == list(affine.closest_axes)
        names.add(affine.axcodes)
    assert len(names) == 48


def test_the_name_of_a_tilted_grid_is_that_of_the_nearest_axes():
    tilt = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    affine = Affine(matrix_of(tilt @ np.diag([-1.0, 1.0, 1.0])))
    assert affine.axcodes == "LAS"


@given(affines(), points)
def test_the_inverse_brings_points_back(affine, where):
    np.testing.assert_allclose(affine.inverse().apply(affine.apply(where)), where, atol=1e-6)


@given(affines(), affines(), points)
def test_composition_applies_the_right_one_first(a, b, where):
    np.testing.assert_allclose((a @ b).apply(where), a.apply(b.apply(where)), rtol=1e-9, atol=1e-6)


@given(affines())
def test_lps_differs_in_the_sign_of_x_and_y(affine):
    ras, lps = affine.apply([3, 5, 7]), affine.lps @ [3, 5, 7, 1]
    np.testing.assert_allclose(lps[:3], ras * [-1, -1, 1])
    assert Affine.from_lps(affine.lps) == affine
    np.testing.assert_array_equal(lps_to_ras(lps_to_ras(affine.matrix)), affine.matrix)


@given(affines())
def test_spacing_direction_and_origin_make_up_the_matrix(affine):
    np.testing.assert_allclose(affine.direction * affine.spacing, affine.matrix[:3, :3], atol=1e-9)
    np.testing.assert_allclose(affine.origin, affine.apply([0, 0, 0]))
    assert affine.voxel_volume == pytest.approx(affine.spacing.prod())


@given(affines(), st.tuples(*[st.integers(-50, 50)] * 3))
def test_a_crop_keeps_its_place(affine, start):
    np.testing.assert_allclose(affine.shifted(start).apply([1, 2, 3]), affine.apply(np.add(start, [1, 2, 3])))


@given(affines(), st.tuples(*[st.floats(0.2, 5)] * 3))
def test_a_coarser_grid_covers_the_same_box(affine, factors):
    scaled, grid = affine.scaled(factors), np.array([12, 8, 6])
    np.testing.assert_allclose(scaled.apply([-0.5] * 3), affine.apply([-0.5] * 3), atol=1e-8)
    np.testing.assert_allclose(scaled.apply(grid / factors - 0.5), affine.apply(grid - 0.5), atol=1e-8)
    np.testing.assert_allclose(scaled.spacing, affine.spacing * factors)


def test_from_spacing_starts_at_the_origin():
    affine = Affine.from_spacing((1, 2, 3), (10, 20, 30))
    assert affine.axcodes == "RAS"
    np.testing.assert_array_equal(affine.apply([1, 1, 1]), [11, 22, 33])


@pytest.mark.parametrize(
    ("matrix", "sentence"),
    [
        (np.eye(3), "4x4"),
        (np.full((4, 4), np.nan), "finite"),
        (np.diag([1, np.inf, 1, 1]), "finite"),
        (np.diag([1, 0, 1, 1]), "span three dimensions"),
        (np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "span three dimensions"),
        (np.diag([1, 1, 1, 2]), "last row"),
    ],
)
def test_unusable_matrices_are_refused(matrix, sentence):
    with pytest.raises(GeometryError, match=sentence):
        Affine(matrix)


def test_tiny_voxels_are_no_flat_space():
    assert Affine.from_spacing(1e-7).voxel_volume == pytest.approx(1e-21)


def test_points_need_three_coordinates():
    with pytest.raises(GeometryError, match="three coordinates"):
        Affine.from_spacing().apply([[1, 2], [3, 4]])


def test_an_affine_is_a_value():
    source = np.eye(4)
    affine = Affine(source)
    source[0, 0] = 9
    assert affine == Affine(np.eye(4))
    assert affine != Affine.from_spacing(2)
    assert affine != "RAS"
    with pytest.raises(ValueError, match="read-only"):
        affine.matrix[0, 0] = 9
    flat = np.diag([1.0, 1.0, 1.0, 1.0])
    flat[0, 1] = -0.0
    assert Affine(flat) == affine
    assert hash(Affine(flat)) == hash(affine)
    assert "RAS" in repr(affine)


def test_allclose_measures_millimetres_far_from_the_origin():
    affine = Affine.from_spacing()
    assert affine.allclose(Affine.from_spacing(1, (0.0009, 0, 0)))
    assert not affine.allclose(Affine.from_spacing(1, (0.002, 0, 0)))
    assert not affine.allclose(Affine.from_spacing(1 + 1e-5))
