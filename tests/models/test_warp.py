"""Warping by displacements: direction, numbers of other libraries, composition and integration."""

import json

import numpy as np
import pytest
import torch
from hvit_cases import GOLDEN
from scipy import ndimage

from voxelsmith.core.jacobian import folding_share, inside, jacobian_determinant
from voxelsmith.models.warp import compose, integrate, pull

OPS = {name: np.load(GOLDEN / "ops_24x28x20.npz")[name] for name in ("moving", "flow", "labels_moving")}


def golden(name):
    return np.load(GOLDEN / "ops_24x28x20.npz")[name].squeeze()


def moving():
    return torch.from_numpy(OPS["moving"]), torch.from_numpy(OPS["flow"])


def within(displacement):
    """Where voxels come from between the centres of the outermost ones."""
    places = displacement[0].numpy() + np.indices(displacement.shape[2:])
    last = np.reshape(displacement.shape[2:], (3, 1, 1, 1)) - 1
    return ((places >= 0) & (places <= last)).all(axis=0)


def smooth(*grid, size, seed=0):
    """A displacement (1, 3, ...) whose vectors are about ``size`` voxels long and vanish at the border."""
    rng = np.random.default_rng(seed)
    field = np.stack([ndimage.gaussian_filter(rng.standard_normal(grid), 3, mode="constant") for _ in range(3)])
    fade = np.ones(grid)
    for axis, count in enumerate(grid):
        bump = np.sin(np.pi * np.arange(count) / (count - 1))
        fade = fade * bump.reshape([count if a == axis else 1 for a in range(3)])
    field = field * fade
    return torch.from_numpy(size * field / np.abs(field).max())[None]


def test_zero_displacement_is_the_identity_on_any_grid():
    for grid in [(24, 28, 20), (1, 7, 2), (5, 1, 1)]:
        volume = torch.rand(2, 3, *grid)
        torch.testing.assert_close(pull(volume, torch.zeros(2, 3, *grid)), volume, atol=1e-5, rtol=0)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_channel_a_shifts_along_array_axis_a_and_pulls(axis, interpolation):
    volume = torch.rand(1, 1, 6, 7, 8)
    displacement = torch.zeros(1, 3, 6, 7, 8)
    displacement[:, axis] = 2
    found = pull(volume, displacement, interpolation=interpolation)
    count = volume.shape[2 + axis]
    expected = volume.narrow(2 + axis, 2, count - 2)
    torch.testing.assert_close(found.narrow(2 + axis, 0, count - 2), expected, atol=1e-5, rtol=0)
    last = volume.narrow(2 + axis, count - 1, 1)
    torch.testing.assert_close(found.narrow(2 + axis, count - 1, 1), last, atol=1e-5, rtol=0)
    outside = pull(volume, displacement, interpolation=interpolation, padding="zeros")
    assert outside.narrow(2 + axis, count - 2, 2).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("padding", "name"),
    [("border", "gs_align_true_border"), ("border", "scipy_order1_nearest"), ("zeros", "gs_align_true_zeros")],
)
def test_linear_pulls_agree_with_torch_and_scipy(padding, name):
    found = pull(*moving(), padding=padding)
    np.testing.assert_allclose(found[0, 0], golden(name), atol=1e-5)


def test_linear_pulls_agree_with_simpleitk_inside_the_volume():
    volume, displacement = moving()
    inner = within(displacement)
    assert inner.mean() > 0.8
    found = pull(volume, displacement)[0, 0].numpy()
    np.testing.assert_allclose(found[inner], golden("sitk_linear_default0")[inner], atol=1e-5)


def test_labels_pulled_by_nearest_are_scipys():
    arrays = np.load(GOLDEN / "metrics_40x44x36.npz")
    labels = torch.from_numpy(arrays["labels_moving"])[None, None]
    displacement = torch.from_numpy(arrays["disp_mild"])[None]
    found = pull(labels, displacement, interpolation="nearest", padding="zeros")[0, 0].numpy().astype(np.uint8)
    expected = arrays["warped_labels_mild_order0"]
    # SciPy takes the half voxel around the outermost ones for outside already, and of two nearest ones the other.
    found[~within(displacement)] = 0
    places = arrays["disp_mild"] + np.indices(found.shape)
    between = (np.abs(places % 1 - 0.5) < 1e-5).any(axis=0)
    assert between.mean() < 0.02
    np.testing.assert_array_equal(found[~between], expected[~between])
    counts = json.loads((GOLDEN / "metrics.json").read_text())["label_warp_mild"]["counts_order0_constant0"]
    assert np.bincount(found.ravel(), minlength=6).tolist() == counts


def test_the_result_has_the_grid_of_the_displacement():
    volume = torch.arange(60, dtype=torch.float32).reshape(1, 1, 3, 4, 5)
    displacement = torch.ones(1, 3, 2, 2, 2)
    torch.testing.assert_close(pull(volume, displacement), volume[:, :, 1:3, 1:3, 1:3])


def test_composing_is_pulling_twice():
    volume = torch.arange(30.0, dtype=torch.float64).reshape(1, 1, 30, 1, 1).expand(1, 1, 30, 30, 30).contiguous()
    first, second = smooth(30, 30, 30, size=1.5), smooth(30, 30, 30, size=1.0, seed=1)
    both = pull(volume, compose(first, second))
    torch.testing.assert_close(pull(volume, second) + pull(first, second)[:, :1], both)
    assert (compose(first, second) - compose(second, first)).abs().max() > 0.05


def test_composing_with_nothing_changes_nothing():
    first, nothing = smooth(12, 10, 14, size=1.0), torch.zeros(1, 3, 12, 10, 14, dtype=torch.float64)
    torch.testing.assert_close(compose(first, nothing), first)
    torch.testing.assert_close(compose(nothing, first), first)


def test_a_constant_velocity_is_its_displacement():
    velocity = torch.tensor([3.0, -1.0, 0.5]).reshape(1, 3, 1, 1, 1).expand(1, 3, 6, 5, 4)
    torch.testing.assert_close(integrate(velocity), velocity.clone(), atol=1e-5, rtol=0)


def test_a_linear_velocity_grows_exponentially():
    """dx/dt = a (x - c) ends at c + (x - c) e^a."""
    x = torch.arange(33.0, dtype=torch.float64)
    velocity = torch.zeros(1, 3, 33, 3, 3, dtype=torch.float64)
    velocity[:, 0] = (-0.4 * (x - 16)).reshape(33, 1, 1)
    expected = (x - 16) * (np.exp(-0.4) - 1)
    torch.testing.assert_close(integrate(velocity, 10)[0, 0, :, 1, 1], expected, atol=2e-3, rtol=0)


def test_the_opposite_velocity_is_the_inverse_and_nothing_folds():
    velocity = smooth(32, 32, 32, size=8.0)
    there, back = integrate(velocity), integrate(-velocity)
    assert there.abs().max() > 3
    assert compose(there, back).norm(dim=1).mean() < 0.05 * there.norm(dim=1).mean()
    determinant = jacobian_determinant(there[0].numpy())
    assert folding_share(inside(determinant)) == 0
    assert folding_share(inside(jacobian_determinant(velocity[0].numpy()))) > 0.005


def test_gradients_are_right():
    torch.manual_seed(0)
    volume = torch.rand(1, 2, 4, 3, 5, dtype=torch.float64, requires_grad=True)
    displacement = (0.4 * torch.rand(1, 3, 4, 3, 5, dtype=torch.float64) + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, u: pull(v, u), (volume, displacement))
    assert torch.autograd.gradcheck(lambda u: integrate(u, 2), (displacement,))


def test_half_precision_displaces_in_float32():
    volume, displacement = moving()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pull(volume, displacement)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, pull(volume, displacement))
