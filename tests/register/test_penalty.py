"""Roughness of displacements and overlap of labels, against the published numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from registration_images import noise
from torch.autograd import gradcheck
from torch.nn import functional

from voxelsmith.register.penalty import dice_loss, diffusion, soft_dice, total_variation
from voxelsmith.register.similarity import mse

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "hvit" / "ops_24x28x20.npz")
SCALARS = json.loads(str(GOLDEN["scalars_json"]))


def flow():
    return torch.from_numpy(GOLDEN["flow"])


def one_hot(name):
    return functional.one_hot(torch.from_numpy(GOLDEN[name]).long(), 6).movedim(-1, 0)[None]


def test_roughness_is_the_published_number():
    assert diffusion(flow()) == pytest.approx(SCALARS["grad_l2"], abs=1e-7)
    assert total_variation(flow()) == pytest.approx(SCALARS["grad_l1"], abs=1e-7)


def test_roughness_of_a_ramp():
    """Steps of 2 along the first axis in one of three channels: 4 / 3 there, none along the others."""
    ramp = torch.zeros(1, 3, 5, 4, 1)
    ramp[:, 0] = 2 * torch.arange(5.0).reshape(5, 1, 1)
    assert diffusion(ramp) == pytest.approx(4 / 9)
    assert total_variation(ramp) == pytest.approx(2 / 9)
    assert diffusion(ramp + 7) == pytest.approx(4 / 9)


def test_overlap_is_the_published_number_for_each_label():
    warped, moving, fixed = (
        torch.from_numpy(GOLDEN["warped_soft_labels"]),
        one_hot("labels_moving"),
        one_hot("labels_fixed"),
    )
    np.testing.assert_allclose(soft_dice(warped, fixed)[0], SCALARS["dice_score_soft6"], atol=1e-6)
    np.testing.assert_allclose(soft_dice(moving, fixed)[0], SCALARS["dice_score_unwarped"], atol=1e-6)
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
    found = (mse(warped, fixed) + labels + 0.02 * diffusion(flow())) / 3
    assert found == pytest.approx(SCALARS["official_total_mse1_dice1_grad0.02_div3"], abs=1e-6)


def test_gradients_are_right():
    u = (noise(2, 3, 4, 3, 1) + torch.arange(4.0).reshape(1, 1, 4, 1, 1)).requires_grad_()
    assert gradcheck(diffusion, (u,))
    assert gradcheck(total_variation, (u,))
    a, b = (noise(2, 2, 3, 2, 4, seed=s).requires_grad_() for s in (0, 1))
    assert gradcheck(dice_loss, (a, b))


def test_a_label_in_neither_map_pulls_nowhere():
    empty = torch.zeros(1, 1, 4, 4, 4, requires_grad=True)
    loss = dice_loss(empty, torch.zeros(1, 1, 4, 4, 4))
    assert loss == 1
    assert torch.autograd.grad(loss, empty)[0].abs().max() == 0
