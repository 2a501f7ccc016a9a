"""``voxelsmith segment`` without ``--model``: the network that ships, or a sentence that says why not."""

import sys

import numpy as np
import pytest

from voxelsmith.cli import run
from voxelsmith.segment.network import shipped_network

ARRAY = np.random.default_rng(0).normal(200, 10, (20, 20, 12)).astype(np.float32)
ARRAY[6:14, 6:14, 4:9] += 100
BOX = "6,6,4,13,13,8"


@pytest.fixture
def request_of(nifti, tmp_path):
    """Arguments of a request, and the mask that it writes."""
    out = tmp_path / "mask.nii.gz"
    return ["segment", nifti(ARRAY), "--out", out, "--box", BOX], out


@pytest.fixture
def unloaded():
    """No network is in memory, before and after."""
    shipped_network.cache_clear()
    yield
    shipped_network.cache_clear()


def test_the_network_answers(command, request_of):
    arguments, _ = request_of
    done = command(*arguments, "--json")
    assert (done.record["engine"], done.record["threshold"]) == ("promptable", 0.5)


def without_torch(monkeypatch, folder):
    monkeypatch.setitem(sys.modules, "torch", None)
    return "torch, which cannot be loaded here"


def without_weights(monkeypatch, folder):
    (folder / "promptable.safetensors").write_bytes(b"no weights")
    monkeypatch.setenv("VOXELSMITH_WEIGHTS", str(folder))
    return "it is damaged or of another version"


@pytest.mark.parametrize("lack", [without_torch, without_weights])
def test_what_it_lacks_is_said_and_no_other_engine_answers(
    command, refused, request_of, monkeypatch, tmp_path, unloaded, lack
):
    arguments, out = request_of
    reason = lack(monkeypatch, tmp_path)
    sentence = refused(*arguments)
    assert reason in sentence
    assert "choose the engine training-free" in sentence
    assert not out.exists()
    done = command(*arguments, "--model", "training-free", "--json")
    assert (done.status, done.record["engine"]) == (0, "training-free")


def test_help_names_it_first(capsys):
    assert run(["segment", "--help"]) == 0
    assert "Engine: promptable, training" in " ".join(capsys.readouterr().out.split())
