"""Networks trained on episodes: their file, the encoder for prototypes, the answer of a conditional network."""

import numpy as np
import pytest
import torch

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, ModelUnavailableError
from voxelsmith.core.volume import Volume
from voxelsmith.models.prototype_encoder import PrototypeEncoder
from voxelsmith.segment import episodic
from voxelsmith.segment.encoders import EfficientNetEncoder
from voxelsmith.segment.episodic import TrainedEncoder, conditioned, image_net_start, load_network, made, save_network
from voxelsmith.weights import store


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def volume():
    array = np.random.default_rng(0).normal(50, 10, (20, 30, 5)).astype(np.float32)
    return Volume(array, Affine.from_spacing((1, 1, 2)), "noise")


def test_before_training_it_says_what_the_frozen_encoder_says():
    # With sides at a ratio of two, both see slices of the same size.
    volume = Volume(np.random.default_rng(0).normal(50, 10, (16, 32, 5)), Affine.from_spacing((1, 1, 2)), "noise")
    ours = TrainedEncoder(image_net_start().eval(), "start", "cpu").features(volume, [3, 1])
    theirs = EfficientNetEncoder("cpu").features(volume, [3, 1])
    assert ours.shape == (192, 2, 16, 32)
    assert np.allclose(ours, theirs, rtol=1e-2, atol=1e-2)


def test_slices_come_in_the_order_that_is_wanted_along_any_axis(volume, monkeypatch):
    monkeypatch.setattr(episodic, "_ENCODED_SIDE", 32)
    encoder = TrainedEncoder(made("prototype", frozen_statistics=True).eval(), "random", "cpu")
    both, one = encoder.features(volume, [4, 0], 1), encoder.features(volume, [0], 1)
    assert both.shape == (192, 2, 20, 5)
    assert np.allclose(both[:, 1], one[:, 0], atol=1e-3)
    assert not np.allclose(both[:, 0], one[:, 0], atol=1e-3)


@pytest.mark.parametrize("method", episodic.METHODS)
def test_a_file_gives_the_network_back(tmp_path, method):
    network = made(method)
    save_network(method, network.state_dict(), tmp_path / episodic.WEIGHTS, {"step": "7"})
    again = load_network(tmp_path, method)
    assert type(again) is type(network)
    assert not again.training
    for name, tensor in network.state_dict().items():
        kept = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(again.state_dict()[name], kept), name


def test_a_file_that_is_none_is_told(tmp_path):
    with pytest.raises(ModelUnavailableError, match="there is none"):
        load_network(tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(FormatError, match="damaged"):
        load_network(tmp_path / "broken.safetensors")
    store.save({"x": torch.ones(2)}, tmp_path / "other.safetensors", {})
    with pytest.raises(FormatError, match="does not say of which method"):
        load_network(tmp_path / "other.safetensors")


def test_a_conditional_network_answers_on_the_grid_of_the_query():
    network = made("senet").eval()
    rng = np.random.default_rng(0)
    query, images = rng.random((5, 30, 41), np.float32), rng.random((2, 24, 50), np.float32)
    masks = (images > 0.5).astype(np.float32)
    found = conditioned(network, query, images, masks, side=32)
    assert found.shape == query.shape
    assert 0 <= found.min() < found.max() <= 1
    turned = conditioned(network, query, images[::-1].copy(), masks[::-1].copy(), side=32)
    assert np.allclose(found, turned, atol=1e-5)
    assert not np.allclose(found, conditioned(network, query, images, 1 - masks, side=32), atol=1e-5)


def test_frozen_statistics_stay_and_others_do_not():
    for frozen in (True, False):
        model = PrototypeEncoder(frozen_statistics=frozen)
        model.train()
        before = model.trunk._bn0.running_mean.clone()
        model(torch.rand(2, 1, 32, 32))
        assert torch.equal(model.trunk._bn0.running_mean, before) is frozen


def test_the_map_is_a_quarter_of_the_slice_unless_told():
    model = PrototypeEncoder().eval()
    assert model(torch.rand(1, 1, 32, 48)).shape == (1, 192, 8, 12)
    assert model(torch.rand(1, 1, 32, 48), (20, 21)).shape == (1, 192, 20, 21)
