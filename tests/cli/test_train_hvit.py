"""``voxelsmith train hvit``: from a folder of images and labels to weights that a registration starts from."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import voxelsmith.train
from registration_pairs import blobs
from voxelsmith.core.errors import InputError
from voxelsmith.models.hvit import Architecture
from voxelsmith.register import learned
from voxelsmith.register.learned import load_network
from voxelsmith.train import hvit, hvit_settings
from voxelsmith.train.history import read_history

TINY = Architecture(start_channels=4, fpn_channels=8, num_stages=3, heads=2, refined=False, velocity_steps=3)


@pytest.fixture
def pairs(tmp_path, nifti, monkeypatch):
    """Ten small scans with labels, and a network and pairs to match."""
    monkeypatch.setattr(learned, "_MOST_VOXELS", 3000)
    monkeypatch.setattr(hvit_settings, "SMALL", TINY)
    monkeypatch.setattr(hvit, "_JUDGED", {"synthetic": 1, "real": 1})
    folder = tmp_path / "scans"
    folder.mkdir()
    image = blobs((22, 20, 18)).array
    for n, name in enumerate("abcdefghij"):
        moved = np.roll(image, n % 3, axis=0) + np.random.default_rng(n).normal(0, 1, image.shape).astype(np.float32)
        nifti(moved, f"scans/{name}_image.nii.gz")
        nifti(np.roll(image > 25, n % 3, axis=0).astype(np.int16), f"scans/{name}_label.nii.gz")
    return folder


def test_it_trains_goes_on_and_leaves_weights_that_a_registration_takes(command, pairs, tmp_path):
    arguments = ("train", "hvit", "--pairs", pairs, "--out", tmp_path / "run", "--steps", 3, "--device", "cpu")
    arguments += ("--displacement", "--full", "--similarity", "mse", "--query-layout", "official")
    stopped = command(*arguments, "--max-seconds", 1e-6, "--json")
    assert stopped.status == 0, stopped.err
    assert not stopped.record["finished"]
    done = command(*arguments, "--resume", "--json")
    assert done.status == 0, done.err
    assert (done.record["step"], done.record["finished"]) == (3, True)
    assert {"smoothness", "similarity", "overlap"} < set(read_history(tmp_path / "run")[-1].losses)
    network = load_network(tmp_path / "run").architecture
    assert (network.refined, network.velocity_steps, network.query_layout) == (True, 0, "official")
    images = (pairs / "a_image.nii.gz", pairs / "b_image.nii.gz")
    register = ("register", *images, "--preset", "fast", "--device", "cpu", "--json")
    for weights in (tmp_path / "run", done.record["weights"]):
        assert command(*register, "--out-dir", tmp_path / "out", "--weights", weights).status == 0


@pytest.fixture
def asked(monkeypatch):
    """Puts nothing in the place of the training; keeps what the command asked for."""
    seen = SimpleNamespace()

    def recipe(settings, data, split, pairs, start):
        seen.settings, seen.sources = settings, (data, split, pairs, start)
        raise InputError("Enough.")

    stub = SimpleNamespace(settings=hvit.settings, variant=hvit.variant, recipe=recipe)
    monkeypatch.setitem(sys.modules, "voxelsmith.train.hvit", stub)
    monkeypatch.setattr(voxelsmith.train, "hvit", stub, raising=False)
    return seen


def test_the_options_reach_the_trainer(refused, asked, tmp_path):
    refused("train", "hvit", "--out", tmp_path, "--data", "d", "--split", "s", "--pairs", "p", "--start", "w")
    assert [str(source) for source in asked.sources] == ["d", "s", "p", "w"]
    assert asked.settings == hvit.settings(device="auto", seed=0)
    refused("train", "hvit", "--out", tmp_path, "--smoothness", 2, "--dice-weight", 0, "--seed", 5, "--workers", 2)
    assert asked.sources == (None,) * 4
    assert asked.settings == hvit.settings(smoothness=2.0, dice_weight=0.0, seed=5, workers=2)


def test_wrong_use_is_told(refused, pairs, tmp_path):
    train = ("train", "hvit", "--out", tmp_path / "run")
    assert "give one of the two" in refused(*train)
    assert "smoothness of a training is 0 or more" in refused(*train, "--pairs", pairs, "--smoothness", -1)
    assert "'ncc'" in refused(*train, "--pairs", pairs, "--similarity", "ncc")
    assert not (tmp_path / "run").exists()
    images = (pairs / "a_image.nii.gz", pairs / "b_image.nii.gz", "--out-dir", tmp_path / "out")
    assert "there is none; name one" in refused("register", *images, "--weights", tmp_path / "nothing")
    assert "drop one of the two" in refused("register", *images, "--weights", tmp_path, "--rigid")
    assert not (tmp_path / "out" / "report.json").exists()
