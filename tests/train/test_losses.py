"""Losses: their values by hand, what does not count, and where their slopes lead."""

import math

import pytest
import torch

from voxelsmith.train.losses import dice_bce, dice_loss

GRID = (2, 1, 4, 4, 4)


def certain(target):
    """Logits that are sure of the target."""
    return torch.where(target > 0, 50.0, -50.0)


@pytest.fixture
def target():
    truth = torch.zeros(GRID)
    truth[0, :, :2] = 1
    return truth


def test_right_is_zero_and_wrong_is_nearly_one(target):
    assert dice_loss(certain(target), target).item() == pytest.approx(0, abs=1e-6)
    wrong = dice_loss(certain(1 - target), target).item()
    # Sample 0: 32 against 32 voxels; sample 1: 64 against none.
    assert wrong == pytest.approx(1 - (1 / 65 + 1 / 65) / 2, abs=1e-6)


def test_the_value_is_that_of_the_formula_for_each_sample(target):
    logits = torch.zeros(GRID)
    # Sample 0: p = 0.5 on 64 voxels, 32 of them true; sample 1: none true.
    expected = 1 - ((2 * 16 + 1) / (32 + 32 + 1) + 1 / (32 + 1)) / 2
    assert dice_loss(logits, target).item() == pytest.approx(expected, abs=1e-6)
    assert dice_bce(logits, target).item() == pytest.approx(expected + math.log(2), abs=1e-6)


def test_an_empty_target_asks_for_an_empty_prediction():
    empty = torch.zeros(GRID)
    assert dice_loss(certain(empty), empty).item() == pytest.approx(0, abs=1e-6)
    logits = torch.zeros(GRID, requires_grad=True)
    dice_loss(logits, empty).backward()
    assert bool((logits.grad > 0).all())


@pytest.mark.parametrize("loss", [dice_loss, dice_bce])
def test_voxels_that_do_not_count_change_nothing(loss, target):
    valid = torch.zeros((2, 1, 4, 4, 1), dtype=torch.bool)
    valid[:, :, :3] = True
    logits = torch.randn(GRID, generator=torch.Generator().manual_seed(0))
    other = logits.clone()
    other[:, :, 3] = 30.0
    assert loss(other, target, valid).item() == loss(logits, target, valid).item()
    assert loss(logits, target, valid).item() == pytest.approx(loss(logits[:, :, :3], target[:, :, :3]).item())
    assert loss(logits, target, torch.zeros(GRID)).item() == 0


@pytest.mark.parametrize("loss", [dice_loss, dice_bce])
def test_going_down_leads_to_the_target_also_from_half_precision(loss, target):
    logits = torch.zeros(GRID, dtype=torch.bfloat16, requires_grad=True)
    value = loss(logits, target.bool())
    assert value.dtype == torch.float32
    value.backward()
    assert bool((logits.grad[target > 0] < 0).all())
    assert bool((logits.grad[target == 0] > 0).all())


@pytest.mark.parametrize("loss", [dice_loss, dice_bce])
def test_shapes_that_differ_are_told(loss, target):
    with pytest.raises(ValueError, match="must have one shape"):
        loss(torch.zeros(1, 1, 4, 4, 4), target)
