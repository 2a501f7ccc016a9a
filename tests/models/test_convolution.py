"""Convolutions by oneDNN against torch's own."""

import pytest
import torch

from voxelsmith.models.convolution import Conv3d

SHAPES = [
    {"kernel_size": 3, "padding": 1, "bias": False},
    {"kernel_size": 2, "stride": 2},
    {"kernel_size": 3, "padding": 2, "dilation": 2, "groups": 2},
    {"kernel_size": 3, "padding": "same"},
    {"kernel_size": 3, "padding": 1, "padding_mode": "replicate"},
]


def pair(**shape):
    ours, theirs = Conv3d(4, 6, **shape), torch.nn.Conv3d(4, 6, **shape)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_values_and_gradients_are_those_of_torch(shape, layout):
    torch.manual_seed(0)
    ours, theirs = pair(**shape)
    x = torch.randn(1, 4, 9, 7, 8).to(memory_format=layout)
    answers = [net(x) for net in (ours, theirs)]
    for answer in answers:
        (answer**2).sum().backward()
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-4, atol=1e-5)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-3)


def test_small_samples_go_to_onednn():
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile, torch.no_grad():
        Conv3d(4, 6, 3, padding=1)(torch.randn(1, 4, 9, 7, 8))
    called = {event.key for event in profile.key_averages()}
    assert "aten::mkldnn_convolution" in called or not torch.backends.mkldnn.is_available()
    assert "aten::slow_conv3d" not in called or not torch.backends.mkldnn.is_available()


def test_autocast_is_obeyed():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Conv3d(4, 6, 3)(torch.randn(1, 4, 5, 5, 5)).dtype == torch.bfloat16
