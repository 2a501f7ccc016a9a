"""A volume that becomes a layer and comes back is the same volume, wherever napari's own tools carried it."""

import dask.array
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points
from orientations import ORIENTATIONS, oriented

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.plugin.layers import (
    NAMESPACE,
    from_ijk,
    from_stored,
    labels_like,
    layer_affine,
    layer_data,
    layer_to_volume,
    placement,
    stored_axes,
    to_ijk,
    to_stored,
)

CORNERS = np.array([[0, 0, 0], [4, 0, 0], [0, 5, 0], [0, 0, 6], [1, 2, 3]], dtype=float)


def as_layer(volume):
    return Layer.create(*layer_data(volume))


def new_labels(layer):
    """What napari's button makes while ``layer`` is selected."""
    viewer = ViewerModel()
    viewer.add_layer(layer)
    viewer.layers.selection.active = layer
    viewer._new_labels()
    return viewer.layers[-1]


@pytest.mark.parametrize("tilt", [0, 12], ids=["straight", "oblique"])
@pytest.mark.parametrize(("permutation", "signs"), ORIENTATIONS)
class TestEveryOrientation:
    @pytest.fixture
    def volume(self, make_volume, permutation, signs, tilt):
        return make_volume(permutation=permutation, signs=signs, tilt=tilt)

    def test_the_volume_comes_back_without_a_copy(self, volume):
        back = layer_to_volume(as_layer(volume))
        assert back.affine == volume.affine
        assert back.array.shape == volume.array.shape
        assert np.array_equal(back.array, volume.array)
        assert np.shares_memory(back.array, volume.array)

    def test_labels_of_napari_s_button_lie_on_the_stored_grid(self, volume):
        labels = layer_to_volume(new_labels(as_layer(volume)))
        assert isinstance(labels, LabelVolume)
        assert labels.grid == volume.grid
        assert labels.affine == volume.affine

    def test_slices_are_axial_first_and_radiological(self, volume):
        layer = as_layer(volume)
        world = np.array([layer.data_to_world(p) for p in np.eye(3)]) - layer.data_to_world((0, 0, 0))
        assert np.array_equal(np.argmax(np.abs(world), axis=1), [0, 1, 2])
        superior, posterior, left = np.array([1, 0, 0]), np.array([0, 1, 0]), np.array([0, 0, 1])
        toward = np.array([volume.affine.direction[:, axis] for axis in stored_axes(layer)])
        for n, (axis, ras) in enumerate([(superior, (0, 0, 1)), (posterior, (0, -1, 0)), (left, (-1, 0, 0))]):
            assert np.sign(world[n] @ axis) == np.sign(toward[n] @ ras)

    def test_nothing_is_drawn_tilted(self, volume):
        linear = np.array([as_layer(volume).data_to_world(p) for p in np.eye(3)]) - as_layer(volume).data_to_world(
            (0, 0, 0)
        )
        assert np.allclose(linear, np.diag(np.diag(linear)), atol=1e-9)

    def test_scale_is_the_spacing(self, volume):
        layer = as_layer(volume)
        assert np.array_equal(layer.scale, volume.spacing[list(stored_axes(layer))])
        assert {str(u) for u in layer.units} == {"millimeter"}

    def test_indices_and_arrays_translate_back(self, volume):
        layer = as_layer(volume)
        points = from_ijk(layer, CORNERS)
        assert np.array_equal(to_ijk(layer, points), CORNERS)
        for (i, j, k), point in zip(CORNERS.astype(int), points.astype(int), strict=True):
            assert layer.data[tuple(point)] == volume.array[i, j, k]
        assert np.array_equal(to_stored(layer, layer.data), volume.array)
        assert np.array_equal(from_stored(layer, volume.array), layer.data)


@pytest.mark.parametrize(("permutation", "signs"), ORIENTATIONS)
def test_world_of_a_straight_grid_is_reversed_lps(make_volume, permutation, signs):
    volume = make_volume(permutation=permutation, signs=signs)
    layer = as_layer(volume)
    world = np.array([layer.data_to_world(p) for p in from_ijk(layer, CORNERS)])
    assert np.allclose(world[:, ::-1] * [-1, -1, 1], volume.affine.apply(CORNERS))


def test_an_oblique_grid_is_drawn_about_its_true_centre(make_volume):
    volume = make_volume(tilt=20)
    layer = as_layer(volume)
    centre = (np.array(volume.grid) - 1) / 2
    drawn = np.array(layer.data_to_world(from_ijk(layer, centre)[0]))
    assert np.allclose(drawn[::-1] * [-1, -1, 1], volume.affine.apply(centre))


def test_the_cursor_picks_the_voxel_that_is_drawn_on_an_oblique_grid(make_volume):
    layer = as_layer(make_volume(shape=(20, 21, 22), tilt=20))
    viewer = ViewerModel()
    viewer.add_layer(layer)
    for step in range(22):
        viewer.dims.set_current_step(0, step)
        for cursor in ((0, 0), (-30, 55)):
            assert np.isclose(layer.world_to_data((viewer.dims.point[0], *cursor))[0], step)


def test_axis_labels_name_the_stored_axes(make_volume):
    assert as_layer(make_volume()).axis_labels == ("k", "j", "i")
    assert as_layer(make_volume(permutation=(2, 0, 1))).axis_labels == ("i", "k", "j")
    assert as_layer(make_volume(shape=(5, 6, 7, 3))).axis_labels == ("t", "k", "j", "i")


class TestMovedLayers:
    def test_a_shift_by_the_user_moves_the_grid(self, make_volume):
        volume = make_volume()
        layer = as_layer(volume)
        layer.translate = np.add(layer.translate, (3, 2, 1))
        # The layer's own transform comes before the flips of its affine: along +S, +A, +R here.
        assert np.allclose(layer_affine(layer).origin - volume.affine.origin, (1, 2, 3))

    def test_a_moved_oblique_layer_keeps_its_tilt(self, make_volume):
        volume = make_volume(tilt=15)
        layer = as_layer(volume)
        layer.translate = np.add(layer.translate, (3, 2, 1))
        moved = layer_affine(layer)
        assert np.allclose(moved.matrix[:3, :3], volume.affine.matrix[:3, :3])
        assert np.allclose(moved.origin - volume.affine.origin, (1, 2, 3))

    def test_a_rotation_by_the_user_is_kept(self, make_volume):
        layer = as_layer(make_volume())
        before = np.array([layer.data_to_world(p) for p in from_ijk(layer, CORNERS)])
        layer.rotate = (0, 0, 30)
        after = np.array([layer.data_to_world(p) for p in from_ijk(layer, CORNERS)])
        assert not np.allclose(before, after)
        assert np.allclose(layer_affine(layer).apply(CORNERS) * [-1, -1, 1], after[:, ::-1])

    def test_shear_translate_and_affine_all_count(self):
        affine = np.eye(4)
        affine[0, 3] = 5
        layer = Image(
            np.zeros((4, 5, 6)), scale=(3, 1, 2), translate=(7, 8, 9), shear=(0.1, 0, 0.2), affine=affine, units="mm"
        )
        world = np.array([layer.data_to_world(p) for p in from_ijk(layer, CORNERS)])
        assert np.allclose(layer_affine(layer).apply(CORNERS) * [-1, -1, 1], world[:, ::-1])

    def test_rounding_errors_of_an_editing_tool_do_not_cost_the_exact_affine(self, make_volume):
        volume = make_volume(tilt=15)
        layer = as_layer(volume)
        layer.translate = layer.translate + 1e-9
        assert layer_affine(layer) == volume.affine


class TestForeignLayers:
    def test_a_stack_of_napari_means_what_itk_makes_of_it(self):
        volume = layer_to_volume(Image(np.zeros((4, 5, 6)), scale=(3, 2, 1)))
        assert volume.grid == (6, 5, 4)
        assert np.array_equal(volume.affine.lps, np.diag([1, 2, 3, 1]))

    def test_other_units_become_millimetres(self):
        volume = layer_to_volume(Image(np.zeros((4, 5, 6)), scale=(3, 2, 1), translate=(10, 0, 0), units="um"))
        assert np.allclose(volume.spacing, (1e-3, 2e-3, 3e-3))
        assert np.allclose(volume.affine.origin, (0, 0, 0.01))
        assert volume.units == "um"

    def test_units_that_are_no_lengths_are_refused(self):
        with pytest.raises(GeometryError, match="set it to mm"):
            layer_to_volume(Image(np.zeros((4, 5, 6)), units=("second", "mm", "mm")))

    def test_a_2d_image_is_one_slice(self):
        layer = Image(np.arange(20.0).reshape(4, 5), scale=(2, 3))
        volume = layer_to_volume(layer)
        assert volume.grid == (5, 4, 1)
        assert np.allclose(volume.spacing, (3, 2, 2.5))
        assert volume.array[4, 1, 0] == layer.data[1, 4]
        assert np.array_equal(to_ijk(layer, [[1, 4]]), [[4, 1, 0]])
        assert np.array_equal(from_ijk(layer, [[4, 1, 0]]), [[1, 4]])
        assert np.array_equal(from_stored(layer, volume.array), layer.data)

    def test_a_colour_image_gets_a_channel_axis(self):
        data = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 3)).astype(np.uint8)
        volume = layer_to_volume(Image(data, rgb=True))
        assert volume.extra_axis == "channel"
        assert np.array_equal(volume.array[1, 2, 3], data[3, 2, 1])
        flat = layer_to_volume(Image(data[0], rgb=True))
        assert flat.array.shape == (6, 5, 1, 3)
        assert np.array_equal(flat.array[1, 2, 0], data[0, 2, 1])

    def test_a_multiscale_image_gives_its_full_resolution(self):
        data = np.random.default_rng(0).random((8, 8, 8))
        volume = layer_to_volume(Image([data, data[::2, ::2, ::2]], multiscale=True))
        assert np.array_equal(volume.array, data.transpose())

    def test_dask_stays_lazy(self):
        volume = layer_to_volume(Image(dask.array.zeros((4, 5, 6)), contrast_limits=(0, 1)))
        assert isinstance(volume.array, dask.array.Array)

    def test_five_axes_are_refused(self):
        with pytest.raises(InputError, match="split it first"):
            layer_to_volume(Image(np.zeros((2, 2, 3, 4, 5))))

    def test_points_are_refused(self):
        with pytest.raises(InputError, match="is Points"):
            layer_to_volume(Points(np.zeros((1, 3))))

    def test_a_flat_transform_is_refused(self):
        affine = np.eye(4)
        affine[1, 2] = affine[2, 1] = 1 - 1e-8
        layer = Image(np.zeros((4, 5, 6)), affine=affine)
        with pytest.raises(GeometryError, match="span three dimensions"):
            layer_to_volume(layer)

    def test_two_tilts_at_one_place_are_not_guessed(self):
        centre = np.array([2.0, 2.5, 3.0])
        for tilt in (25, 26):
            matrix = oriented(tilt=tilt, spacing=(1, 1, 1)).matrix.copy()
            matrix[:3, 3] = -matrix[:3, :3] @ centre
            image = as_layer(Volume(np.zeros((5, 6, 7)), Affine(matrix)))
        with pytest.raises(GeometryError, match="onto the grid of one of them"):
            layer_to_volume(new_labels(image))


class TestFourAxes:
    def test_time_is_the_first_layer_axis(self, make_volume):
        volume = make_volume(shape=(5, 6, 7, 3))
        layer = as_layer(volume)
        assert layer.data.shape == (3, 7, 6, 5)
        back = layer_to_volume(layer)
        assert back.extra_axis == "time"
        assert np.array_equal(back.array, volume.array)
        assert back.affine == volume.affine
        assert np.array_equal(from_stored(layer, volume.array), layer.data)
        assert np.array_equal(from_ijk(layer, [[1, 2, 3]], frame=2), [[2, 3, 2, 1]])

    def test_labels_of_one_frame_lie_on_the_series(self, make_volume):
        volume = make_volume(shape=(5, 6, 7, 3), tilt=10)
        layer = as_layer(volume)
        labels = labels_like(layer)
        assert labels.data.shape == (7, 6, 5)
        assert layer_to_volume(labels).affine == volume.affine
        viewer = ViewerModel()
        viewer.add_layer(layer)
        viewer.add_layer(labels)
        assert np.allclose(labels.extent.world, layer.extent.world[:, 1:])

    def test_channels_become_layers(self):
        volume = Volume(np.random.default_rng(0).random((4, 5, 6, 2)), extra_axis="channel", name="cells")
        viewer = ViewerModel()
        data, kwargs, _ = layer_data(volume)
        layers = viewer.add_image(data, **kwargs)
        assert [layer.name for layer in layers] == ["cells · channel 0", "cells · channel 1"]
        assert np.array_equal(layer_to_volume(layers[1]).array, volume.array[..., 1])

    def test_bytes_in_threes_are_colours(self):
        volume = Volume(np.zeros((4, 5, 6, 3), np.uint8), extra_axis="channel")
        layer = as_layer(volume)
        assert layer.rgb
        assert layer_to_volume(layer).array.shape == volume.array.shape

    def test_levels_become_a_multiscale_layer(self):
        full = dask.array.zeros((8, 8, 8))
        volume = Volume(full, metadata={"levels": (full, full[::2, ::2, ::2]), "path": "x.zarr"})
        layer = Layer.create(*layer_data(volume)[:1], layer_data(volume)[1] | {"contrast_limits": (0, 1)}, "image")
        assert layer.multiscale
        assert layer_to_volume(layer).grid == (8, 8, 8)
        assert layer.metadata[NAMESPACE]["path"] == "x.zarr"


class TestLabelsLike:
    @pytest.mark.parametrize("tilt", [0, 12])
    def test_it_lies_on_the_image(self, make_volume, tilt):
        volume = make_volume(permutation=(1, 2, 0), signs=(-1, 1, -1), tilt=tilt)
        layer = as_layer(volume)
        labels = labels_like(layer, from_stored(layer, volume.array.astype(np.uint16)), name="organ")
        back = layer_to_volume(labels)
        assert back.affine == volume.affine
        assert np.array_equal(back.array, volume.array)
        assert back.name == "organ"

    @pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")
    def test_it_follows_a_moved_image(self):
        layer = Image(np.zeros((3, 4, 5, 6)), rotate=(0, 20, 0), shear=(0.1,) * 6, scale=(1, 2, 3, 4))
        labels = labels_like(layer)
        for point in np.eye(3):
            assert np.allclose(labels.data_to_world(point), layer.data_to_world((0, *point))[1:])

    def test_a_wrong_shape_is_refused(self, make_volume):
        with pytest.raises(GeometryError, match=r"\(7, 6, 5\)"):
            labels_like(as_layer(make_volume()), np.zeros((5, 6, 7), np.uint8))

    def test_points_can_be_placed_on_it(self, make_volume):
        layer = as_layer(make_volume(signs=(-1, -1, 1)))
        points = Points(from_ijk(layer, CORNERS), **placement(layer))
        for point in points.data:
            assert np.allclose(points.data_to_world(point), layer.data_to_world(point))


def test_label_names_come_from_metadata_or_features(make_volume):
    volume = make_volume(dtype=np.uint8)
    named = volume.labels(volume.array, names={3: "liver"})
    assert layer_to_volume(as_layer(named)).names == {3: "liver"}
    features = {"index": [1, 2], "name": ["left", "right"]}
    assert layer_to_volume(Labels(volume.array, features=features)).names == {1: "left", 2: "right"}


def test_what_the_file_said_travels_with_the_layer(make_volume):
    volume = make_volume()
    source = Volume(volume.array, volume.affine, units="um", history=("read",), metadata={"nifti_header": b"x"})
    back = layer_to_volume(as_layer(source))
    assert (back.units, back.history, back.metadata) == ("um", ("read",), {"nifti_header": b"x"})
