"""Transforms are applied piece by piece, with the same result as at once."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deformations import linear_map, oblique, smooth_field, smooth_image
from voxelsmith.core.affine import Affine
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Cancelled, run_job
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.register.applying import Reversible, invert_job, pull_points, warp_job
from voxelsmith.register.result import warp

GRID = (40, 60, 70)


@pytest.fixture(scope="module")
def bent():
    return Transform(linear_map(), smooth_field(oblique(), GRID, voxels=1.5))


@pytest.fixture(scope="module")
def moving():
    return Volume(smooth_image((44, 50, 60)) - 0.5, oblique(angles=(3, 2, 1)), "moving")


def test_an_image_is_warped_as_at_once(bent, moving):
    affine = bent.field.affine
    target = Volume(np.zeros(GRID, np.uint8), affine)
    found = run_job(warp_job(bent, moving, affine, GRID))
    np.testing.assert_allclose(found.array, warp(bent, moving, target).array, atol=1e-5)
    assert found.affine == affine
    assert found.history == ("warped",)
    assert found.array.min() == moving.array.min()


def test_labels_and_nearest_keep_their_values(bent, moving):
    labels = LabelVolume((moving.array > 0).astype(np.uint16) * 7, moving.affine, names={7: "seven"})
    found = run_job(warp_job(bent, labels, bent.field.affine, GRID))
    assert isinstance(found, LabelVolume)
    assert found.array.dtype == np.uint16
    assert found.names == {7: "seven"}
    assert np.array_equal(found.array, bent.pull_image(labels).array)
    nearest = run_job(warp_job(bent, moving, bent.field.affine, GRID, "nearest")).array
    assert set(np.unique(nearest)) <= set(np.unique(moving.array))


def test_colours_stay_bytes_and_time_stays(moving):
    affine, grid = moving.affine, moving.grid
    colours = Volume(np.full((*grid, 3), (10, 20, 30), np.uint8), affine, extra_axis="channel")
    found = run_job(warp_job(Transform(), colours, affine, grid))
    assert found.is_colour
    assert found.array.dtype == np.uint8
    assert found.array[5, 5, 5].tolist() == [10, 20, 30]
    series = Volume(np.stack([moving.array, 2 * moving.array], axis=-1), affine, extra_axis="time")
    found = run_job(warp_job(Transform(), series, affine, grid))
    np.testing.assert_allclose(found.array, series.array, atol=1e-6)


def test_an_inverse_is_that_of_the_whole(bent, moving):
    found, residual = run_job(invert_job(bent, moving.affine, moving.grid))
    expected, whole = bent.inverse(moving.affine, moving.grid)
    np.testing.assert_allclose(found.field.array, expected.field.array, atol=1e-4)
    np.testing.assert_array_equal(found.matrix, expected.matrix)
    assert residual.max_mm == pytest.approx(whole.max_mm)
    assert residual.mean_mm == pytest.approx(whole.mean_mm)
    assert residual.inside == pytest.approx(whole.inside)


def test_an_inverse_far_from_everything_has_no_residual(bent):
    _, residual = run_job(invert_job(bent, Affine.from_spacing(1, (5000, 0, 0)), (4, 4, 4)))
    assert residual.inside == 0
    assert np.isnan(residual.mean_mm)


def test_an_affine_map_is_inverted_exactly(moving):
    found, residual = run_job(invert_job(Transform(linear_map()), moving.affine, moving.grid))
    np.testing.assert_allclose(found.matrix @ linear_map(), np.eye(4), atol=1e-12)
    assert (residual.max_mm, residual.inside) == (0, 1)


@pytest.mark.parametrize("job", ["warp", "invert"])
def test_both_can_be_stopped_on_the_way(bent, moving, job):
    made = {
        "warp": lambda: warp_job(bent, moving, bent.field.affine, GRID),
        "invert": lambda: invert_job(bent, moving.affine, moving.grid),
    }[job]()
    seen = []
    with pytest.raises(Cancelled):
        run_job(made, lambda progress: seen.append(progress.done) or progress.done == 0)
    assert len(seen) > 1
    assert 0 < seen[-1] < moving.grid[0]


def test_points_return(bent):
    places = bent.field.affine.apply(np.random.default_rng(0).uniform(8, 30, (50, 3)))
    np.testing.assert_allclose(pull_points(bent, bent.push_points(places)), places, atol=0.02)
    linear = Transform(linear_map())
    np.testing.assert_allclose(pull_points(linear, linear.push_points(places)), places)
    assert pull_points(bent, np.empty((0, 3))).shape == (0, 3)


def test_points_that_no_way_back_is_found_for_are_told():
    middle = np.array([4.5, 4.5, 4.5])
    turn = Rotation.from_euler("z", 120, degrees=True).as_matrix()
    turned = (np.moveaxis(np.indices((10, 10, 10)), 0, -1) - middle) @ (turn - np.eye(3)).T
    transform = Transform(field=DisplacementField.from_voxels(turned, Affine.from_spacing()))
    with pytest.raises(InputError, match="1 of 2 points"):
        pull_points(transform, [middle, [6, 4.5, 4.5]])
    with pytest.raises(InputError, match="finite"):
        pull_points(transform, [[np.nan, 0, 0]])


def test_an_inverse_is_computed_once_a_grid(bent, moving):
    reversible, reports = Reversible(bent), []
    first, residual = run_job(reversible.inverse_job(moving.affine, moving.grid), reports.append)
    assert reports
    reports.clear()
    again, same = run_job(reversible.inverse_job(moving.affine, moving.grid), reports.append)
    assert not reports
    assert again is first
    assert same == residual
    elsewhere, _ = run_job(reversible.inverse_job(moving.affine.shifted((1, 0, 0)), (10, 11, 12)))
    assert elsewhere.field.grid == (10, 11, 12)
