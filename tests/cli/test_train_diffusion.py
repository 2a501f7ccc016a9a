"""``voxelsmith train diffusion``, ``predict --uncertainty``, and commands in one of several processes."""

import numpy as np
import pytest

from voxelsmith.cli import train, tvunet
from voxelsmith.io import read
from voxelsmith.train.ranks import Ranks

GRID = (32, 32, 8)
FAST = ("--width", 8, "--steps", 2, "--denoising", 2, "--samples", 2, "--slices", "k:1,3,5,7", "--device", "cpu")


@pytest.fixture
def painted(nifti):
    """Options that name an image with a bright ball in noise, and its labels."""
    i, j, k = np.indices(GRID)
    labels = ((i - 14) ** 2 + (j - 16) ** 2 + (3 * (k - 4)) ** 2 < 81).astype(np.uint8)
    image = np.random.default_rng(0).normal(0, 0.15, GRID) + labels
    return "--image", nifti(image.astype(np.float32)), "--labels", nifti(labels, "labels.nii.gz")


def test_it_trains_and_predicts_labels_with_their_uncertainty(command, painted, tmp_path):
    done = command("train", "diffusion", *painted, *FAST, "--out", tmp_path / "run", "--json")
    assert done.status == 0, done
    assert done.record["finished"]
    assert {"entropy", "overlap", "loss"} <= done.record["losses"].keys()
    files = "--out", tmp_path / "found.nii.gz", "--uncertainty", tmp_path / "unsure.nii.gz"
    told = command("predict", tmp_path / "run", painted[1], *files, "--device", "cpu", "--json")
    assert told.status == 0, told
    assert told.record["uncertainty"] == str(tmp_path / "unsure.nii.gz")
    unsure, image = read(tmp_path / "unsure.nii.gz"), read(painted[1])
    unsure.require_same_grid(image)
    values = np.asarray(unsure.array)
    assert values.dtype == np.float32
    assert 0 <= values.min() < values.max() <= 1
    # After two steps the network knows next to nothing.
    assert values.mean() > 0.5


def test_it_goes_on_where_it_stopped(command, refused, painted, tmp_path):
    arguments = ("train", "diffusion", *painted, *FAST, "--neighbours", 1, "--out", tmp_path / "run")
    assert "step 1 of 2" in command(*arguments, "--max-seconds", 1e-6).out
    assert "with samples 2 and cannot go on with samples 3" in refused(*arguments, "--resume", "--samples", 3)
    assert command(*arguments, "--resume", "--json").record["finished"]


def test_strange_numbers_are_told_before_anything_is_read(refused, tmp_path):
    arguments = ("--image", "no.nii", "--labels", "no.nii", "--out", tmp_path / "run")
    assert "multiple of 8, got 12" in refused("train", "diffusion", *arguments, "--width", 12)
    assert "divide 1000, got 7" in refused("train", "diffusion", *arguments, "--denoising", 7)


def test_of_several_processes_one_speaks_and_writes_the_model(command, painted, tmp_path, monkeypatch):
    for module in (train, tvunet):
        monkeypatch.setattr(module, "ranks", lambda: Ranks(1, 2))
    done = command("train", "diffusion", *painted, *FAST, "--out", tmp_path / "run", "--json")
    assert (done.status, done.out, done.err) == (0, "", "")
    assert not (tmp_path / "run" / "model.safetensors").exists()
