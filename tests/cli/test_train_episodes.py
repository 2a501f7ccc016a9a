"""``voxelsmith train episodes``: from a folder of volumes to weights that the engine takes."""

import numpy as np
import pytest

from voxelsmith.models.conditional import SENet
from voxelsmith.segment.episodic import load_network
from voxelsmith.train import fewshot


@pytest.fixture
def scans(tmp_path, nifti, monkeypatch):
    """Five volumes without labels."""
    monkeypatch.setattr(fewshot, "_JUDGED", 1)
    (tmp_path / "scans").mkdir()
    for n in range(5):
        image = np.random.default_rng(n).normal(0, 4, (24, 22, 12)).astype(np.float32)
        image[6:16, 5:15, 2:10] += 100
        nifti(image, f"scans/{n}.nii.gz")
    return tmp_path / "scans"


def test_it_trains_goes_on_and_leaves_weights(command, scans, tmp_path):
    arguments = ("train", "episodes", "--images", scans, "--method", "senet", "--side", 32, "--steps", 3)
    arguments += ("--out", tmp_path / "run", "--device", "cpu", "--json")
    stopped = command(*arguments, "--max-seconds", 1e-6)
    assert stopped.status == 0, stopped.err
    assert not stopped.record["finished"]
    done = command(*arguments, "--resume")
    assert done.status == 0, done.err
    assert (done.record["step"], done.record["finished"]) == (3, True)
    assert isinstance(load_network(tmp_path / "run"), SENet)


def test_volumes_are_asked_for(command, tmp_path):
    failed = command("train", "episodes", "--out", tmp_path / "run")
    assert failed.status == 2
    assert "give one of the three" in failed.err
