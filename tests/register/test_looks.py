"""Arrows, bent grids, comparisons and the Jacobian map say what the transform does."""

import numpy as np
import pytest

from deformations import linear_map, oblique, smooth_field
from voxelsmith.core.affine import Affine
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.progress import run_job
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import Volume
from voxelsmith.register import looks
from voxelsmith.register.comparison import checkerboard, difference
from voxelsmith.register.jacobian_map import jacobian_map
from voxelsmith.register.looks import Plane

GRID = (24, 20, 16)


@pytest.fixture
def bent():
    affine = oblique()
    return Transform(linear_map(), smooth_field(affine, GRID, voxels=1.5))


class TestArrows:
    def test_they_lead_where_the_transform_pushes(self, bent):
        affine = bent.field.affine
        found = looks.arrows(bent, affine, GRID, step=5)
        pushed = bent.push_points(affine.apply(found.starts))
        np.testing.assert_allclose(affine.apply(found.ends), pushed, atol=1e-9)
        np.testing.assert_allclose(found.lengths, np.linalg.norm(pushed - affine.apply(found.starts), axis=1))

    def test_a_known_shift_has_its_length_in_millimetres(self):
        affine = oblique(spacing=(0.5, 2, 3))
        field = DisplacementField.from_voxels(np.full((*GRID, 3), (2, 0, 0), np.float32), affine)
        found = looks.arrows(Transform(field=field), affine, GRID, step=4)
        np.testing.assert_allclose(found.lengths, 1.0, rtol=1e-5)
        np.testing.assert_allclose(found.ends - found.starts, [[2, 0, 0]] * len(found.starts), atol=1e-5)

    @pytest.mark.parametrize("plane", [None, Plane(0, 3.0), Plane(2, 7.5)])
    def test_they_are_a_step_apart_inside_the_grid_and_on_the_plane(self, plane):
        affine = Affine.from_spacing((1, 2, 4))
        starts = looks.arrows(Transform(), affine, GRID, 6.0, plane).starts
        for axis, spacing in enumerate((1, 2, 4)):
            values = np.unique(starts[:, axis])
            if plane is not None and plane.axis == axis:
                assert values.tolist() == [plane.index]
                continue
            np.testing.assert_allclose(np.diff(values) * spacing, 6.0)
            assert values[0] == pytest.approx(GRID[axis] - 1 - values[-1])
            assert 0 <= values[0] * spacing < 3.0

    def test_a_step_below_a_voxel_takes_every_voxel(self):
        assert len(looks.arrows(Transform(), Affine.from_spacing(), (5, 4, 3), 0.1).starts) == 60

    def test_a_step_must_be_positive(self):
        with pytest.raises(InputError, match="positive"):
            looks.arrows(Transform(), Affine.from_spacing(), GRID, 0)


class TestGridLines:
    def test_without_a_deformation_they_are_straight_and_cover_the_grid(self):
        lines = looks.grid_lines(Transform(), Affine.from_spacing(), GRID, 5)
        for line in lines:
            assert sorted(np.ptp(line, axis=0).round(9).tolist())[:2] == [0, 0]
        ends = np.concatenate(lines)
        np.testing.assert_allclose(ends.min(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(ends.max(axis=0), np.array(GRID) - 1)

    def test_their_points_move_as_the_transform_pushes(self, bent):
        affine = bent.field.affine
        straight = looks.grid_lines(Transform(), affine, GRID, 8)
        moved = looks.grid_lines(bent, affine, GRID, 8)
        assert len(straight) == len(moved)
        for before, after in zip(straight, moved, strict=True):
            np.testing.assert_allclose(affine.apply(after), bent.push_points(affine.apply(before)), atol=1e-9)

    def test_on_a_plane_they_run_along_the_two_other_axes(self):
        lines = looks.grid_lines(Transform(), Affine.from_spacing(), GRID, 5, Plane(1, 9.0))
        assert {int(np.argmax(np.ptp(line, axis=0))) for line in lines} == {0, 2}
        assert set(np.concatenate(lines)[:, 1].tolist()) == {9.0}

    def test_segments_join_neighbours(self):
        pieces = looks.segments([np.arange(9.0).reshape(3, 3), np.ones((2, 3))])
        assert pieces.shape == (3, 2, 3)
        assert pieces[1].tolist() == [[3, 4, 5], [6, 7, 8]]
        assert looks.segments([]).shape == (0, 2, 3)


def test_a_deformation_alone_has_no_affine_part(bent):
    assert looks.deformation_of(bent).field is bent.field
    assert np.array_equal(looks.deformation_of(bent).matrix, np.eye(4))


def test_the_step_counts_along_the_longest_side():
    assert looks.step_for(Affine.from_spacing((1, 1, 5)), (60, 40, 20), 10) == 10


@pytest.fixture
def pair():
    affine = Affine.from_spacing((1, 1, 2))
    ramp = np.broadcast_to(np.linspace(0, 50, 40)[:, None, None], (40, 32, 16)).astype(np.float32)
    return Volume(ramp, affine, "fixed"), Volume(1000 - 3 * ramp, affine, "warped")


class TestComparison:
    def test_fields_of_a_checkerboard_alternate_and_are_cubes_in_millimetres(self, pair):
        fixed, warped = pair
        board = run_job(checkerboard(fixed, warped, squares=5)).array
        rising = board[:, :, :] == run_job(checkerboard(fixed, fixed, squares=5)).array
        # 40 mm in five fields: 8, 8 and 4 voxels.
        assert rising[0, 0, 0]
        assert rising[:7, :7, :3].all()
        assert not rising[8:15, :7, :3].any()
        assert not rising[:7, 8:15, :3].any()
        assert not rising[:7, :7, 4:7].any()
        assert rising[8:15, 8:15, :3].all()

    def test_images_of_unlike_brightness_have_no_difference(self, pair):
        fixed, _ = pair
        brighter = Volume(7 * fixed.array + 300, fixed.affine)
        assert np.abs(run_job(difference(fixed, brighter)).array).max() < 1e-4

    def test_a_difference_has_the_sign_of_what_is_brighter_in_the_fixed_image(self, pair):
        found = run_job(difference(*pair)).array
        assert found[-1, 0, 0] == pytest.approx(1)
        assert found[0, 0, 0] == pytest.approx(-1)

    def test_voxels_that_are_not_finite_and_constant_images_are_shown_as_black(self, pair):
        fixed, _ = pair
        array = fixed.array.copy()
        array[3, 3, 3], array[4, 4, 4] = np.nan, np.inf
        found = run_job(difference(Volume(array, fixed.affine), Volume(np.full_like(array, 8), fixed.affine))).array
        assert np.isfinite(found).all()
        assert found[3, 3, 3] == 0

    def test_other_grids_and_single_fields_are_refused(self, pair):
        fixed, _ = pair
        with pytest.raises(GeometryError, match="resample"):
            run_job(difference(fixed, Volume(fixed.array[1:], fixed.affine)))
        with pytest.raises(InputError, match="two fields"):
            run_job(checkerboard(fixed, fixed, squares=1))


class TestJacobianMap:
    def test_it_is_that_of_the_field_times_that_of_the_matrix(self):
        # More than one piece.
        field = smooth_field(Affine.from_spacing((1, 2, 3)), (40, 80, 90), voxels=1.0)
        whole = run_job(jacobian_map(Transform(np.diag([2.0, 1, 1, 1]), field)))
        np.testing.assert_allclose(whole.volume.array, 2 * field.jacobian_determinant(), rtol=1e-6)
        assert whole.least == whole.volume.array.min()
        assert whole.greatest == whole.volume.array.max()

    def test_folds_are_counted_whatever_the_matrix(self):
        shift = np.zeros((12, 12, 12, 3), np.float32)
        shift[6, 5, 5, 0] = -3
        field = DisplacementField.from_voxels(shift, oblique())
        expected = int((field.jacobian_determinant() <= 0).sum())
        assert expected > 0
        for matrix in (np.eye(4), np.diag([-1.0, 1, 1, 1])):
            found = run_job(jacobian_map(Transform(matrix, field)))
            assert found.folded == expected
            assert found.folding_share == expected / 12**3

    def test_an_affine_map_has_none(self):
        with pytest.raises(InputError, match="alike"):
            run_job(jacobian_map(Transform()))
