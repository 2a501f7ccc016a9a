"""Learned encoders: their shapes, where their weights come from, and what they refuse."""

import warnings

import numpy as np
import pytest
import torch

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, ModelUnavailableError
from voxelsmith.core.volume import Volume
from voxelsmith.models.efficientnet import CHANNELS, EfficientNetLite0
from voxelsmith.segment import encoders
from voxelsmith.segment.encoders import EfficientNetEncoder, PromptableEncoder, ScriptedEncoder, unit_range
from voxelsmith.segment.features import HandMadeEncoder


class Doubled(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, 2 * x], 1)


class Pooled(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.max_pool3d(x, 2)


def scripted(path, network):
    with warnings.catch_warnings():
        # torch announces another format for such files.
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), str(path))
    return path


def volume(grid=(20, 17, 6)):
    array = np.random.default_rng(0).random(grid).astype(np.float32)
    return Volume(array, Affine.from_spacing((1, 1, 3)), "noise")


@pytest.mark.parametrize("encoder", [EfficientNetEncoder("cpu"), PromptableEncoder("cpu")])
@pytest.mark.parametrize("axis", [0, 2])
def test_features_lie_on_the_slices_in_the_order_asked(encoder, axis):
    image = volume()
    plane = tuple(np.delete(image.grid, axis))
    both = encoder.features(image, [3, 1], axis)
    assert both.dtype == np.float16
    assert both.shape[1:] == (2, *plane)
    np.testing.assert_allclose(both[:, 1], encoder.features(image, [1], axis)[:, 0], atol=0.05, rtol=0.01)
    assert np.abs(both[:, 0].astype(float) - both[:, 1]).max() > 0.1


def test_efficientnet_gives_what_the_published_port_gives():
    line = torch.linspace(0, 1, 224)
    picture = (torch.sin(20 * line)[:, None] * torch.cos(9 * line)[None] + 1) / 2
    with torch.inference_mode():
        maps = encoders._efficientnet()(picture[None, None])
    # From efficientnet_lite_pytorch 0.1.0 on the same picture: mean, deviation, and the value at [3, 5, 7].
    golden = ((-0.32767, 4.27748, -0.09538), (0.29368, 7.68145, 4.48735), (0.42937, 7.68516, -14.88141))
    golden = (*golden, (-0.329, 5.85323, 0.21957))
    for found, channels, expected in zip(maps, CHANNELS, golden, strict=True):
        assert found.shape[1] == channels
        assert [found.mean().item(), found.std().item(), found[0, 3, 5, 7].item()] == pytest.approx(expected, abs=1e-3)


def test_maps_halve_with_the_stride_rounded_up():
    with torch.inference_mode():
        maps = EfficientNetLite0().eval()(torch.rand(1, 1, 33, 50))
    assert [tuple(m.shape[2:]) for m in maps] == [(17, 25), (9, 13), (5, 7), (3, 4)]


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    encoders._efficientnet.cache_clear()
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    with pytest.raises(ModelUnavailableError, match=r"napari-voxelsmith\[features\]"):
        EfficientNetEncoder("cpu").features(volume(), [0])
    assert encoders.default_encoder().name == HandMadeEncoder().name


def test_a_scripted_network_is_an_encoder(tmp_path):
    encoder = ScriptedEncoder(scripted(tmp_path / "twice.pt", Doubled()))
    image = volume()
    found = encoder.features(image, [2, 0])
    assert encoder.name == "twice.pt"
    np.testing.assert_allclose(found[1], 2 * found[0], rtol=1e-2)
    np.testing.assert_allclose(found[0], np.moveaxis(unit_range(image)[..., [2, 0]], 2, 0), atol=1e-3)


def test_an_encoder_of_volumes_does_not_mix_two_up(tmp_path):
    encoder = ScriptedEncoder(scripted(tmp_path / "twice.pt", Doubled()))
    one, other = volume(), Volume(np.flip(volume().array, 2), Affine.from_spacing())
    np.testing.assert_array_equal(encoder.features(one, [0]), encoder.features(other, [5]))


def test_what_is_no_network_is_refused(tmp_path):
    path = tmp_path / "broken.pt"
    path.write_bytes(b"nothing")
    with pytest.raises(FormatError, match="as torch"):
        ScriptedEncoder(path)
    with pytest.raises(ModelUnavailableError, match="no such file"):
        ScriptedEncoder(tmp_path / "absent.pt")


def test_a_network_of_another_shape_is_refused(tmp_path):
    encoder = ScriptedEncoder(scripted(tmp_path / "pooled.pt", Pooled()))
    with pytest.raises(FormatError, match=r"\(1, C, I, J, K\)"):
        encoder.features(volume(), [0])


def test_brightness_is_scaled_by_percentiles_and_finite():
    image = volume((10, 10, 10))
    array = image.array.copy()
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    array[1, 1, 1] = 1e9
    scaled = unit_range(Volume(array, image.affine))
    assert np.isfinite(scaled).all()
    assert scaled.min() == 0
    assert scaled.max() == 1
    assert 0.3 < scaled.mean() < 0.7
    assert not unit_range(Volume(np.full((4, 4, 4), 7.0), image.affine)).any()
