"""``voxelsmith train segvol``: from a folder of pairs to weights that the engine takes."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import voxelsmith.train
from segvol_weights import TINY, filled
from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import run_job
from voxelsmith.models.segvol import net as net_module
from voxelsmith.segment.segvol import network as network_module
from voxelsmith.segment.segvol import tokeniser
from voxelsmith.segment.segvol.network import load_network
from voxelsmith.train.checkpoint import export
from voxelsmith.train.history import read_history
from voxelsmith.weights import zoo


class Letters:
    def pieces(self, sentence):
        return [57, *(ord(letter) % 50 for letter in sentence), 59]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with small weights where the published ones belong."""
    monkeypatch.setattr(net_module, "Architecture", lambda: TINY)
    monkeypatch.setattr(tokeniser, "published", lambda file: Letters())
    monkeypatch.setenv("VOXELSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VOXELSMITH_WEIGHTS", raising=False)
    torch.save(filled(TINY).state_dict(), tmp_path / "weights.pth")
    run_job(zoo.add(tmp_path / "weights.pth"))
    network_module._loaded.cache_clear()
    yield tmp_path
    network_module._loaded.cache_clear()


@pytest.fixture
def pairs(tmp_path, nifti):
    """Two small scans with labels 1 and 2."""
    folder = tmp_path / "scans"
    folder.mkdir()
    labels = np.zeros((24, 20, 12), np.int16)
    labels[3:11, 3:11, 2:9] = 1
    labels[14:22, 10:18, 3:10] = 2
    for name in ("one", "two"):
        noise = np.random.default_rng(0).normal(100, 5, labels.shape)
        nifti((noise + 60 * labels).astype(np.float32), f"scans/{name}_image.nii.gz")
        nifti(labels, f"scans/{name}_label.nii.gz")
    return folder


@pytest.fixture
def asked(monkeypatch):
    """Keeps what the command asked the trainer for, and ends it there."""
    known = SimpleNamespace()

    def settings(**overrides):
        known.overrides = overrides

    def recipe(*arguments, **keys):
        known.recipe = arguments, keys
        raise InputError("Enough.")

    stub = SimpleNamespace(settings=settings, recipe=recipe)
    monkeypatch.setitem(sys.modules, "voxelsmith.train.segvol", stub)
    monkeypatch.setattr(voxelsmith.train, "segvol", stub, raising=False)
    return known


def test_weights_that_are_trained_are_those_of_the_engine(command, machine, pairs):
    run = machine / "run"
    arguments = ["--pairs", pairs, "--name", "1=liver", "--steps", 4, "--workers", 0, "--device", "cpu"]
    done = command("train", "segvol", "--out", run, *arguments, "--max-seconds", 1e-6, "--json")
    assert (done.status, done.record["step"], done.record["finished"]) == (0, 1, False)
    done = command("train", "segvol", "--out", run, *arguments, "--resume", "--json")
    assert (done.status, done.record["step"], done.record["finished"]) == (0, 4, True)
    assert done.record["weights"] == str(run / "weights.safetensors")
    last = read_history(run)[-1]
    assert last.validation.keys() == {"score", "box", "point", "text"}
    assert done.record["best_score"] == last.validation["score"]
    best, written = export(run, best=True), load_file(run / "weights.safetensors")
    assert all(torch.equal(written[name], tensor) for name, tensor in best.items())
    assert command("weights", "add", run / "weights.safetensors").status == 0
    network = load_network("cpu")
    for name, tensor in network._net.state_dict().items():
        assert torch.equal(tensor, best[name]), name
    assert not torch.equal(best["mask_decoder.mask_tokens.weight"], filled(TINY).mask_decoder.mask_tokens.weight)
    assert np.isfinite(network.text("liver")).all()


def test_the_options_reach_the_trainer(refused, asked, tmp_path):
    given = ["--data", tmp_path, "--split", tmp_path / "s.toml", "--pairs", tmp_path / "p", "--start", "w.bin"]
    given += ["--name", "1=liver", "--name", "12= left kidney", "--decoder-only", "--steps", 5, "--max-seconds", 9]
    given += ["--seed", 3, "--workers", 0, "--device", "cpu"]
    assert "Enough." in refused("train", "segvol", "--out", tmp_path / "run", *given)
    assert asked.overrides == {"steps": 5, "max_seconds": 9.0, "seed": 3, "workers": 0, "device": "cpu"}
    assert asked.recipe == (
        (tmp_path, 3),
        {
            "split": tmp_path / "s.toml",
            "pairs": tmp_path / "p",
            "names": {1: "liver", 12: "left kidney"},
            "start": Path("w.bin"),
            "decoder_only": True,
        },
    )
    refused("train", "segvol", "--out", tmp_path / "run")
    assert asked.overrides == {"device": "auto", "seed": 0}
    assert asked.recipe[1]["names"] == {}


@pytest.mark.parametrize("name", ["liver", "0=air", "x=liver", "1=", "-1=liver"])
def test_a_name_is_a_label_and_a_word(refused, asked, tmp_path, name):
    assert "A name is LABEL=WORD" in refused("train", "segvol", "--out", tmp_path / "run", f"--name={name}")


def test_what_cannot_be_begun_is_told_before_anything_is_written(refused, machine, pairs):
    arguments = ("train", "segvol", "--out", machine / "run")
    assert "give one of the two" in refused(*arguments)
    assert "should be a file with weights" in refused(*arguments, "--pairs", pairs, "--start", machine / "no")
    zoo.remove("segvol")
    assert "voxelsmith weights get segvol" in refused(*arguments, "--pairs", pairs)
    assert not (machine / "run").exists()
