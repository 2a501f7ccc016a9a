"""Losses of networks: what they promise together, and MSE, LNCC and Dice by brute force and the published numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from registration_images import noise, textured
from torch.autograd import gradcheck
from torch.nn import functional

from voxelsmith.core.errors import InputError
from voxelsmith.register.box import box_count, box_sum
from voxelsmith.register.penalty import diffusion
from voxelsmith.register.similarity import dice_loss, lncc, mse

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "hvit" / "ops_24x28x20.npz")
SCALARS = json.loads(str(GOLDEN["scalars_json"]))
every = pytest.mark.parametrize("similarity", [lncc, mse])


def golden():
    return torch.from_numpy(GOLDEN["moving"]), torch.from_numpy(GOLDEN["fixed"])


def half_mask(grid):
    """Weights that count one half of the grid, some of it in part."""
    mask = torch.zeros(1, 1, *grid, dtype=torch.float64)
    mask[:, :, : grid[0] // 2] = 1
    mask[:, :, 0] = 0.5
    return mask


# -------------------------------------------------------------------------------------------------------- box filter


def windows(shape, radius):
    """Every voxel with the slices of its window, cut at the border."""
    for voxel in np.ndindex(*shape):
        yield voxel, tuple(slice(max(v - radius, 0), v + radius + 1) for v in voxel)


@pytest.mark.parametrize("grid", [(7, 5, 9), (1, 4, 2), (12, 1, 1)])
@pytest.mark.parametrize("window", [1, 3, 5, 9])
def test_box_sums_are_sums_over_windows(grid, window):
    x = noise(2, 3, *grid)
    found, counts = box_sum(x, window), box_count(grid, window, x)
    for voxel, around in windows(grid, window // 2):
        expected = x[(slice(None), slice(None), *around)]
        torch.testing.assert_close(found[(..., *voxel)], expected.sum((2, 3, 4)))
        assert counts[(0, 0, *voxel)] == expected[0, 0].numel()


def test_gradients_of_box_sums_are_right():
    assert gradcheck(lambda x: box_sum(x, 3), (noise(1, 2, 4, 3, 1).requires_grad_(),))


@pytest.mark.parametrize("window", [0, 4, -3])
def test_windows_have_a_middle(window):
    with pytest.raises(InputError, match="odd number"):
        box_sum(noise(1, 1, 4, 4, 4), window)


# -------------------------------------------------------------------------------------------------------- all of them


@every
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_right_in_both_images(similarity, masked):
    grid = (4, 5, 3)
    images = [textured(*grid, seed=seed, sigma=0.5) for seed in (0, 1)]
    mask = half_mask(grid) if masked else None
    moved = [x.clone().requires_grad_() for x in images]
    assert gradcheck(lambda a, b: similarity(a, b, mask), moved, eps=1e-6, atol=1e-6)
    assert all(g.abs().max() > 1e-6 for g in torch.autograd.grad(similarity(*moved, mask), moved))


@every
def test_alike_is_lower_than_shifted_is_lower_than_unlike(similarity):
    fixed = textured(20, 20, 20, sigma=2)
    shifted, unlike = fixed.roll(1, dims=2), textured(20, 20, 20, seed=1, sigma=2)
    found = [float(similarity(x, fixed, None)) for x in (fixed, shifted, unlike)]
    assert found == sorted(found)
    assert found[1] - found[0] > 1e-3
    assert found[2] - found[1] > 1e-3


@every
def test_only_what_the_mask_counts_matters(similarity):
    grid = (16, 10, 10)
    a, b = textured(*grid), textured(*grid, seed=1)
    mask = torch.zeros(1, 1, *grid, dtype=torch.bool)
    mask[:, :, :8] = True
    changed = a.clone()
    changed[:, :, 12:] = 5
    moved = a.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(similarity(moved, b, mask), moved)
    assert gradient[:, :, 12:].abs().max() < 1e-6
    assert gradient[:, :, :8].abs().max() > 1e-5
    torch.testing.assert_close(similarity(changed, b, mask), similarity(a, b, mask), rtol=1e-3, atol=1e-3)
    assert (similarity(a, b, mask) - similarity(a, b, None)).abs() > 1e-5
    torch.testing.assert_close(similarity(a, b, torch.ones(1, 1, *grid)), similarity(a, b, None))
    torch.testing.assert_close(similarity(a, b, mask.double() * 0.5), similarity(a, b, mask), rtol=1e-3, atol=1e-4)


@every
def test_a_mask_that_counts_nothing_pulls_nowhere(similarity):
    a, b = (noise(1, 1, 8, 8, 8, seed=s).float().requires_grad_() for s in (0, 1))
    loss = similarity(a, b, torch.zeros(1, 1, 8, 8, 8))
    assert loss.abs() < 1e-6
    for gradient in torch.autograd.grad(loss, (a, b)):
        assert gradient.abs().max() == 0


@every
@pytest.mark.parametrize("level", [0.0, 0.7, 1000.0])
def test_constant_images_are_safe(similarity, level):
    flat = torch.full((1, 1, 8, 9, 10), level, requires_grad=True)
    other = noise(1, 1, 8, 9, 10, seed=2).float().requires_grad_()
    for images in ((flat, other), (other, flat), (flat, flat.detach())):
        loss = similarity(*images, None)
        assert torch.isfinite(loss)
        assert torch.isfinite(torch.autograd.grad(loss, flat)[0]).all()


@every
def test_constant_regions_are_safe(similarity):
    a, b = (textured(12, 12, 12, seed=s).float() for s in (0, 1))
    a[:, :, :6] = b[:, :, 4:8] = 0.3
    a.requires_grad_()
    loss = similarity(a, b, None)
    (gradient,) = torch.autograd.grad(loss, a)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() < 1


@every
@pytest.mark.parametrize("grid", [(1, 6, 7), (1, 1, 9), (5, 1, 1)])
def test_images_of_few_voxels_will_do(similarity, grid):
    loss = similarity(noise(1, 1, *grid), noise(1, 1, *grid, seed=1), None)
    assert torch.isfinite(loss)


@every
def test_samples_and_channels_are_averaged(similarity):
    a, b = noise(2, 2, 9, 8, 7), noise(2, 2, 9, 8, 7, seed=1)
    parts = [similarity(a[s : s + 1, c : c + 1], b[s : s + 1, c : c + 1], None) for s in (0, 1) for c in (0, 1)]
    torch.testing.assert_close(similarity(a, b, None), torch.stack(parts).mean(), rtol=1e-3, atol=1e-4)


@every
def test_half_precision_is_summed_in_float32(similarity):
    a, b = textured(24, 24, 24).float(), textured(24, 24, 24, seed=1).float()
    exact = similarity(a.double(), b.double(), None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = similarity(a, b, None)
    assert found.dtype == torch.float32
    assert found == pytest.approx(float(exact), rel=1e-3, abs=1e-5)
    halves = similarity(a.bfloat16(), b.bfloat16(), None)
    assert halves.dtype == torch.float32
    assert halves == pytest.approx(float(similarity(a.bfloat16().double(), b.bfloat16().double(), None)), rel=1e-3)


@every
def test_two_runs_agree_bit_for_bit(similarity):
    a, b = golden()

    def run():
        moved = a.clone().requires_grad_()
        loss = similarity(moved, b, None)
        return loss, torch.autograd.grad(loss, moved)[0]

    for one, other in zip(run(), run(), strict=True):
        assert torch.equal(one, other)


@every
def test_images_on_different_grids_are_refused(similarity):
    with pytest.raises(InputError, match="one shape"):
        similarity(noise(1, 1, 4, 4, 4), noise(1, 1, 4, 4, 5), None)
    with pytest.raises(InputError, match="mask"):
        similarity(noise(1, 1, 4, 4, 4), noise(1, 1, 4, 4, 4), torch.ones(1, 1, 4, 4, 5))
    with pytest.raises(InputError, match="mask"):
        similarity(noise(1, 2, 4, 4, 4), noise(1, 2, 4, 4, 4), torch.ones(1, 2, 4, 4, 4))


# ------------------------------------------------------------------------------------------------------- MSE and LNCC


def test_mse_is_the_published_number():
    moving, fixed = golden()
    assert mse(moving, fixed) == pytest.approx(SCALARS["mse_moving_fixed"], abs=1e-7)
    assert mse(torch.from_numpy(GOLDEN["warp_flow"])[None, None], fixed) == pytest.approx(
        SCALARS["mse_warped_fixed"], abs=1e-7
    )


def test_a_masked_mse_is_a_weighted_mean():
    a, b, mask = noise(1, 1, 6, 4, 5), noise(1, 1, 6, 4, 5, seed=1), half_mask((6, 4, 5))
    expected = np.average(((a - b) ** 2).numpy(), weights=mask.numpy())
    assert mse(a, b, mask) == pytest.approx(expected)


@pytest.mark.parametrize("masked", [False, True])
def test_lncc_is_the_squared_correlation_in_each_window(masked):
    grid = (6, 7, 5)
    a, b = (textured(*grid, seed=s)[0, 0].numpy() for s in (0, 1))
    weights = half_mask(grid)[0, 0].numpy() if masked else np.ones(grid)
    found, total = 0.0, 0.0
    for voxel, around in windows(grid, 2):
        w = weights[around].ravel()
        if weights[voxel]:
            x, y = (image[around].ravel() - np.average(image[around].ravel(), weights=w) for image in (a, b))
            cross, squares = (w * x * y).sum(), (w * x * x).sum() * (w * y * y).sum()
            found += weights[voxel] * cross**2 / (squares + 1e-5)
            total += weights[voxel]
    mask = torch.from_numpy(weights)[None, None] if masked else None
    loss = lncc(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None], mask, window=5)
    assert loss == pytest.approx(-found / total, rel=1e-6)


def test_lncc_sees_neither_brightness_nor_contrast_nor_their_sign():
    a, b = textured(10, 10, 10), textured(10, 10, 10, seed=1)
    expected = lncc(a, b)
    for other in (1 - a, 0.9 * a + 0.4):
        assert lncc(other, b) == pytest.approx(float(expected), rel=2e-2)
    assert lncc(a, a) < -0.95
    assert lncc(a, 1 - a) < -0.95


def test_lncc_in_float32_is_exact_where_brightness_dwarfs_contrast():
    a, b = (0.9 + 0.02 * textured(24, 24, 24, seed=s) for s in (0, 1))
    assert lncc(a.float(), b.float()) == pytest.approx(float(lncc(a, b)), rel=1e-3)


# --------------------------------------------------------------------------------------------------- overlap of labels


def one_hot(name):
    return functional.one_hot(torch.from_numpy(GOLDEN[name]).long(), 6).movedim(-1, 0)[None]


def test_overlap_is_the_published_number_for_each_label():
    warped, moving, fixed = (
        torch.from_numpy(GOLDEN["warped_soft_labels"]),
        one_hot("labels_moving"),
        one_hot("labels_fixed"),
    )
    for maps, name in ((warped, "dice_score_soft6"), (moving, "dice_score_unwarped")):
        found = [1 - float(dice_loss(maps[:, c : c + 1], fixed[:, c : c + 1])) for c in range(6)]
        np.testing.assert_allclose(found, SCALARS[name], atol=1e-6)
    assert dice_loss(warped, fixed) == pytest.approx(SCALARS["dice_loss_soft6"], abs=1e-6)
    assert dice_loss(moving, fixed) == pytest.approx(SCALARS["dice_loss_unwarped"], abs=1e-6)


def test_the_background_flatters():
    """The published number counts it; without that channel the loss is higher."""
    warped, fixed = torch.from_numpy(GOLDEN["warped_soft_labels"]), one_hot("labels_fixed")
    assert dice_loss(warped[:, 1:], fixed[:, 1:]) > dice_loss(warped, fixed) + 0.05


def test_the_published_loss_is_a_mean_of_three():
    fixed = torch.from_numpy(GOLDEN["fixed"])
    warped = torch.from_numpy(GOLDEN["warp_flow"])[None, None]
    labels = dice_loss(torch.from_numpy(GOLDEN["warped_soft_labels"]), one_hot("labels_fixed"))
    found = (mse(warped, fixed) + labels + 0.02 * diffusion(torch.from_numpy(GOLDEN["flow"]))) / 3
    assert found == pytest.approx(SCALARS["official_total_mse1_dice1_grad0.02_div3"], abs=1e-6)


def test_gradients_of_the_overlap_are_right():
    a, b = (noise(2, 2, 3, 2, 4, seed=s).requires_grad_() for s in (0, 1))
    assert gradcheck(dice_loss, (a, b))


def test_a_label_in_neither_map_pulls_nowhere():
    empty = torch.zeros(1, 1, 4, 4, 4, requires_grad=True)
    loss = dice_loss(empty, torch.zeros(1, 1, 4, 4, 4))
    assert loss == 1
    assert torch.autograd.grad(loss, empty)[0].abs().max() == 0
