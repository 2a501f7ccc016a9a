"""H-ViT against its golden data: weights and images made from names, and what the published network makes of them."""

import numpy as np
import pytest
import torch
from hvit_cases import GOLDEN, case, listed, pair

from voxelsmith.models.hvit import Architecture, HViT

CASES = sorted(path.stem for path in GOLDEN.glob("hvit*.npz"))


def assert_close(found, expected, label):
    """Within a hundred-thousandth of the largest value: rounding of float32 grows with the maps."""
    atol = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=label)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def count(**sizes):
    with torch.device("meta"):
        return parameters(HViT(Architecture(**sizes)))


@pytest.mark.parametrize("name", CASES)
def test_every_map_and_the_answer_are_the_published_ones(name):
    golden, config, model = case(name)
    net, seen = model.deformable, {}

    def watch(module, label):
        module.register_forward_hook(lambda _module, _inputs, output: seen.__setitem__(label, output))

    levels = model.architecture.num_stages - 1
    for stage, module in enumerate(net._encoder):
        watch(module, f"C{stage}")
    for level in range(1, levels + 1):
        watch(net._decoder._out[level - 1], f"out{level - 1}")
        watch(net._decoder.hierarchical_dec[levels - level], f"P{level}")
    moving, fixed = pair(config["data_size"], batch=len(golden["flow_samples"]))
    i, j, k = golden["positions"].T
    np.testing.assert_array_equal(moving[:, 0, i, j, k], golden["moving_samples"])
    np.testing.assert_array_equal(fixed[:, 0, i, j, k], golden["fixed_samples"])
    with torch.no_grad():
        warped, displacement = model(moving, fixed)
    recorded = [key.split("_")[1] for key in golden if key.startswith("feat_") and key.endswith("_samples")]
    assert len(recorded) >= 3 * levels
    for label in recorded:
        assert tuple(seen[label].shape) == tuple(golden[f"feat_{label}_shape"]), label
        found = seen[label].numpy()[tuple(golden[f"feat_{label}_idx"].T)]
        assert_close(found, golden[f"feat_{label}_samples"], label)
    assert_close(displacement[:, :, i, j, k].numpy(), golden["flow_samples"], "displacement")
    np.testing.assert_allclose(warped[:, 0, i, j, k], golden["moved_samples"], rtol=0, atol=1e-5)
    exact = displacement.double()
    stats = [f(dim=(2, 3, 4)) for f in (exact.mean, exact.amin, exact.amax, exact.abs().mean)]
    assert_close(torch.stack(stats, dim=-1).numpy(), golden["flow_stats"][..., [0, 2, 3, 4]], "statistics")


@pytest.mark.parametrize("name", CASES)
def test_parameters_have_the_published_names_shapes_and_order(name):
    model = case(name)[2]
    published = listed(name)
    del published["spatial_trans.grid"]
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == published
    assert list(model.state_dict()) == list(published)


def test_parameter_counts_are_those_of_the_specification():
    with torch.device("meta"):
        full = HViT()
    decoder = full.deformable._decoder
    assert parameters(full) == 21_217_091
    assert parameters(full.reg_head) == 10_371
    assert parameters(full.deformable._encoder) == pytest.approx(14.13e6, abs=5e3)
    assert parameters(decoder) == pytest.approx(7.07e6, abs=1e4)
    assert parameters(decoder.hierarchical_dec) == pytest.approx(5.08e6, abs=1e4)
    assert count(num_stages=4) == 10_180_163
    assert count(refined=False) == count(query_layout="official", sampling="official") == 21_217_091


@pytest.mark.parametrize(("channels", "millions"), [(32, 14.62), (64, 16.01), (96, 18.20), (192, 29.27), (256, 40.37)])
def test_other_widths_have_the_specified_counts(channels, millions):
    assert count(fpn_channels=channels) / 1e6 == pytest.approx(millions, abs=5e-3)
