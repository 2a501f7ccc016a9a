"""The tumour network: any subset of sequences gives an answer on the grid, and what was made up is told."""

import itertools
import json

import pytest
import torch

from voxelsmith.models.crossmodality import (
    MODALITIES,
    TWO,
    Architecture,
    CrossModalityNet,
    PatchGAN,
    brain_of,
    equal_size,
    probabilities,
)

WIDTHS = {"widths": (4, 8), "detail": 4}


def network(modalities=TWO, **changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CrossModalityNet(Architecture(modalities, **{**WIDTHS, **changes})).eval()


def brain(modalities, seed=0):
    x = torch.randn(1, len(modalities), 16, 20, 12, generator=torch.Generator().manual_seed(seed))
    x[..., :3] = 0
    return x


@pytest.mark.parametrize("modalities", [TWO, MODALITIES])
@pytest.mark.parametrize("fusion", ["guided", "plain", "mean", "concatenation"])
def test_the_answer_has_the_grid_of_the_input(modalities, fusion):
    net = network(modalities, fusion=fusion)
    answer = net(brain(modalities), torch.ones(1, len(modalities), dtype=torch.bool))
    assert answer.logits.shape == (1, 3, 16, 20, 12)
    assert answer.logits.dtype == torch.float32
    assert [a.shape for a in answer.auxiliary] == [answer.logits.shape] * (0 if fusion == "concatenation" else 2)
    assert not answer.synthetic.any()


def test_the_smallest_input_is_answered_too():
    net = network()
    side = net.architecture.multiple
    answer = net(torch.ones(1, 2, side, side, side), torch.ones(1, 2, dtype=torch.bool))
    assert torch.isfinite(answer.logits).all()


def test_a_generator_and_a_branch_differ_in_their_last_layer_alone():
    net = network(MODALITIES)
    generator, branch = (
        {n: p.shape for n, p in part[0].state_dict().items()} for part in (net.generators, net.branches)
    )
    assert {n for n in generator if generator[n] != branch[n]} == {"out.weight", "out.bias"}
    assert set(generator) == set(branch)


def test_transfer_takes_all_but_the_last_layer():
    net = network()
    before = net.branches[1].out.weight.clone()
    assert not torch.equal(net.branches[1].stem[0].weight, net.generators[1].stem[0].weight)
    net.transfer()
    for branch, generator in zip(net.branches, net.generators, strict=True):
        own, theirs = branch.state_dict(), generator.state_dict()
        assert all(torch.equal(own[n], theirs[n]) for n in own if not n.startswith("out."))
    assert torch.equal(net.branches[1].out.weight, before)


@pytest.mark.parametrize("present", [p for p in itertools.product((False, True), repeat=4) if any(p)])
def test_every_subset_runs_and_a_missing_pair_is_made_and_told(present):
    net = network(MODALITIES)
    available = torch.tensor([present])
    x = brain(MODALITIES) * available[:, :, None, None, None]
    answer = net(x, available)
    assert torch.isfinite(answer.logits).all()
    no_a, no_b = not any(present[:2]), not any(present[2:])
    assert answer.synthetic.tolist() == [[no_a, no_a, no_b, no_b]]
    filled = net.fill(x, available)
    inside = brain_of(x).bool().expand_as(x)
    changed = filled != x
    assert changed.any() == (no_a or no_b)
    assert not changed[~inside].any()
    assert not changed[0, [n for n in range(4) if not answer.synthetic[0, n]]].any()


def test_what_is_filled_in_comes_from_the_generator_of_the_other_pair():
    net = network()
    x, available = brain(TWO), torch.tensor([[False, True]])
    x[:, 0] = 0
    known = brain_of(x)
    made = net.generators[1](x[:, 1:], known)[0] * known
    assert torch.allclose(net.fill(x, available)[:, :1], made)


def test_samples_of_a_batch_may_lack_different_sequences():
    net = network(MODALITIES)
    x, available = brain(MODALITIES).repeat(2, 1, 1, 1, 1), torch.tensor([[True] * 4, [False, False, True, True]])
    x[1, :2] = 0
    for part in (*net.branches, net.fusion):
        torch.nn.init.normal_(part.out.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    together = net(x, available)
    assert together.synthetic.tolist() == [[False] * 4, [True, True, False, False]]
    alone = [net(x[n : n + 1], available[n : n + 1]).logits for n in (0, 1)]
    torch.testing.assert_close(together.logits, torch.cat(alone), atol=1e-4, rtol=1e-4)


def test_a_missing_sequence_is_told_from_one_that_is_zero():
    net = network(MODALITIES)
    torch.nn.init.normal_(net.fusion.out.weight, generator=torch.Generator().manual_seed(0))
    x = brain(MODALITIES)
    x[:, 0] = 0
    answers = [net(x, torch.tensor([[first, True, True, True]])).logits for first in (True, False)]
    assert (answers[0] - answers[1]).abs().max() > 1e-3


def test_masks_guide_the_fusion_and_its_branches_learn():
    net = network()
    torch.nn.init.normal_(net.fusion.out.weight, generator=torch.Generator().manual_seed(0))
    x, available = brain(TWO), torch.ones(1, 2, dtype=torch.bool)
    plain = net(x, available).logits
    net.branches[0].out.bias.data += 5
    assert (net(x, available).logits - plain).abs().max() > 1e-3
    torch.nn.init.normal_(net.branches[0].out.weight, generator=torch.Generator().manual_seed(0))
    net(x, available).logits.square().mean().backward()
    assert net.branches[0].stem[0].weight.grad.abs().max() > 0
    unguided = network(fusion="plain")
    plain = unguided(x, available).logits
    unguided.branches[0].out.bias.data += 5
    assert torch.equal(unguided(x, available).logits, plain)


def test_generators_make_without_learning_from_masks():
    net = network()
    torch.nn.init.normal_(net.fusion.out.weight, generator=torch.Generator().manual_seed(0))
    x = brain(TWO)
    x[:, 0] = 0
    net(x, torch.tensor([[False, True]])).logits.sum().backward()
    assert all(p.grad is None for p in net.generators.parameters())


def test_probabilities_are_nested():
    found = probabilities(torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0)))
    assert (found[:, 1] <= found[:, 0]).all()
    assert (found[:, 2] <= found[:, 1]).all()


def test_the_plain_network_is_about_as_large_as_both_branches():
    architecture = Architecture(TWO)
    net = CrossModalityNet(architecture)
    both = sum(p.numel() for part in (net.branches, net.fusion) for p in part.parameters())
    one = sum(p.numel() for p in CrossModalityNet(Architecture(TWO, fusion="concatenation")).parameters())
    assert 0.9 < one / both < 1.1
    assert len(equal_size(architecture)[0]) == len(architecture.widths)


def test_an_architecture_survives_json():
    architecture = Architecture(TWO, widths=(4, 8), fusion="plain")
    assert Architecture.from_record(json.loads(json.dumps(architecture.record()))) == architecture


def test_the_judge_answers_for_patches():
    assert PatchGAN(2)(torch.zeros(1, 2, 48, 40, 32)).shape == (1, 1, 6, 5, 4)
