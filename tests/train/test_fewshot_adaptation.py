"""Adapting an encoder to volumes without labels: it trains for as long as it may and leaves its weights."""

import pytest
import torch
from volumes import labelled, save

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import run_job
from voxelsmith.segment import episodic
from voxelsmith.segment.episodic_runs import read_episodic_run
from voxelsmith.train import fewshot
from voxelsmith.train.fewshot_adaptation import adapt


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Two steps on small slices, from random weights, on one thread."""
    whole = fewshot.settings
    few = {"steps": 2, "warm_up": 1, "side": 32, "device": "cpu", "validate_every": 2}
    monkeypatch.setattr(fewshot, "settings", lambda method, **given: whole(method, **few, **given))
    monkeypatch.setattr(fewshot, "_JUDGED", 1)
    monkeypatch.setattr(episodic, "find_spec", lambda name: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_folder_of_volumes_becomes_an_encoder(tmp_path):
    save(tmp_path / "images" / "0.nii.gz", labelled(0)[0])
    found = run_job(adapt(tmp_path / "images", tmp_path / "run", 600))
    assert found == tmp_path / "run" / episodic.WEIGHTS
    assert read_episodic_run(tmp_path / "run").method == "prototype"
    assert isinstance(episodic.load_network(found, "prototype"), torch.nn.Module)


def test_a_folder_without_volumes_is_told(tmp_path):
    with pytest.raises(InputError, match="volumes to adapt to"):
        run_job(adapt(tmp_path / "none", tmp_path / "run", 600))
