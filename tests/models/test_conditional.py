"""Conditional networks: sizes, what the support changes, and what it must not."""

import pytest
import torch

from voxelsmith.models.conditional import STRIDE, Arm, FiLMNet, SENet

SIDE = 2 * STRIDE


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def episode(shots=1, batch=2):
    images = torch.rand(batch, shots, SIDE, SIDE)
    masks = torch.zeros(batch, shots, SIDE, SIDE)
    masks[..., 8:20, 8:20] = 1
    return torch.rand(batch, 1, SIDE, SIDE), images, masks


def test_se_net_has_the_published_size():
    count = sum(p.numel() for p in SENet().parameters())
    assert round(count / 1e6, 2) == 0.98


@pytest.mark.parametrize("network", [SENet, FiLMNet])
def test_logits_lie_on_the_query(network):
    query, images, masks = episode(shots=3)
    assert network()(query, images, masks).shape == (2, 2, SIDE, SIDE)


def test_the_mask_steers_se_net():
    query, images, masks = episode()
    model = SENet().eval()
    assert not torch.allclose(model(query, images, masks), model(query, images, 1 - masks), atol=1e-5)


def test_se_net_multiplies_by_maps_between_0_and_1_at_every_block():
    _, images, masks = episode()
    maps = [m.detach() for m in SENet().eval().condition(images, masks)]
    sides = [SIDE, SIDE // 2, SIDE // 4, SIDE // 8, SIDE // 16, SIDE // 8, SIDE // 4, SIDE // 2, SIDE]
    assert [tuple(m.shape[1:]) for m in maps] == [(1, s, s) for s in sides]
    assert all(float(m.min()) > 0 and float(m.max()) < 1 for m in maps)


@pytest.mark.parametrize("network", [SENet, FiLMNet])
def test_the_order_of_the_shots_does_not_matter(network):
    query, images, masks = episode(shots=3)
    model = network().eval()
    order = [2, 0, 1]
    torch.testing.assert_close(model(query, images, masks), model(query, images[:, order], masks[:, order]))


def test_a_map_of_ones_conditions_nothing():
    arm = Arm(1, 8).eval()
    x = torch.rand(1, 1, SIDE, SIDE)
    free = arm(x)
    ones = [torch.ones(1, 1, *y.shape[2:]) for y in free]
    for one, other in zip(free, arm(x, ones), strict=True):
        torch.testing.assert_close(one, other)


def test_the_first_map_closed_leaves_only_biases():
    arm = Arm(1, 8).eval()
    one, other = torch.rand(2, 1, 1, SIDE, SIDE)
    condition = [torch.ones(1, 1, *y.shape[2:]) for y in arm(one)]
    condition[0] = torch.zeros_like(condition[0])
    torch.testing.assert_close(arm(one, condition)[-1], arm(other, condition)[-1])


def test_film_starts_as_the_bare_segmentor_and_depends_on_the_support_once_it_modulates():
    query, images, masks = episode()
    model = FiLMNet().eval()
    bare = model.classifier(model.segmentor(query)[-1])
    torch.testing.assert_close(model(query, images, masks), bare)
    torch.nn.init.normal_(model.modulation[-1].weight)
    assert not torch.allclose(model(query, images, masks), model(query, images, 1 - masks), atol=1e-4)


def test_film_does_not_mind_where_the_object_of_the_support_lies():
    image, mask = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    image[..., 24:36, 24:36], mask[..., 24:36, 24:36] = 1, 1
    shift = {"shifts": (8, -8), "dims": (-2, -1)}
    model = FiLMNet().eval()
    torch.nn.init.normal_(model.modulation[-1].weight)
    here = torch.cat(model.condition(image, mask))
    with_it = torch.cat(model.condition(image.roll(**shift), mask.roll(**shift)))
    without_it = torch.cat(model.condition(image, mask.roll(**shift)))
    assert (here - with_it).abs().max() < 0.1 * (here - without_it).abs().max()


@pytest.mark.parametrize("network", [SENet, FiLMNet])
def test_every_parameter_gets_a_gradient(network):
    query, images, masks = episode(shots=2)
    model = network()
    if network is FiLMNet:
        torch.nn.init.normal_(model.modulation[-1].weight)
    target = torch.zeros(2, SIDE, SIDE, dtype=torch.long)
    target[:, 8:20, 8:20] = 1
    torch.nn.functional.cross_entropy(model(query, images, masks), target).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
