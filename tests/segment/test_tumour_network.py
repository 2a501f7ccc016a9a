"""The tumour network behind the protocol: which weights, channels in order, nested probabilities, made-up sequences."""

import numpy as np
import pytest
import torch

from voxelsmith.core.errors import FormatError, ModelUnavailableError
from voxelsmith.models.crossmodality import MODALITIES, TWO, Architecture, CrossModalityNet
from voxelsmith.segment import crossmodality
from voxelsmith.segment.tumour import network as module
from voxelsmith.segment.tumour.network import TorchTumourNetwork, load_network

SMALL = {"widths": (4, 6), "detail": 2}


def small(modalities=MODALITIES):
    torch.manual_seed(0)
    architecture = Architecture(modalities=modalities, **SMALL)
    net = CrossModalityNet(architecture)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return architecture, net


def images(count, side=16):
    return np.random.default_rng(0).normal(size=(count, side, side, side)).astype(np.float32)


def test_a_window_gets_nested_probabilities():
    network = TorchTumourNetwork(small()[1], "random", "cpu")
    assert network.modalities == ("t1", "t1c", "t2", "flair")
    out = network(images(4), np.ones(4, bool))
    assert (out.shape, out.dtype) == ((3, 16, 16, 16), np.float32)
    assert out.min() >= 0
    assert out.max() <= 1
    assert (out[1:] <= out[:-1]).all()
    assert out.std() > 0


def test_a_missing_pair_is_made_up():
    network = TorchTumourNetwork(small()[1], "random", "cpu")
    assert network.synthetic(np.array([True, True, False, False])) == ("t2", "flair")
    assert network.synthetic(np.array([True, False, True, False])) == ()
    two = TorchTumourNetwork(small(TWO)[1], "random", "cpu")
    assert two.modalities == ("t1c", "flair")
    assert two.synthetic(np.array([False, True])) == ("t1c",)


def test_weights_are_read_from_a_file_or_run_folder(tmp_path):
    architecture, net = small(TWO)
    crossmodality.save_network(architecture, net.state_dict(), tmp_path / crossmodality.WEIGHTS, {})
    window, there = images(2), np.ones(2, bool)
    expected = TorchTumourNetwork(net, "random", "cpu")(window, there)
    for source in (tmp_path, str(tmp_path / crossmodality.WEIGHTS)):
        found = load_network(source, ("t1c",), "cpu")
        assert found.identity == str(source)
        assert np.allclose(found(window, there), expected, atol=0.02)


@pytest.mark.parametrize(
    ("available", "weights"),
    [
        (("t1c", "flair"), "cmf-2"),
        (("t1c",), "cmf-2"),
        (("t1", "t1c"), "cmf-4"),
        (("t2",), "cmf-4"),
        (("t1", "t1c", "t2", "flair"), "cmf-4"),
    ],
)
def test_the_weights_fit_the_sequences(monkeypatch, available, weights):
    asked = []

    def load(source):
        asked.append(source)
        return small()[1]

    monkeypatch.setattr(crossmodality, "load_network", load)
    assert load_network("auto", available, "cpu").identity == weights
    assert asked == [weights]


def test_missing_weights_are_told_with_how_to_train_some(tmp_path):
    with pytest.raises(ModelUnavailableError, match="voxelsmith train cmf FOLDER --out RUN_DIR"):
        load_network(tmp_path / "nothing", ("t1c",))


def test_other_weights_are_told(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"no tensors at all")
    with pytest.raises(FormatError):
        load_network(tmp_path, ("t1c",))


def test_names_of_weights_are_those_that_ship():
    assert (module.TWO, module.FOUR) == crossmodality.SHIPPED
