"""Mutual information against its definition, and what it is for."""

import numpy as np
import pytest
import torch
from registration_images import noise, textured
from scipy.interpolate import BSpline

from voxelsmith.core.errors import InputError
from voxelsmith.register import mutual_information as module

CUBIC = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)


def information(a, b, mask=None, bins=32):
    """That of two images (1, 1, I, J, K)."""
    weight = torch.ones_like(a) if mask is None else mask.to(a.dtype)
    return module.mutual_information(a.flatten(), b.flatten(), weight.flatten(), bins)


def by_definition(a, b, weights, bins):
    """Nats, from a dense joint histogram."""
    spread = []
    for image in (a, b):
        low, high = image[weights > 0].min(), image[weights > 0].max()
        places = 1 + np.clip((image - low) / (high - low), 0, 1) * (bins - 3)
        spread.append(np.nan_to_num(CUBIC(places[:, None] - np.arange(bins))))
    joint = spread[0].T @ (weights[:, None] * spread[1])
    joint /= joint.sum()
    outer = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    full = joint > 0
    return (joint[full] * np.log(joint[full] / outer[full])).sum()


@pytest.mark.parametrize("bins", [5, 16, 32])
@pytest.mark.parametrize("masked", [False, True])
def test_it_is_that_of_the_definition(bins, masked):
    a, b = textured(9, 8, 10), textured(9, 8, 10, seed=1)
    mask = noise(1, 1, 9, 8, 10, seed=3) * (noise(1, 1, 9, 8, 10, seed=4) > 0.4) if masked else None
    weights = mask.numpy().ravel() if masked else np.ones(a.numel())
    expected = by_definition(a.numpy().ravel(), b.numpy().ravel(), weights, bins)
    assert information(a, b, mask, bins=bins) == pytest.approx(expected, rel=1e-6)


def test_shares_of_the_voxels_add_up(monkeypatch):
    a, b = textured(9, 8, 10).requires_grad_(), textured(9, 8, 10, seed=1).requires_grad_()
    whole = information(a, b)
    gradients = torch.autograd.grad(whole, (a, b))
    monkeypatch.setattr(module, "_SHARE", 100)
    shared = information(a, b)
    torch.testing.assert_close(shared, whole)
    for one, other in zip(torch.autograd.grad(shared, (a, b)), gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_any_mapping_of_intensities_tells_as_much():
    a, other = textured(24, 24, 24, sigma=2), textured(24, 24, 24, seed=1, sigma=2)
    own = information(a, a)
    assert information(1 - a, a) == pytest.approx(float(own), rel=1e-6)
    assert information((a - 0.5) ** 2, a) > 0.4 * own
    assert 0 <= information(other, a) < 0.15 * own


def test_a_constant_image_tells_nothing():
    assert information(torch.ones(1, 1, 5, 5, 5).double(), noise(1, 1, 5, 5, 5)).abs() < 1e-6


def test_intensities_that_do_not_count_do_not_stretch_the_bins():
    a, b = textured(8, 8, 8), textured(8, 8, 8, seed=1)
    mask = torch.ones(1, 1, 8, 8, 8)
    mask[..., 0] = 0
    bright = a.clone()
    bright[..., 0] = 1e6
    assert information(bright, b, mask) == pytest.approx(float(information(a, b, mask)))


def test_too_few_bins_are_refused():
    with pytest.raises(InputError, match="more than 4 bins"):
        information(noise(1, 1, 4, 4, 4), noise(1, 1, 4, 4, 4), bins=4)
