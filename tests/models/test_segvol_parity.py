"""SegVol against what its published code computes, at full size with weights that a formula makes."""

import numpy as np
import pytest
import torch

import segvol_weights as known

GOLDEN = {name: np.load(known.GOLDEN / f"{name}.npz") for name in ("encoder", "decoder", "text")}
CASES = [str(name) for name in GOLDEN["decoder"]["case_names"]]


@pytest.fixture(scope="module")
def net():
    return known.filled()


@pytest.fixture(scope="module")
def encoded(net):
    """The embedding of the golden view, and what the modules on the way to it gave."""
    seen, encoder = {}, net.image_encoder
    watched = {
        "patch_embed": encoder.patch_embedding,
        **{f"block{n:02}": encoder.blocks[n] for n in (0, 5, 11)},
        "final": encoder.norm,
    }
    handles = [m.register_forward_hook(lambda *a, n=n: seen.update({n: a[-1]})) for n, m in watched.items()]
    with torch.inference_mode():
        embedding = net.encode(torch.from_numpy(known.view()))
    for handle in handles:
        handle.remove()
    return embedding, seen


def prompts_of(case):
    several = case.startswith("batch2")
    given = {}
    if "points" in case:
        given["points"] = known.TWO_POINTS if several else known.POINTS
        given["labels"] = known.TWO_LABELS if several else known.LABELS
    if "box" in case:
        given["box"] = known.TWO_BOXES if several else known.EMPTY_BOX if case == "box_empty" else known.BOX
    if "text" in case:
        given["text"] = GOLDEN["text"]["liver_embedding"] if case == "text_clip" else known.text_vector()
    return {name: torch.from_numpy(array) for name, array in given.items()}


def close(ours, golden):
    np.testing.assert_allclose(ours.numpy(), golden, rtol=0, atol=2e-4)


def same_statistics(ours, golden):
    x = ours.double().numpy()
    found = [x.mean(), x.std(), x.min(), x.max(), np.linalg.norm(x), (x > 0).sum()]
    np.testing.assert_allclose(found[:5], golden[:5], rtol=1e-5, atol=2e-5)
    assert abs(found[5] - golden[5]) <= 20


def test_the_names_and_shapes_are_the_published_ones(net):
    assert {name: tuple(w.shape) for name, w in net.state_dict().items()} == known.published_shapes()
    assert len(net.state_dict()) == 475
    assert sum(w.numel() for w in net.parameters()) == 180_890_064


def test_the_formulas_make_the_golden_view():
    view = known.view().ravel()
    np.testing.assert_allclose(view[sample()], GOLDEN["encoder"]["volume_sample"], atol=1e-6)


def sample():
    return np.random.RandomState(4096).randint(0, 32 * 256 * 256, size=2000)


@pytest.mark.parametrize("stage", ["patch_embed", "block00", "block05", "block11", "final"])
def test_every_stage_of_the_image_encoder(encoded, stage):
    golden, tokens = GOLDEN["encoder"], encoded[1][stage]
    close(tokens[0, golden["tokens"]], golden[f"{stage}_tokens"])
    same_statistics(tokens, golden[f"{stage}_stats"])


def test_the_order_of_the_embedding(encoded):
    grid = encoded[0].transpose(1, 2).reshape(768, 8, 16, 16)
    close(grid[::32, :, ::4, ::4], GOLDEN["encoder"]["image_embedding_sample"])


def test_positions_of_the_grid(net):
    golden = GOLDEN["encoder"]
    features = net.prompt_encoder.grid_features()[0].T.reshape(768, 8, 16, 16)
    close(features[golden["dense_pe_channels"]], golden["dense_pe"])
    same_statistics(features, golden["dense_pe_stats"])


@pytest.mark.parametrize("texts", ["liver", "pair"])
def test_texts(net, texts):
    golden, pieces = GOLDEN["text"], torch.from_numpy(GOLDEN["text"][f"{texts}_input_ids"])
    with torch.inference_mode():
        close(net.text_encoder.pool(pieces), golden[f"{texts}_pooled"])
        close(net.text_encoder(pieces), golden[f"{texts}_embedding"])


@pytest.mark.parametrize("case", CASES)
def test_logits(net, encoded, case):
    golden, given = GOLDEN["decoder"], prompts_of(case)
    with torch.inference_mode():
        close(net.prompts(**given), golden[f"{case}/sparse"])
        logits = net.decode(encoded[0], **given)
    assert logits.shape == (2 if case.startswith("batch2") else 1, 1, 32, 256, 256)
    close(logits.flatten(1)[:, sample()], golden[f"{case}/full_sample"])
    same_statistics(logits, golden[f"{case}/full_stats"])


def test_the_four_masks_and_their_quality(net, encoded):
    case = "points_box_text_vec"
    golden, given = GOLDEN["decoder"], prompts_of(case)
    with torch.inference_mode():
        masks = net.decode_coarse(encoded[0], **given, masks=4)
        image = encoded[0] + net.prompt_encoder.no_mask()
        tokens, _ = net.mask_decoder.look(image, net.prompt_encoder.grid_features(), net.prompts(**given))
        close(net.mask_decoder.quality(tokens), golden[f"{case}/iou"])
    close(masks[:, :1], golden[f"{case}/lowres"])
    for n in range(4):
        same_statistics(masks[:, n], golden[f"{case}/masks4_stats"][n])
    close(tokens[..., ::16], golden[f"{case}/hs"])
