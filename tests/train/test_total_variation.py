"""Total variation against closed forms, and the guard that its default weight acts."""

import pytest
import torch

from voxelsmith.train.losses import IGNORED, partial_entropy, partial_overlap, total_variation
from voxelsmith.train.tvunet_recipe import gradient_norm, objective
from voxelsmith.train.tvunet_settings import paper_literal, settings


def maps(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("grid", [(9, 7), (5, 6, 7)])
def test_a_constant_map_has_none(grid):
    assert total_variation(torch.full((2, 3, *grid), 0.7)) == 0


def test_a_step_edge_counts_its_length():
    height, width, length = 12, 10, 4
    step = torch.zeros(1, 1, height, width)
    step[:, :, 5:, :length] = 1
    # Along the rows the edge is `length` pixels long, along the columns it is as high as the step.
    expected = length / ((height - 1) * width) + (height - 5) / (height * (width - 1))
    assert total_variation(step).item() == pytest.approx(expected)


@pytest.mark.parametrize("grid", [(8, 8), (4, 6, 8)])
def test_a_checkerboard_has_the_most(grid):
    board = torch.stack(torch.meshgrid(*map(torch.arange, grid), indexing="ij")).sum(0) % 2
    board = board[None, None].double()
    assert total_variation(board).item() == pytest.approx(len(grid))
    assert total_variation(maps(1, 1, *grid)) < len(grid)


def test_it_does_not_care_about_the_order_of_axes_and_sums_over_channels():
    p = maps(2, 3, 5, 6, 7)
    assert total_variation(p.permute(0, 1, 4, 2, 3)).item() == pytest.approx(total_variation(p).item())
    single = sum(total_variation(p[:, n : n + 1]).item() for n in range(3))
    assert total_variation(p).item() == pytest.approx(single)


def test_thick_slices_are_tied_less():
    p = maps(1, 1, 6, 6, 6)
    along = [p.diff(dim=axis).abs().mean().item() for axis in (2, 3, 4)]
    found = total_variation(p, spacing=(5.0, 1.0, 2.0)).item()
    assert found == pytest.approx(along[0] / 5 + along[1] + along[2] / 2)
    assert total_variation(p, spacing=(2.0, 2.0, 2.0)).item() == pytest.approx(sum(along))


def test_an_axis_of_one_voxel_adds_nothing():
    p = maps(1, 1, 1, 6, 5)
    assert total_variation(p).item() == pytest.approx(total_variation(p[:, :, 0]).item())


def test_rounding_is_quadratic_near_zero_and_plain_beyond():
    step = torch.zeros(1, 1, 2, 1)
    for height, expected in ((0.05, 0.05**2 / 0.2), (0.6, 0.6 - 0.05)):
        step[0, 0, 1] = height
        assert total_variation(step, rounding=0.1).item() == pytest.approx(expected)


def test_borders_of_the_guide_are_free():
    p, guide = torch.zeros(1, 1, 6, 6), torch.zeros(1, 1, 6, 6)
    p[:, :, 3:] = 1
    guide[:, :, 3:] = 1
    with_edge = total_variation(p, guide=guide, edge=3.0)
    assert with_edge.item() == pytest.approx(total_variation(p).item() * torch.tensor(-3.0).exp().item())
    elsewhere = total_variation(p.transpose(2, 3), guide=guide, edge=3.0)
    assert elsewhere.item() == pytest.approx(total_variation(p).item())


@pytest.mark.parametrize("options", [{}, {"rounding": 0.05}, {"edge": 2.0}])
def test_gradients_are_those_of_finite_differences(options):
    p = maps(1, 2, 3, 4, 3).requires_grad_()
    guide = maps(1, 1, 3, 4, 3, seed=5) if "edge" in options else None
    assert torch.autograd.gradcheck(
        lambda values: total_variation(values, (1.0, 2.0, 1.0), guide=guide, **options), (p,), eps=1e-7
    )


def blob_logits():
    """Logits of a network in mid-training on a disc of class 1, and the truth."""
    i, j = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    inside = ((i - 15) ** 2 + (j - 16) ** 2 < 64).long()
    noise = torch.randn(1, 2, 32, 32, generator=torch.Generator().manual_seed(1))
    logits = noise + torch.stack([1.0 - 2 * inside, 2.0 * inside - 1])[None]
    return logits.requires_grad_(), inside[None]


def test_the_default_weight_acts_and_the_published_one_does_not():
    logits, target = blob_logits()
    pull = objective(logits, target, settings(), 10_000)["pull"].item()
    assert pull > 1e-3
    entropy = partial_entropy(logits, target)
    published = total_variation(logits.sigmoid()[:, 1:])
    ratio = paper_literal().variation * gradient_norm(published, logits) / gradient_norm(entropy, logits)
    assert ratio < 1e-5


def test_a_checkerboard_feels_a_gradient():
    board = ((torch.arange(8)[:, None] + torch.arange(8)) % 2).float()
    logits = (0.2 * (2 * board - 1))[None, None].requires_grad_()
    assert gradient_norm(total_variation(logits.sigmoid()), logits) > 1e-3


def test_the_variation_waits_and_then_grows():
    chosen = settings(variation_wait=10)
    assert [chosen.growth(step) for step in (0, 10, 15, 20, 90)] == [0, 0, 0.5, 1, 1]
    logits, target = blob_logits()
    early, late = (objective(logits, target, chosen, step) for step in (5, 50))
    assert early["loss"].item() == pytest.approx((early["entropy"] + early["overlap"]).item())
    assert late["loss"].item() == pytest.approx(early["loss"].item() + 0.03 * late["variation"].item())


def test_voxels_without_annotation_count_for_nothing_but_the_variation():
    logits, target = blob_logits()
    target = target.clone()
    target[:, :, 16:] = IGNORED
    changed = logits.detach().clone()
    changed[:, :, :, 16:] += 5 * torch.randn(1, 2, 32, 16, generator=torch.Generator().manual_seed(2))
    assert partial_entropy(changed, target).item() == pytest.approx(partial_entropy(logits, target).item())
    assert partial_entropy(changed, target, binary=True).item() == pytest.approx(
        partial_entropy(logits, target, binary=True).item()
    )
    overlaps = [partial_overlap(values.softmax(1), target).item() for values in (changed, logits)]
    assert overlaps[0] == pytest.approx(overlaps[1])
    before, after = (objective(values, target, settings(), 1000)["variation"] for values in (logits, changed))
    assert before.item() != pytest.approx(after.item())
    assert partial_entropy(logits, torch.full_like(target, IGNORED)) == 0


def test_a_perfect_answer_costs_nothing():
    target = torch.tensor([[[0, 1], [2, IGNORED]]])
    sure = torch.nn.functional.one_hot(target.clamp(min=0), 3).movedim(-1, 1).float()
    assert partial_overlap(sure, target).item() == pytest.approx(0, abs=1e-6)
    assert partial_entropy(40 * sure, target).item() == pytest.approx(0, abs=1e-6)
    assert partial_overlap(1 - sure, target).item() > 0.3


@pytest.mark.parametrize("name", ["centre_line", "boundary"])
def test_losses_of_monai_prefer_the_truth(name):
    target = torch.zeros(1, 32, 32, dtype=torch.long)
    target[:, 10:13, 4:28] = 1
    good = torch.stack([1.0 - 2 * target, 2.0 * target - 1], dim=1) * 4
    bad = good.roll(9, dims=2)
    chosen = settings(**{name: 1.0})
    key = name.replace("_", " ")
    values = [objective(logits.requires_grad_(), target, chosen, 1000)[key] for logits in (good, bad)]
    assert values[0] < values[1]
    assert key not in objective(good, target, settings(), 1000)
