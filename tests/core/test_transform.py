"""Transform: matrix after field; composing and inverting give such pairs again."""

import numpy as np
import pytest

from deformations import linear_map, oblique, positions, smooth_field, smooth_image
from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import GeometryError
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import LabelVolume, Volume

GRID = (22, 20, 16)
RNG = np.random.default_rng(5)


def transforms():
    """One of each kind."""
    first, second = smooth_field(oblique(), GRID, seed=1), smooth_field(oblique((1, 1, 1.5)), GRID, seed=2)
    return {
        "nothing": Transform(),
        "matrix": Transform(linear_map()),
        "field": Transform(field=first),
        "both": Transform(linear_map((3, 2, -4)), second),
    }


def test_the_field_comes_first_and_the_matrix_second():
    both = transforms()["both"]
    x = RNG.uniform(-20, 20, (50, 3))
    np.testing.assert_allclose(both.push_points(x), Affine(both.matrix).apply(x + both.field.at(x)))
    np.testing.assert_allclose(both.push_shapes([x, x[:2]])[1], both.push_points(x[:2]))


def test_a_known_affine_brings_the_image_back():
    matrix, affine = linear_map(), oblique((1, 1.2, 1.5), origin=(-15, -12, -12))
    x = positions(affine, GRID)
    fixed, in_moving = (
        np.exp(-((p - [1, 2, 3]) ** 2).sum(axis=-1) / 120) for p in (x, Affine(matrix).inverse().apply(x))
    )
    moving = Volume(in_moving, affine)
    pulled = Transform(matrix).pull_image(moving, affine, GRID, fill=np.nan).array
    inside = np.isfinite(pulled)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(pulled[inside], fixed[inside], atol=0.05)
    assert np.abs(moving.array - fixed).max() > 0.25


@pytest.mark.parametrize("first", transforms())
@pytest.mark.parametrize("second", transforms())
def test_then_pushes_by_one_after_the_other(first, second):
    one, two = transforms()[first], transforms()[second]
    both = one.then(two)
    lattice = one.field or both.field
    x = positions(lattice.affine, lattice.grid) if lattice else RNG.uniform(-20, 20, (50, 3))
    np.testing.assert_allclose(both.push_points(x), two.push_points(one.push_points(x)), atol=1e-4)


@pytest.mark.parametrize("kind", transforms())
def test_the_inverse_leads_back(kind):
    transform = transforms()[kind]
    inverse, residual = transform.inverse()
    lattice = transform.field or smooth_field(oblique(), GRID)
    x = positions(lattice.affine, lattice.grid)[5:-5, 5:-5, 5:-5].reshape(-1, 3)
    error = np.linalg.norm(inverse.push_points(transform.push_points(x)) - x, axis=1)
    assert error.mean() < 0.1 * lattice.affine.spacing.min()
    assert residual.max_mm <= 0.01 * lattice.affine.spacing.min()


def test_the_inverse_is_sampled_on_the_moving_grid():
    transform = transforms()["both"]
    moving = oblique((1.3, 1.1, 1.2), origin=(-12, 10, 9))
    inverse, _ = transform.inverse(moving, (11, 12, 13))
    assert inverse.field.affine == moving
    x = positions(moving, (11, 12, 13))
    np.testing.assert_allclose(transform.push_points(inverse.push_points(x)), x, atol=0.03)
    with pytest.raises(GeometryError, match="both its affine and its shape"):
        transform.inverse(moving)


@pytest.mark.parametrize("kind", ["field", "both"])
def test_as_one_field_it_pulls_the_same_image(kind):
    transform = transforms()[kind]
    moving = Volume(smooth_image((30, 30, 30)), oblique((0.9, 1, 1.1), origin=(-22, 10, 5)))
    one, two = transform.pull_image(moving), transform.as_field().pull_image(moving)
    np.testing.assert_allclose(one.array, two.array, atol=1e-5)
    assert one.array.std() > 0.01
    labels = LabelVolume((moving.array > 0.5).astype(np.uint8), moving.affine)
    assert transform.pull_image(labels, interpolation="nearest").array.any()


def test_without_a_field_it_needs_a_grid():
    volume = Volume(np.zeros((3, 3, 3)))
    with pytest.raises(GeometryError, match="pass both"):
        Transform().pull_image(volume)
    with pytest.raises(GeometryError, match="pass both"):
        Transform().as_field(affine=volume.affine)
    assert Transform(linear_map()).as_field(volume.affine, volume.grid).grid == (3, 3, 3)


@pytest.mark.parametrize("matrix", [np.eye(3), np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_a_matrix_that_is_no_affine_map_is_refused(matrix):
    with pytest.raises(GeometryError):
        Transform(matrix)
