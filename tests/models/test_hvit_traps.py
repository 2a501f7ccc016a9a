"""What is easily got wrong in H-ViT: its quirks as published, and what ours does instead."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hvit_cases import GOLDEN, case, image, listed, pair, parameter
from torch.nn import functional

from voxelsmith.core.errors import InputError
from voxelsmith.models.hvit import Architecture, HViT, official
from voxelsmith.models.hvit.attention import Block, Level, enclosing_queries, join, split, tiled_queries
from voxelsmith.models.warp import compose, pull

TINY = Architecture(start_channels=4, fpn_channels=8, heads=2, num_stages=3)


def lively(architecture, seed=0):
    """A network whose every part has a say."""
    torch.manual_seed(seed)
    model = HViT(architecture).eval()
    for name, p in model.named_parameters():
        if name.endswith(("gamma1", "gamma2")):
            torch.nn.init.ones_(p)
        elif name == "reg_head.conv3d.weight":
            torch.nn.init.normal_(p, std=0.05)
    return model


def answer(model, moving, fixed):
    with torch.no_grad():
        return model(moving, fixed)[1]


def ops():
    return np.load(GOLDEN / "ops_24x28x20.npz")


# ---------------------------------------------------------------------------------------------------------- sampling


def test_published_sampling_moves_an_image_that_should_stay():
    golden = ops()
    moving = torch.from_numpy(golden["moving"])
    nothing = torch.zeros(1, 3, *moving.shape[2:])
    stretched = official.pull(moving, nothing)
    np.testing.assert_allclose(stretched[0, 0], golden["warp_zero"], atol=1e-5)
    assert (stretched - moving).abs().max() == pytest.approx(0.173, abs=1e-3)
    assert (stretched - moving).abs().mean() == pytest.approx(0.0155, abs=1e-4)
    assert (pull(moving, nothing) - moving).abs().max() < 1e-5


def test_published_sampling_of_images_and_of_labels_one_by_one():
    golden = ops()
    flow = torch.from_numpy(golden["flow"])
    warped = official.pull(torch.from_numpy(golden["moving"]), flow)
    np.testing.assert_allclose(warped[0, 0], golden["warp_flow"], atol=1e-5)
    one_hot = functional.one_hot(torch.from_numpy(golden["labels_moving"]).long(), 6).movedim(-1, 0)[None]
    np.testing.assert_allclose(official.pull(one_hot, flow), golden["warped_soft_labels"], atol=1e-5)


def test_the_network_samples_as_its_architecture_says():
    moving, fixed = pair((16, 16, 16))
    aligned, published = (lively(replace(TINY, sampling=s)) for s in ("aligned", "official"))
    with torch.no_grad():
        warped, displacement = aligned(moving, fixed)
        other, same = published(moving, fixed)
    assert torch.equal(displacement, same)
    torch.testing.assert_close(warped, pull(moving, displacement))
    torch.testing.assert_close(other, official.pull(moving, displacement))
    assert (warped - other).abs().max() > 0.01


# ----------------------------------------------------------------------------------------------------------- queries


def numbered_windows(b, grid, tokens=8, channels=8):
    return torch.arange(b * np.prod(grid) * tokens * channels).reshape(b, *grid, tokens, channels)


def test_enclosing_queries_come_from_the_window_around_and_keep_heads_apart():
    coarse = numbered_windows(2, (2, 1, 3))
    found = enclosing_queries(coarse, (4, 2, 7), heads=2)
    assert found.shape == (2, 4, 2, 7, 2, 8, 4)
    for b, i, j, k in np.ndindex(2, 4, 2, 7):
        window = coarse[b, i // 2, j // 2, k * 3 // 7]
        for head in range(2):
            assert torch.equal(found[b, i, j, k, head], window[:, 4 * head : 4 * head + 4])


def test_published_queries_take_turns_and_mix_channels_with_places_and_samples():
    coarse = numbered_windows(2, (1, 1, 3))
    found = tiled_queries(coarse, (2, 1, 2), heads=2)
    assert found.shape == (2, 2, 1, 2, 2, 8, 4)
    windows = coarse.reshape(6, 8 * 8)
    for turn, (b, i, j, k) in enumerate(np.ndindex(2, 2, 1, 2)):
        assert torch.equal(found[b, i, j, k].flatten(), windows[turn % 6])


@pytest.mark.parametrize(("layout", "leaks"), [("aligned", False), ("official", True)])
def test_only_the_published_layout_mixes_the_samples_of_a_batch(layout, leaks):
    model = lively(replace(TINY, query_layout=layout))
    moving, fixed = pair((32, 16, 16), batch=2)
    together = answer(model, moving, fixed)
    apart = torch.cat([answer(model, moving[b : b + 1], fixed[b : b + 1]) for b in range(2)])
    mixed = (together - apart).abs().max() > 1e-3 * apart.abs().max()
    assert bool(mixed) == leaks


def test_the_layouts_are_two_networks_of_one_set_of_weights():
    """The layout of the queries changes the answer by a part of it, more than rounding does."""
    _, config, model = case("hvit_small_batch2_32x48x40")
    moving, fixed = pair(config["data_size"])
    aligned = HViT(replace(model.architecture, query_layout="aligned")).eval()
    aligned.load_state_dict(model.state_dict())
    published, ours = answer(model, moving, fixed), answer(aligned, moving, fixed)
    change = (published - ours).pow(2).mean().sqrt() / published.std()
    assert 0.02 < change < 0.6


# --------------------------------------------------------------------------------------------------------- attention


def test_windows_are_split_and_joined_in_row_major_order():
    x = torch.arange(2 * 4 * 6 * 2 * 3).reshape(2, 4, 6, 2, 3)
    windows = split(x, 2)
    assert windows.shape == (2, 2, 3, 1, 8, 3)
    assert torch.equal(windows[1, 1, 2, 0].reshape(2, 2, 2, 3), x[1, 2:4, 4:6, 0:2])
    assert torch.equal(join(windows, 2), x)


@pytest.mark.parametrize("layout", ["aligned", "official"])
@pytest.mark.parametrize("grid", [(6, 5, 7), (2, 3, 2)])
def test_maps_that_windows_do_not_fill_are_attended_to(layout, grid):
    torch.manual_seed(0)
    block = Block(replace(TINY, query_layout=layout), cross=True)
    torch.nn.init.ones_(block.gamma1)
    x, query = torch.randn(1, *grid, 8), torch.randn(1, *((n + 1) // 2 + 1 for n in grid), 8)
    found = block(x, query)
    assert found.shape == x.shape
    assert (block(x, 2 * query) - found).abs().max() > 1e-4


def test_a_level_before_training_embeds_doubles_and_embeds_again():
    """With scales next to nothing only the convolution and the outer residual are left; both are applied twice."""
    level = Level(TINY, coarser=1)
    x, coarse = torch.randn(1, 8, 4, 4, 4), torch.randn(1, 8, 2, 2, 2)
    embed = level.patch_embed[0]
    with torch.no_grad():
        torch.testing.assert_close(level(x, [coarse]), 4 * embed(embed(x)), rtol=1e-3, atol=1e-3)


def test_many_windows_are_attended_to_in_shares(monkeypatch):
    moving, fixed = pair((16, 16, 16))
    model = lively(TINY)
    whole = answer(model, moving, fixed)
    monkeypatch.setattr("voxelsmith.models.hvit.attention._WINDOWS", 5)
    torch.testing.assert_close(answer(model, moving, fixed), whole)


def test_the_light_variant_asks_by_raw_maps():
    moving, fixed = pair((32, 32, 32))
    architecture = replace(TINY, num_stages=4)
    full, light = lively(architecture), lively(replace(architecture, refined=False))
    assert full.state_dict().keys() == light.state_dict().keys()
    assert (answer(full, moving, fixed) - answer(light, moving, fixed)).abs().max() > 1e-4
    # With a single level above the coarsest there is nothing refined to ask.
    full, light = lively(TINY), lively(replace(TINY, refined=False))
    assert torch.equal(answer(full, moving, fixed), answer(light, moving, fixed))


# -------------------------------------------------------------------------------------------------------------- grids


@pytest.mark.parametrize("layout", ["aligned", "official"])
@pytest.mark.parametrize("grid", [(16, 24, 16), (13, 17, 30), (1, 20, 9), (3, 3, 3)])
def test_one_network_serves_any_grid(layout, grid):
    model = lively(replace(TINY, query_layout=layout))
    moving, fixed = torch.rand(2, 1, *grid), torch.rand(2, 1, *grid)
    with torch.no_grad():
        warped, displacement = model(moving, fixed)
    assert warped.shape == (2, 1, *grid)
    assert displacement.shape == (2, 3, *grid)
    assert torch.isfinite(displacement).all()
    assert displacement.std() > 1e-4


def test_padding_repeats_the_border_and_is_cut_off_again():
    model = lively(TINY)
    moving, fixed = pair((14, 16, 19))
    wide = [functional.pad(x, [0, 1, 0, 0, 0, 2], mode="replicate") for x in (moving, fixed)]
    assert TINY.padded((14, 16, 19)) == [16, 16, 20]
    assert torch.equal(answer(model, moving, fixed), answer(model, *wide)[:, :, :14, :, :19])


def test_the_published_number_of_stages_depends_on_the_least_dimension():
    sizes = {(64, 80, 96): 5, (160, 192, 224): 5, (63, 80, 96): 4, (40, 48, 56): 4, (96, 32, 96): 4, (31, 40, 40): 3}
    assert {grid: official.stages(grid) for grid in sizes} == sizes


# -------------------------------------------------------------------------------------------------------------- head


def test_the_head_predicts_voxels_of_the_full_grid():
    """Vectors are interpolated onto it, not doubled."""
    vectors = torch.tensor([1.0, -2.0, 3.0]).reshape(1, 3, 1, 1, 1).expand(1, 3, 8, 8, 8)
    for steps in (0, 6):
        found = HViT(replace(TINY, velocity_steps=steps)).displacement(vectors, (15, 16, 14))
        torch.testing.assert_close(found, vectors[:, :, :1, :1, :1].expand(1, 3, 15, 16, 14), atol=1e-5, rtol=0)


def test_a_velocity_gives_the_inverse_too():
    model = lively(replace(TINY, velocity_steps=7), seed=1)
    moving, fixed = pair((32, 32, 32))
    with torch.no_grad():
        vectors = model.vectors(moving, fixed)
        vectors = vectors * 2 / vectors.abs().max()
        there, back = (model.displacement(v, (32, 32, 32)) for v in (vectors, -vectors))
    inner = (slice(None), slice(None), *[slice(4, -4)] * 3)
    assert there[inner].norm(dim=1).mean() > 0.3
    assert compose(there, back)[inner].norm(dim=1).mean() < 0.1 * there[inner].norm(dim=1).mean()


def test_before_training_the_moving_image_stays():
    moving, fixed = pair((16, 16, 16))
    warped, displacement = HViT(TINY)(moving, fixed)
    assert displacement.abs().max() < 0.01
    torch.testing.assert_close(warped, moving, atol=0.01, rtol=0)


def test_moving_and_fixed_are_not_interchangeable():
    model = lively(TINY)
    moving, fixed = pair((16, 16, 16))
    assert (answer(model, moving, fixed) - answer(model, fixed, moving)).abs().max() > 1e-3


# --------------------------------------------------------------------------------------------- checkpoints and config


def published_state(name):
    return {key: parameter(key, shape) for key, shape in listed(name).items() if key != "spatial_trans.grid"}


def test_a_published_checkpoint_loads_whatever_its_grid():
    name = "hvit_small_batch2_32x48x40"
    bare = published_state(name)
    checkpoint = {f"hvit.{key}": value for key, value in bare.items()}
    checkpoint["hvit.spatial_trans.grid"] = torch.zeros(1, 3, 7, 7, 7)
    checkpoint["hvit.deformable._decoder._seg_head.0.weight"] = torch.zeros(3, 32, 1, 1, 1)
    config = json.loads(str(np.load(GOLDEN / f"{name}.npz")["config_json"]))
    model = HViT(official.architecture(config))
    model.load_state_dict(official.state(checkpoint))
    for key, value in model.state_dict().items():
        assert torch.equal(value, bare[key]), key
    assert not [key for key in model.state_dict() if "grid" in key]


def test_a_configuration_is_read_and_left_alone():
    config = json.loads(str(np.load(GOLDEN / "hvit_small_ncross2_64x64x96.npz")["config_json"]))
    before = json.dumps(config)
    found = official.architecture(config, light=True)
    assert json.dumps(config) == before
    assert (found.attended, found.refined, found.num_stages, found.heads) == (2, False, 5, 4)
    assert (found.query_layout, found.sampling) == ("official", "official")
    with pytest.raises(InputError, match="P2"):
        official.architecture({**config, "scale_level_df": "P2"})


def test_four_stages_carry_parameters_that_no_gradient_reaches():
    """A quarter of the published default is dead; of five stages everything is used."""
    with torch.device("meta"):
        names = [name for name, _ in HViT(Architecture(num_stages=4)).named_parameters()]
        sizes = {name: p.numel() for name, p in HViT(Architecture(num_stages=4)).named_parameters()}
    small = Architecture(start_channels=4, fpn_channels=8, heads=2, num_stages=4)
    model = lively(small)
    model(*pair((32, 32, 32)))[1].square().mean().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None]
    assert set(dead) <= set(names)
    assert sum(sizes[name] for name in dead) == 2_472_192
    model = lively(replace(small, num_stages=5))
    model(*pair((32, 32, 32)))[1].square().mean().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent


def test_bfloat16_on_a_cpu_keeps_the_displacement_in_float32():
    model = lively(TINY)
    moving, fixed = pair((16, 16, 16))
    exact = answer(model, moving, fixed)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = answer(model, moving, fixed)
    assert found.dtype == torch.float32
    assert (found - exact).norm() < 0.1 * exact.norm()


def test_two_runs_agree_bit_for_bit():
    model = lively(TINY)
    moving, fixed = pair((24, 24, 24))
    assert torch.equal(answer(model, moving, fixed), answer(model, moving, fixed))


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 2, 8, 8, 8)])
def test_other_images_are_refused(shape):
    with pytest.raises(InputError, match="one shape"):
        HViT(TINY)(torch.zeros(shape), torch.zeros(shape))
    with pytest.raises(InputError, match="resample"):
        HViT(TINY)(image("moving", (8, 8, 8)), image("fixed", (8, 8, 9)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"num_stages": 6}, "2 to 5"), ({"heads": 3}, "multiple"), ({"query_layout": "other"}, "query_layout")],
)
def test_impossible_architectures_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        Architecture(**wrong)
