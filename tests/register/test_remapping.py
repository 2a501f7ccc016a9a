"""Remapping: one image is expressed in the other, and what it compares has the derivatives that it says."""

import numpy as np
import pytest
import torch
from registration_images import textured

from voxelsmith.core.progress import run_job
from voxelsmith.register.criterion import (
    correlation_of_remapped_fixed,
    correlation_of_remapped_moving,
    criteria,
    local_correlation,
)
from voxelsmith.register.deformable import DeformableSettings, deform
from voxelsmith.register.problem import Problem
from voxelsmith.register.remapping import remapping

GRID = (14, 15, 13)


def image(seed=1):
    """Float64 in 0..1."""
    x = textured(*GRID, seed=seed).double()
    return (x - x.min()) / (x.max() - x.min())


def folded(x):
    """Dark and bright become alike."""
    return 4 * x * (1 - x)


def explained(found, source, target, weight=None):
    """Share of the variance of the target that a remapping of the source explains: the correlation ratio."""
    weight = torch.ones_like(target) if weight is None else weight
    mean = (weight * target).sum() / weight.sum()
    left, spread = ((weight * (target - guess).square()).sum() for guess in (found(source)[0], mean))
    return float(1 - left / spread.clamp(min=1e-30))


@pytest.mark.parametrize("bend", [lambda x: 1 - x, folded], ids=["inverted", "folded"])
def test_a_function_of_the_other_image_is_found(bend):
    moving = image()
    found = remapping(moving, bend(moving))
    assert explained(found, moving, bend(moving)) > 0.99
    values, slopes = found(moving)
    torch.testing.assert_close(values, bend(moving), atol=0.1, rtol=0)
    steps = (found(moving + 1e-6)[0] - values) / 1e-6
    within = moving < 0.99
    torch.testing.assert_close(slopes[within], steps[within], atol=1e-3, rtol=0)


def test_a_folded_image_tells_little_of_the_other_one():
    moving = image()
    assert explained(remapping(folded(moving), moving), folded(moving), moving) < 0.5


def test_voxels_without_weight_do_not_count():
    moving = image()
    fixed, weight = folded(moving), torch.ones_like(moving)
    fixed[..., :7], weight[..., :7] = 1 - moving[..., :7], 0
    assert explained(remapping(moving, fixed, weight), moving, fixed, weight) > 0.99
    assert explained(remapping(moving, fixed), moving, fixed) < 0.9


def test_nothing_to_see_is_no_error():
    flat = torch.full((1, 1, *GRID), 0.5)
    found = remapping(flat, flat)
    assert np.isfinite(explained(found, flat, flat))
    torch.testing.assert_close(found(flat)[0], flat)
    for compare in criteria("remapped", 5):
        match = compare(flat, flat, None, True)
        assert torch.isfinite(match.by_moving).all()
        assert torch.isfinite(match.by_fixed).all()
    empty = remapping(flat, flat, torch.zeros_like(flat))
    assert torch.isfinite(empty.knots).all()


@pytest.mark.parametrize("swapped", [False, True])
def test_images_are_alike_when_the_right_one_has_been_remapped(swapped):
    moving = image()
    pair = (folded(moving), moving) if swapped else (moving, folded(moving))
    wrong, right = (correlation_of_remapped_moving, correlation_of_remapped_fixed)[:: 1 if swapped else -1]
    match = right(*pair, None, True)
    assert match.loss < -0.95
    assert local_correlation(*pair, None).loss > match.loss + 0.1
    assert wrong(*pair, None, True).loss > match.loss + 0.1
    assert match.by_moving.shape == match.by_fixed.shape == moving.shape


def test_derivatives_take_the_remapping_as_given():
    moving, fixed = image(), 0.7 * folded(image()) + 0.3 * image(seed=2)
    forth, back = remapping(moving, fixed), remapping(fixed, moving)
    step = 1e-7 * torch.randn(moving.shape, generator=torch.Generator().manual_seed(0), dtype=moving.dtype)

    match = correlation_of_remapped_moving(moving, fixed, None, True)
    change = local_correlation(forth(moving + step)[0], fixed, None).loss - match.loss
    assert change == pytest.approx(float((match.by_moving * step).sum()), rel=1e-2)

    match = correlation_of_remapped_fixed(moving, fixed, None, True)
    change = local_correlation(moving, back(fixed + step)[0], None).loss - match.loss
    assert change == pytest.approx(float((match.by_fixed * step).sum()), rel=1e-2)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_folded_image_is_registered(swapped):
    grid = (28, 30, 26)
    moving = textured(*grid, seed=3)[0, 0].numpy().astype(np.float32)
    moving = (moving - moving.min()) / (moving.max() - moving.min())
    fixed = np.roll(moving, 1, axis=1).astype(np.float32)
    pair = (fixed, folded(moving)) if swapped else (folded(fixed), moving)
    problem = Problem(*pair, (1.0, 1.0, 1.0))
    inner = (slice(6, -6),) * 3
    reports = []
    result = run_job(deform(problem, DeformableSettings(similarity="remapped")), reports.append)
    found = result.displacement
    assert np.abs(found[1][inner] + 1).mean() < 0.25
    assert np.abs(found[[0, 2]][(slice(None), *inner)]).mean() < 0.25
    # Both ways are tried on the first level, and the steps of the better one are told.
    assert [r.done for r in reports] == sorted(r.done for r in reports)
    numbers = [step.number for step in result.history if step.shrink == result.history[0].shrink]
    assert numbers == list(range(1, len(numbers) + 1))
