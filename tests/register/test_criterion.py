"""Criteria: values and derivatives are those that automatic differentiation of the similarities gives."""

import pytest
import torch
from registration_images import noise, textured

from voxelsmith.core.errors import InputError
from voxelsmith.register.criterion import criterion, features, local_correlation, overlap_loss
from voxelsmith.register.mind import mind_ssc
from voxelsmith.register.penalty import dice_loss
from voxelsmith.register.similarity import lncc, mse, mutual_information

GRID = (9, 10, 7)
SIMILARITIES = {"lncc": lambda a, b, w: lncc(a, b, w, window=5), "mse": mse, "mi": mutual_information}


def by_autograd(loss, *images):
    images = [image.clone().requires_grad_() for image in images]
    value = loss(*images)
    return value.item(), torch.autograd.grad(value, images)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SIMILARITIES)
def test_derivatives_agree_with_the_similarity(name, weighted):
    moving, fixed = textured(*GRID, seed=1), textured(*GRID, seed=2)
    weight = noise(1, 1, *GRID) * (noise(1, 1, *GRID, seed=3) > 0.3) if weighted else None
    value, (by_moving, by_fixed) = by_autograd(lambda a, b: SIMILARITIES[name](a, b, weight), moving, fixed)
    match = criterion(name, 5)(moving, fixed, weight, True)
    assert match.loss == pytest.approx(value, abs=1e-12)
    torch.testing.assert_close(match.by_moving, by_moving, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(match.by_fixed, by_fixed, rtol=1e-8, atol=1e-12)
    assert by_moving.abs().max() > 1e-5


@pytest.mark.parametrize("name", [*SIMILARITIES, "mind"])
def test_the_derivative_in_the_fixed_image_is_made_on_demand(name):
    moving, fixed = (features(textured(*GRID, seed=seed), name) for seed in (1, 2))
    assert criterion(name, 5)(moving, fixed, None, False).by_fixed is None


def test_mind_compares_descriptors():
    image = textured(*GRID)
    assert torch.equal(features(image, "mind"), mind_ssc(image))
    assert features(image, "lncc") is image


def test_overlap_is_soft_dice_over_labels():
    moving, fixed = noise(1, 3, *GRID, seed=1), noise(1, 3, *GRID, seed=2)
    value, (by_moving, by_fixed) = by_autograd(dice_loss, moving, fixed)
    match = overlap_loss(moving, fixed, True)
    assert match.loss == pytest.approx(value)
    torch.testing.assert_close(match.by_moving, by_moving)
    torch.testing.assert_close(match.by_fixed, by_fixed)


def test_nothing_that_counts_pulls_nowhere():
    moving, fixed = noise(1, 1, *GRID, seed=1), noise(1, 1, *GRID, seed=2)
    match = local_correlation(moving, fixed, torch.zeros_like(moving))
    assert match.loss == 0
    assert match.by_moving.abs().max() == 0


def test_unknown_similarity_is_refused():
    with pytest.raises(InputError, match="lncc, mi, mind and mse"):
        criterion("ssd", 5)
