"""Linear layers and attention by oneDNN against torch's own."""

import pytest
import torch
from torch.nn import functional

from voxelsmith.models.dense import Linear, attention, linear


def operators(work):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile, torch.no_grad():
        work()
    return {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("rows", [(3,), (100,), (2, 90)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_a_linear_layer_gives_what_torch_gives(rows, bias):
    layer, x = Linear(24, 40, bias=bias), torch.randn(*rows, 24)
    out = layer(x)
    assert out.is_contiguous()
    torch.testing.assert_close(out, functional.linear(x, layer.weight, layer.bias), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_weights_may_lie_in_any_order():
    x, weight = torch.randn(24, 128).t(), torch.randn(24, 40).t()
    torch.testing.assert_close(linear(x, weight), x @ weight.t(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shapes", [(2, 2, 300, 300), (2, 1, 300, 90), (1, 3, 70, 260), (1, 1, 5, 300), (2, 1, 300, 5)])
@torch.no_grad()
def test_attention_gives_what_torch_gives(shapes):
    queries, others, n, m = shapes
    q = torch.randn(queries, n, 3, 16).transpose(1, 2)
    k, v = torch.randn(2, others, 3, m, 16)
    batch = max(queries, others)
    q_all, k_all, v_all = (x.expand(batch, -1, -1, -1) for x in (q, k, v))
    expected = functional.scaled_dot_product_attention(q_all, k_all, v_all)
    torch.testing.assert_close(attention(q, k, v), expected, rtol=1e-5, atol=1e-5)


def test_large_products_go_to_onednn():
    layer, x, q = Linear(24, 40), torch.randn(100, 24), torch.randn(1, 2, 100, 16)
    there = torch.backends.mkldnn.is_available()
    assert ("aten::mkldnn_convolution" in operators(lambda: layer(x))) == there
    assert ("aten::mkldnn_convolution" in operators(lambda: attention(q, q, q))) == there
    assert "aten::mkldnn_convolution" not in operators(lambda: layer(x[:5]))


def test_learning_is_left_to_torch():
    layer, x = Linear(24, 40), torch.randn(100, 24)
    layer(x).sum().backward()
    torch.testing.assert_close(layer.weight.grad, x.sum(0).expand(40, 24), rtol=1e-5, atol=1e-5)
    assert "Convolution" not in type(layer(x).grad_fn).__name__


@torch.no_grad()
def test_autocast_is_obeyed():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Linear(24, 40)(torch.randn(100, 24)).dtype == torch.bfloat16
