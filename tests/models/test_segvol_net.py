"""SegVol in other sizes, batches and precisions."""

import pytest
import torch

from segvol_weights import TINY, filled
from voxelsmith.models.segvol import SegVolNet
from voxelsmith.models.segvol.prompt_encoder import FourierFeatures

BOX = torch.tensor([[1, 2, 3, 6, 12, 20.0], [0, 5, 5, 3, 15, 9]])
POINTS = torch.tensor([[[2, 3, 4.0], [7, 15, 23]], [[5, 1, 0], [3, 3, 3]]])
LABELS = torch.tensor([[1, 0], [1, -1]])


def views(count=2):
    return torch.rand(count, 1, *TINY.view, generator=torch.Generator().manual_seed(0))


def prompts(rows=slice(None)):
    text = torch.randn(2, TINY.width, generator=torch.Generator().manual_seed(1))
    return {"points": POINTS[rows], "labels": LABELS[rows], "box": BOX[rows], "text": text[rows]}


@torch.no_grad()
def test_a_batch_gives_what_its_members_give():
    net, x = filled(TINY), views()
    together = net.decode(net.encode(x), **prompts())
    apart = [net.decode(net.encode(x[n : n + 1]), **prompts(slice(n, n + 1))) for n in range(2)]
    torch.testing.assert_close(together, torch.cat(apart), rtol=0, atol=1e-4)


@torch.no_grad()
def test_one_view_serves_several_prompts():
    net = filled(TINY)
    embedding = net.encode(views(1))
    together = net.decode(embedding, **prompts())
    apart = [net.decode(embedding, **prompts(slice(n, n + 1))) for n in range(2)]
    torch.testing.assert_close(together, torch.cat(apart), rtol=0, atol=1e-4)
    assert together.shape == (2, 1, *TINY.view)


def test_without_its_text_encoder_it_is_the_same_network():
    whole, part = filled(TINY), filled(TINY, text=False)
    assert set(whole.state_dict()) - set(part.state_dict()) == {
        name for name in whole.state_dict() if name.startswith("text_encoder.")
    }
    with torch.no_grad():
        torch.testing.assert_close(*(net.decode(net.encode(views()), **prompts()) for net in (whole, part)))


@torch.no_grad()
def test_an_ignored_point_is_the_same_wherever_it_is():
    net = filled(TINY)
    here, there = (
        net.prompts(points=torch.tensor([[[1.0, 2, 3], at]]), labels=torch.tensor([[1, -1]]))
        for at in ([0.0, 0, 0], [7.0, 9, 20])
    )
    torch.testing.assert_close(here, there, rtol=0, atol=0)
    assert here.shape == (1, 3, TINY.width)


def test_it_learns_also_after_it_was_used():
    net = SegVolNet(TINY, text=False)
    with torch.inference_mode():
        net.decode(net.encode(views()), **prompts())
    net.train()
    net.decode(net.encode(views()), **prompts()).square().mean().backward()
    untouched = {name for name, w in net.named_parameters() if w.grad is None}
    # The heads of the other three masks and of the quality, which nothing trains, and what nothing reads.
    assert all(
        name.startswith(("prompt_encoder.mask_downscaling", "mask_decoder.iou_prediction_head"))
        or "hypernetworks_mlps" in name
        for name in untouched
    )
    assert net.image_encoder.patch_embedding.position_embeddings.grad.abs().sum() > 0
    assert net.mask_decoder.output_hypernetworks_mlps[0].layers[0].weight.grad is not None


def test_other_weights_move_the_grid():
    net = filled(TINY)
    before = net.prompt_encoder.grid_features().clone()
    torch.testing.assert_close(net.prompt_encoder.grid_features(), before, rtol=0, atol=0)
    net.load_state_dict(SegVolNet(TINY).state_dict())
    assert (net.prompt_encoder.grid_features() - before).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("way", ["autocast", "converted"])
@torch.no_grad()
def test_half_precision_gives_nearly_the_same(dtype, way):
    net, given = filled(TINY), prompts()
    exact = net.decode(net.encode(views()), **given)
    if way == "autocast":
        with torch.autocast("cpu", dtype=dtype):
            half = net.decode(net.encode(views()), **given)
    else:
        net = net.to(dtype)
        half = net.decode(net.encode(views().to(dtype)), **given)
        assert half.dtype == dtype
    tolerance = 0.1 if dtype == torch.bfloat16 else 0.02
    torch.testing.assert_close(half.float(), exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize("way", ["autocast", "converted"])
def test_phases_stay_exact_in_half_precision(way):
    features = FourierFeatures(64)
    at = torch.tensor([[0.1, 7.98, 0.9]])
    exact = features(at)
    if way == "autocast":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = features(at)
    else:
        half = features.half()(at)
    torch.testing.assert_close(half, exact, rtol=0, atol=0)
