"""How the viewer is turned: head up, and the body as it is rather than its mirror image."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from scipy import ndimage

from voxelsmith.core.affine import Affine
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.camera import PLANES, keep_upright, show_plane, show_rendering
from voxelsmith.plugin.layers import layer_data


@pytest.fixture
def body():
    """A block at the patient's left and a larger one at the head, stored as RAS."""
    array = np.zeros((40, 42, 44), np.float32)
    array[2:8, 18:24, 18:24] = 1
    array[16:26, 16:28, 34:42] = 1
    return Layer.create(*layer_data(Volume(array, Affine.from_spacing())))


@pytest.fixture
def model(body):
    viewer = ViewerModel()
    viewer.add_layer(body)
    return viewer


def centres(viewer):
    """Centre of the smaller and of the larger bright spot on the canvas: fractions from the left and from the top."""
    bright = viewer.screenshot(flash=False)[..., 0] > 128
    parts, _ = ndimage.label(bright)
    sizes = np.bincount(parts.ravel())[1:]
    found = ndimage.center_of_mass(bright, parts, (np.argsort(sizes)[-2:] + 1).tolist())
    return [(x / bright.shape[1], y / bright.shape[0]) for y, x in found]


@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_3d_shows_left_on_the_right_and_the_head_up(make_napari_viewer, body, plane):
    viewer = make_napari_viewer(show=True)
    viewer.add_layer(body)
    keep_upright(viewer)
    viewer.dims.order = [axis + 3 for axis in PLANES[plane]]
    viewer.dims.ndisplay = 3
    viewer.reset_view(reset_camera_angle=False)
    (left_x, _), (_, head_y) = centres(viewer)
    assert left_x > 0.6
    assert head_y < 0.4


def test_a_view_that_the_user_turned_is_kept(model):
    keep_upright(model)
    model.scene.camera.angles = (10, 20, 30)
    model.dims.ndisplay = 3
    assert np.allclose(model.scene.camera.angles, (10, 20, 30))


@pytest.mark.parametrize(("order", "vertical"), [((0, 1, 2), "down"), ((1, 0, 2), "up"), ((2, 0, 1), "up")])
def test_rolling_the_axes_keeps_the_head_up(model, order, vertical):
    keep_upright(model)
    model.dims.order = (1, 0, 2)
    model.dims.order = order
    assert str(model.scene.camera.orientation2d[0]) == vertical


def test_images_that_are_not_ours_are_left_alone():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 5, 6)))
    before = viewer.scene.camera.orientation
    keep_upright(viewer)
    viewer.dims.order = (1, 0, 2)
    viewer.dims.ndisplay = 3
    assert viewer.scene.camera.orientation == before


@pytest.mark.parametrize("plane", PLANES)
def test_3d_begins_at_the_front_whatever_was_shown(model, plane):
    show_plane(model, plane)
    show_rendering(model, True)
    assert np.allclose(model.scene.camera.view_direction, (0, 1, 0), atol=1e-6)
    assert np.allclose(model.scene.camera.up_direction, (1, 0, 0), atol=1e-6)
