"""Criteria: derivatives are those of the values, and values say how alike images are."""

import numpy as np
import pytest
import torch
from registration_images import noise, textured

from voxelsmith.core.errors import InputError
from voxelsmith.register.criterion import criteria, features, overlap_loss
from voxelsmith.register.mind import mind_ssc

GRID = (9, 10, 7)
NAMES = ["lncc", "mse", "mi", "mind"]


def criterion(name, window):
    """The only criterion of a similarity."""
    (found,) = criteria(name, window)
    return found


def slope(loss, image, step, eps=1e-5):
    """How fast a loss grows along a step of the image, by finite differences."""
    return (loss(image + eps * step) - loss(image - eps * step)) / (2 * eps)


def assert_derivatives(compare, moving, fixed):
    """Those of a comparison agree with finite differences along a few steps of either image."""
    match = compare(moving, fixed)
    for seed in range(3):
        step = textured(*GRID, seed=10 + seed).expand_as(moving).clone()
        # The least and the greatest value set the bins of a histogram, which are taken as given.
        for image in (moving, fixed):
            step[(image == image.min()) | (image == image.max())] = 0
        along_moving = slope(lambda image: compare(image, fixed).loss, moving, step)
        along_fixed = slope(lambda image: compare(moving, image).loss, fixed, step)
        assert float((match.by_moving * step).sum()) == pytest.approx(along_moving, rel=1e-5, abs=1e-9)
        assert float((match.by_fixed * step).sum()) == pytest.approx(along_fixed, rel=1e-5, abs=1e-9)
        assert abs(along_moving) > 1e-5
        assert abs(along_fixed) > 1e-5


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_those_of_the_value(name, weighted):
    moving, fixed = (features(textured(*GRID, seed=seed), name) for seed in (1, 2))
    weight = None
    if weighted:
        weight = 0.1 + 0.9 * noise(1, 1, *GRID)
        weight[:, :, 5:8, :4] = 0
        held = [(image == image.min()) | (image == image.max()) for image in (moving, fixed)]
        weight[(held[0] | held[1]).any(dim=1, keepdim=True)] = 1
    assert_derivatives(lambda a, b: criterion(name, 5)(a, b, weight, True), moving, fixed)


@pytest.mark.parametrize("name", NAMES)
def test_the_derivative_in_the_fixed_image_is_made_on_demand(name):
    moving, fixed = (features(textured(*GRID, seed=seed), name) for seed in (1, 2))
    assert criterion(name, 5)(moving, fixed, None, False).by_fixed is None


def test_mind_compares_descriptors():
    image = textured(*GRID)
    assert torch.equal(features(image, "mind"), mind_ssc(image))
    assert features(image, "lncc") is image


def test_overlap_is_soft_dice_over_labels():
    moving, fixed = noise(1, 3, *GRID, seed=1), noise(1, 3, *GRID, seed=2)
    dice = [2 * (a * b).sum() / ((a * a).sum() + (b * b).sum()) for a, b in zip(moving[0], fixed[0], strict=True)]
    assert overlap_loss(moving, fixed).loss == pytest.approx(1 - float(sum(dice)) / 3, abs=1e-6)
    assert_derivatives(lambda a, b: overlap_loss(a, b, True), moving, fixed)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_counts_pulls_nowhere(name):
    moving, fixed = (features(noise(1, 1, *GRID, seed=seed), name) for seed in (1, 2))
    match = criterion(name, 5)(moving, fixed, torch.zeros_like(moving[:, :1]), False)
    assert match.loss == 0
    assert match.by_moving.abs().max() == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0.0, 0.7, 1000.0])
def test_constant_images_are_safe(name, level):
    flat, other = torch.full((1, 1, *GRID), level), noise(1, 1, *GRID).float()
    for images in ((flat, other), (other, flat), (flat, flat)):
        match = criterion(name, 5)(*(features(image, name) for image in images), None, True)
        assert np.isfinite(match.loss)
        assert torch.isfinite(match.by_moving).all()
        assert torch.isfinite(match.by_fixed).all()


@pytest.mark.parametrize("name", NAMES)
def test_alike_is_lower_than_shifted_is_lower_than_unlike(name):
    fixed = textured(20, 20, 20, sigma=2)
    shifted, unlike = fixed.roll(1, dims=2), textured(20, 20, 20, seed=1, sigma=2)
    at_home = features(fixed, name)
    found = [criterion(name, 5)(features(x, name), at_home, None, False).loss for x in (fixed, shifted, unlike)]
    assert found == sorted(found)
    assert found[1] - found[0] > 1e-3
    assert found[2] - found[1] > 1e-3


def test_unknown_similarity_is_refused():
    with pytest.raises(InputError, match="lncc, mi, mind, mse and remapped"):
        criteria("ssd", 5)
