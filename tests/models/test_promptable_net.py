"""The promptable network."""

import numpy as np
import pytest
import torch

from voxelsmith.models.promptable import CHANNELS, Architecture, PromptableNet, _Block

TINY = (
    Architecture(widths=(8, 8), groups=4, detail=4),
    Architecture(widths=(8, 16, 16), groups=8),
    Architecture(widths=(8, 8), stem=1, groups=2),
)


def inputs(*grid, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, len(CHANNELS), *grid, generator=generator)


@pytest.mark.parametrize("architecture", TINY)
@pytest.mark.parametrize("grid", [(8, 8, 8), (5, 9, 16), (1, 12, 7), (17, 1, 1)])
def test_before_training_the_answer_is_the_guess_on_any_grid(architecture, grid):
    x = inputs(*grid)
    logits = PromptableNet(architecture)(x)
    assert logits.shape == (1, 1, *grid)
    guess = x[:, CHANNELS.index("guess")].clamp(0.01, 0.99)
    torch.testing.assert_close(logits[:, 0].sigmoid(), guess)


@pytest.mark.parametrize("architecture", TINY)
def test_a_trained_head_listens_to_every_channel(architecture):
    torch.manual_seed(0)
    model = PromptableNet(architecture)
    torch.nn.init.normal_(model.head.weight)
    for block in (*model.encoder, *model.decoder):
        torch.nn.init.ones_(block.norm2.weight)
    x = inputs(8, 8, 8)
    answer = model(x)
    for channel in range(len(CHANNELS)):
        other = x.clone()
        other[:, channel] = 1 - other[:, channel]
        assert (model(other) - answer).abs().max() > 1e-3, CHANNELS[channel]


def test_a_guess_that_is_certain_stays_finite_and_can_be_overruled():
    x = torch.zeros(1, len(CHANNELS), 4, 4, 4)
    x[:, CHANNELS.index("guess")] = 1
    logits = PromptableNet(TINY[0])(x)
    assert torch.isfinite(logits).all()
    assert logits.max() < 5


@pytest.mark.parametrize("first_axis", [1, 2, 3, 4])
def test_bfloat16_gradients_of_the_weights_are_those_of_float32(first_axis):
    """Of every length of the first axis, two voxels included, where oneDNN's own gradient is garbage."""
    torch.manual_seed(0)
    block = _Block(32, 8).to(memory_format=torch.channels_last_3d)
    torch.nn.init.ones_(block.norm2.weight)
    x = torch.randn(1, 32, first_axis, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    target = torch.randn_like(x)

    def gradients(bfloat16):
        block.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            y = block(x)
        (y.float() * target).sum().backward()
        return block.first.weight.grad.clone()

    exact = gradients(False)
    for _ in range(4):
        # Memory that is not zero, for whoever reads what it did not write.
        np.full(2_000_000, np.inf, dtype=np.float32)
        assert (gradients(True) - exact).norm() < 0.2 * exact.norm()


def test_gradients_reach_every_weight():
    torch.manual_seed(0)
    model = PromptableNet(TINY[0])
    torch.nn.init.normal_(model.head.weight)
    for block in (*model.encoder, *model.decoder):
        torch.nn.init.ones_(block.norm2.weight)
    model(inputs(8, 8, 8)).square().mean().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent


def test_the_shipped_size_is_compact():
    assert sum(p.numel() for p in PromptableNet().parameters()) < 4e6
