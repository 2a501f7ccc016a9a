"""DisplacementField: one direction, right in millimetres on any grid; inverse, composition, Jacobian."""

import numpy as np
import pytest

from deformations import oblique, positions, smooth_field, smooth_image
from voxelsmith.core.affine import Affine
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.jacobian import folding_share
from voxelsmith.core.volume import LabelVolume, Volume

GRID = (20, 18, 12)
AFFINES = [Affine.from_spacing(), oblique(), oblique(flip=(-1, 1, 1)), oblique(angles=(80, 10, -60), flip=(1, -1, -1))]


def constant(affine, shift, grid=GRID):
    return DisplacementField(np.broadcast_to(np.float32(shift), (*grid, 3)), affine)


class TestDirection:
    @pytest.mark.parametrize("affine", AFFINES)
    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_a_known_shift_along_each_world_axis(self, affine, axis):
        """The value found at x is the moving image's at x + u."""
        shift = np.eye(3)[axis] * 1.7
        slope = np.array([1.0, -2.0, 0.5])
        large = (60, 60, 60)
        moving_affine = oblique((1.1, 0.9, 1.4), affine.origin - (35, 25, 45), (5, 4, 3))
        moving = Volume(positions(moving_affine, large) @ slope, moving_affine)
        pulled = constant(affine, shift, (8, 9, 5)).pull_image(moving, fill=np.nan)
        expected = (positions(affine, (8, 9, 5)) + shift) @ slope
        known = np.isfinite(pulled.array)
        assert known.mean() > 0.5
        np.testing.assert_allclose(pulled.array[known], expected[known], atol=1e-4)
        assert pulled.affine == affine

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_a_shift_by_one_voxel_moves_by_one_voxel(self, axis):
        affine = oblique()
        moving = Volume(smooth_image(GRID), affine)
        voxels = np.zeros((*GRID, 3))
        voxels[..., axis] = 1
        pulled = DisplacementField.from_voxels(voxels, affine).pull_image(moving)
        inner = [slice(None)] * 3
        inner[axis] = slice(0, -1)
        np.testing.assert_allclose(pulled.array[tuple(inner)], np.roll(moving.array, -1, axis)[tuple(inner)], atol=1e-5)

    @pytest.mark.parametrize("affine", AFFINES)
    def test_a_blob_and_its_landmark_move_together(self, affine):
        field = smooth_field(affine, GRID, voxels=1.0)
        centre = np.array([9.0, 8.0, 6.0])
        landmark = affine.apply(centre)
        index = np.stack(np.meshgrid(*map(np.arange, GRID), indexing="ij"), axis=-1)
        there = affine.inverse().apply(field.push_points(landmark))
        assert np.linalg.norm(there - centre) > 0.5
        blob = np.exp(-((index - there) ** 2).sum(axis=-1) / 2)
        pulled = field.pull_image(Volume(blob, affine)).array
        weight = pulled**4
        found = (index * weight[..., np.newaxis]).sum(axis=(0, 1, 2)) / weight.sum()
        assert np.linalg.norm(found - centre) < 0.35

    def test_shapes_are_moved_vertex_by_vertex(self):
        field = constant(oblique(), (1, 2, 3))
        shapes = field.push_shapes([np.zeros((4, 3)), [[1, 1, 1]], np.zeros((0, 3))])
        assert [shape.shape for shape in shapes] == [(4, 3), (1, 3), (0, 3)]
        np.testing.assert_allclose(shapes[1], [[2, 3, 4]])

    def test_points_between_voxels_and_beyond_the_grid(self):
        affine = Affine.from_spacing((2, 1, 1))
        array = np.zeros((3, 1, 1, 3), np.float32)
        array[:, 0, 0, 1] = [0, 4, 6]
        field = DisplacementField(array, affine)
        np.testing.assert_allclose(field.at([[1, 0, 0], [3, 0, 9], [99, 0, 0], [-99, 5, 5]])[:, 1], [2, 5, 6, 0])

    def test_points_are_finite(self):
        with pytest.raises(InputError, match="finite coordinates"):
            constant(oblique(), 0).push_points([[0, np.nan, 0]])


class TestPulling:
    def test_labels_are_those_of_one_hot_and_argmax(self):
        field = smooth_field(oblique(), GRID)
        moving_affine = oblique((0.9, 1.1, 1.9), angles=(14, -5, 28))
        labels = LabelVolume(
            np.digitize(smooth_image(GRID, 1.5), [0.35, 0.5, 0.6, 0.8]).astype(np.uint16) * 7, moving_affine
        )
        pulled = field.pull_image(labels)
        values = np.unique(labels.array)
        hot = [field.pull_image(Volume((labels.array == v).astype(np.float64), moving_affine)).array for v in values]
        ranked = np.sort(hot, axis=0)
        clear = (ranked[-1] - ranked[-2] > 1e-6) & (ranked[-1] > 0)
        assert clear.mean() > 0.5
        assert isinstance(pulled, LabelVolume)
        assert pulled.array.dtype == np.uint16
        np.testing.assert_array_equal(pulled.array[clear], values[np.argmax(hot, axis=0)][clear])

    def test_nearest_takes_whole_voxels(self):
        affine = Affine.from_spacing()
        moving = Volume(np.arange(24, dtype=np.int16).reshape(4, 3, 2), affine)
        pulled = constant(affine, (0.4, -0.4, 0.6), (4, 3, 2)).pull_image(moving, "nearest", fill=-1)
        assert pulled.array.dtype == np.int16
        np.testing.assert_array_equal(pulled.array[:, :, 0], moving.array[:, :, 1])
        np.testing.assert_array_equal(pulled.array[:, :, 1], -1)

    @pytest.mark.parametrize("interpolation", ["linear", "nearest"])
    def test_beyond_the_moving_image_is_the_value_asked_for(self, interpolation):
        affine = Affine.from_spacing()
        field = constant(affine, (2, 0, 0), (4, 3, 3))
        for moving in (Volume(np.ones((4, 3, 3)), affine), LabelVolume(np.ones((4, 3, 3), np.uint8), affine)):
            pulled = field.pull_image(moving, interpolation, fill=9)
            np.testing.assert_array_equal(pulled.array[:2], 1)
            np.testing.assert_array_equal(pulled.array[2:], 9)

    def test_frames_are_pulled_one_by_one(self):
        field = smooth_field(oblique(), GRID)
        array = np.random.default_rng(2).random((*GRID, 2), np.float32)
        series = field.pull_image(Volume(array, oblique(), extra_axis="time"))
        for n in range(2):
            np.testing.assert_array_equal(
                series.array[..., n], field.pull_image(Volume(array[..., n], oblique())).array
            )
        stack = LabelVolume((array > 0.5).astype(np.uint8), oblique(), extra_axis="time")
        assert field.pull_image(stack).array.shape == (*GRID, 2)

    def test_names_and_history_travel(self):
        labels = LabelVolume(np.ones(GRID, np.uint8), oblique(), history=("read",), names={1: "liver"})
        pulled = constant(oblique(), 0).pull_image(labels)
        assert pulled.names == {1: "liver"}
        assert pulled.history == ("read", "warped")

    def test_the_moving_image_may_have_one_slice(self):
        field = constant(Affine.from_spacing(), (0.25, 0, 0), (5, 5, 1))
        flat = np.arange(25, dtype=np.float32).reshape(5, 5, 1)
        pulled = field.pull_image(Volume(flat))
        np.testing.assert_allclose(pulled.array[:4], flat[:4] + 0.25 * 5, atol=1e-5)

    def test_what_does_not_fit_is_refused(self):
        field = constant(oblique(), 0)
        with pytest.raises(InputError, match="'linear' or 'nearest'"):
            field.pull_image(Volume(np.ones(GRID)), "cubic")
        for fill in (-1, 0.5, 300, np.nan):
            with pytest.raises(InputError, match="must fit the voxels' type uint8"):
                field.pull_image(LabelVolume(np.ones(GRID, np.uint8)), fill=fill)


class TestComposing:
    def test_the_second_field_acts_where_the_first_one_leads(self):
        first, second = smooth_field(oblique(), GRID, seed=1), smooth_field(oblique((1, 1, 1)), (24, 24, 24), seed=2)
        both = first.then(second)
        x = positions(first.affine, first.grid)
        np.testing.assert_allclose(both.push_points(x), second.push_points(first.push_points(x)), atol=1e-5)

    def test_the_order_matters(self):
        affine = Affine.from_spacing()
        stretch = DisplacementField(positions(affine, GRID).astype(np.float32), affine)
        shift = constant(affine, (1, 0, 0))
        np.testing.assert_allclose(stretch.then(shift).push_points([3, 0, 0]), [7, 0, 0])
        np.testing.assert_allclose(shift.then(stretch).push_points([3, 0, 0]), [8, 0, 0])

    def test_resampled_on_another_grid(self):
        field = smooth_field(oblique(), GRID)
        other = oblique((0.5, 0.6, 0.7), angles=(1, 2, 3))
        resampled = field.resampled(other, (9, 8, 7))
        np.testing.assert_allclose(resampled.array, field.at(positions(other, (9, 8, 7))), atol=1e-6)
        np.testing.assert_array_equal(field.resampled(field.affine, field.grid).array, field.array)


class TestInverse:
    @pytest.mark.parametrize("affine", AFFINES)
    def test_there_and_back_is_well_within_a_tenth_of_a_voxel(self, affine):
        field = smooth_field(affine, (30, 28, 20), voxels=1.5, sigma=5)
        assert 0.1 < field.jacobian_determinant().min() < 0.5
        inverse, residual = field.inverse()
        x = positions(affine, field.grid)[6:-6, 6:-6, 6:-6]
        for there, back in ((field, inverse), (inverse, field)):
            error = affine.inverse().apply(back.push_points(there.push_points(x))) - affine.inverse().apply(x)
            distance = np.linalg.norm(error, axis=-1)
            assert distance.mean() < 0.05
            assert distance.max() < 0.2
        assert residual.max_mm <= 0.01 * affine.spacing.min()
        assert residual.mean_mm <= residual.max_mm
        assert 0.5 < residual.inside < 1

    def test_of_a_stretch_by_three_that_a_plain_iteration_misses(self):
        affine = oblique()
        x = positions(affine, GRID)
        centre = x.mean(axis=(0, 1, 2))
        field = DisplacementField((2 * (x - centre)).astype(np.float32), affine)
        inverse, residual = field.inverse()
        assert residual.max_mm <= 0.01 * affine.spacing.min()
        np.testing.assert_allclose(inverse.array, (x - centre) * (1 / 3 - 1), atol=0.01)

    @pytest.mark.parametrize("flat", [0, 1, 2])
    def test_along_axes_of_one_voxel(self, flat):
        grid = tuple(1 if axis == flat else n for axis, n in enumerate((24, 20, 16)))
        field = smooth_field(oblique(), grid, voxels=1.0)
        inverse, residual = field.inverse()
        assert np.abs(inverse.array).max() > 0.5
        assert residual.max_mm <= 0.008 + 1e-9
        x = positions(field.affine, grid)
        np.testing.assert_allclose(field.push_points(inverse.push_points(x)), x, atol=0.01)

    def test_is_sampled_where_it_is_asked_for(self):
        field = smooth_field(oblique(), (24, 24, 24))
        other = oblique((1, 1, 1), origin=(-15, 16, 10))
        inverse, _ = field.inverse(other, (10, 11, 12))
        assert inverse.grid == (10, 11, 12)
        x = positions(other, inverse.grid)
        np.testing.assert_allclose(field.push_points(inverse.push_points(x)), x, atol=0.02)

    def test_says_where_a_fold_has_none(self):
        affine = Affine.from_spacing()
        x = positions(affine, (40, 5, 5))
        array = np.zeros((40, 5, 5, 3), np.float32)
        array[..., 0] = 6 * np.sin(x[..., 0] / 2)
        _, residual = DisplacementField(array, affine).inverse()
        assert residual.max_mm > 0.5

    def test_nothing_comes_from_inside_when_it_is_asked_far_away(self):
        _, residual = constant(Affine.from_spacing(), 0).inverse(Affine.from_spacing(1, (500, 0, 0)), (3, 3, 3))
        assert residual.inside == 0
        assert np.isnan(residual.max_mm)

    def test_what_does_not_fit_is_refused(self):
        field = constant(oblique(), 0)
        with pytest.raises(GeometryError, match="both its affine and its shape"):
            field.inverse(oblique())
        with pytest.raises(InputError, match="tolerance of an inversion is positive"):
            field.inverse(tolerance=0)


class TestJacobian:
    @pytest.mark.parametrize("affine", AFFINES)
    def test_of_a_linear_map_is_its_determinant(self, affine):
        gradient = np.array([[0.1, 0.05, -0.2], [0.3, -0.1, 0.02], [0.0, 0.15, 0.25]])
        field = DisplacementField((positions(affine, GRID) @ gradient.T).astype(np.float32), affine)
        expected = np.linalg.det(np.eye(3) + gradient)
        np.testing.assert_allclose(field.jacobian_determinant(), expected, atol=1e-4)

    def test_is_the_same_in_slabs(self):
        field = smooth_field(oblique(), (9, 300, 200), sigma=2)
        alone = DisplacementField(field.array[2:6], field.affine.shifted((2, 0, 0)))
        np.testing.assert_array_equal(field.jacobian_determinant()[3:5], alone.jacobian_determinant()[1:3])

    @pytest.mark.parametrize("flat", [0, 1, 2])
    def test_along_axes_of_one_voxel(self, flat):
        grid = tuple(1 if axis == flat else 6 for axis in range(3))
        x = positions(oblique(), grid)
        field = DisplacementField((0.2 * (x - oblique().origin)).astype(np.float32), oblique())
        np.testing.assert_allclose(field.jacobian_determinant(), 1.2**2, atol=1e-4)

    def test_folds_are_counted(self):
        affine = oblique()
        voxels = np.zeros((*GRID, 3))
        voxels[5:, :, :, 0] = 0.0
        voxels[8, :, :, 0] = 2.0
        field = DisplacementField.from_voxels(voxels, affine)
        determinant = field.jacobian_determinant()
        folded = np.zeros(GRID, bool)
        folded[9] = True
        np.testing.assert_array_equal(determinant <= 1e-5, folded)
        assert folding_share(determinant - np.float32(1e-5)) == pytest.approx(1 / GRID[0])
        assert folding_share(constant(affine, 3).jacobian_determinant()) == 0


class TestBuilding:
    def test_voxels_there_and_back(self):
        voxels = np.random.default_rng(0).normal(size=(4, 5, 6, 3)).astype(np.float32)
        field = DisplacementField.from_voxels(voxels, oblique())
        np.testing.assert_allclose(field.in_voxels(), voxels, atol=1e-5)
        assert not np.allclose(field.array, voxels, atol=0.1)

    def test_everything_is_the_same_bit_for_bit_the_second_time(self):
        field, labels = smooth_field(oblique(), GRID), LabelVolume((smooth_image(GRID) * 9).astype(np.uint8), oblique())
        image = Volume(smooth_image(GRID), oblique((0.9, 1, 2)))
        for run in (
            lambda: field.pull_image(image).array,
            lambda: field.pull_image(labels).array,
            lambda: field.then(field).array,
            lambda: field.inverse()[0].array,
            lambda: field.jacobian_determinant(),
        ):
            assert run().tobytes() == run().tobytes()

    @pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 2), (0, 4, 5, 3), (2, 3, 4, 5, 3)])
    def test_the_shape_is_checked(self, shape):
        with pytest.raises(InputError, match=r"shape \(I, J, K, 3\)"):
            DisplacementField(np.zeros(shape, np.float32), oblique())

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_displacements_are_finite(self, bad):
        array = np.zeros((3, 4, 5, 3), np.float32)
        array[2, 3, 4, 1] = bad
        with pytest.raises(InputError, match="finite"):
            DisplacementField(array, oblique())

    def test_zeros_move_nothing(self):
        image = Volume(smooth_image(GRID), oblique())
        np.testing.assert_allclose(
            DisplacementField.zeros(oblique(), GRID).pull_image(image).array, image.array, atol=1e-6
        )
