"""Several processes train one network: they learn from different samples, stay alike, and one of them writes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from blobs import BlobRecipe, Blobs

from voxelsmith.core.errors import InputError
from voxelsmith.train.checkpoint import load
from voxelsmith.train.history import read_history
from voxelsmith.train.ranks import Ranks, ranks
from voxelsmith.train.together import Together

SCRIPT = Path(__file__).with_name("ranks_script.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes left, started as torchrun starts them."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT, folder],
            env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return folder


@pytest.fixture(scope="module")
def left(folder):
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_all_have_the_same_weights_in_the_end_and_they_were_learned(left):
    first, second = left
    torch.testing.assert_close(first["straight"], second["straight"], rtol=0, atol=0)
    begun = BlobRecipe().model.state_dict()
    assert not torch.allclose(first["straight"]["0.weight"], begun["0.weight"], atol=1e-4)
    torch.testing.assert_close(first["straight"]["0.weight"], begun["0.weight"], rtol=0, atol=0.5)
    assert torch.equal(first["straight"]["spare.weight"], torch.ones(2))


def test_each_learns_from_samples_of_its_own(left):
    means = [float(torch.from_numpy(Blobs()[index]["image"]).mean()) for index in range(16)]
    assert left[0]["seen"] == means[0::2]
    assert left[1]["seen"] == means[1::2]


def test_one_run_folder_is_written_by_the_first(folder):
    assert sorted(path.name for path in (folder / "straight").iterdir()) == ["checkpoint.pt", "history.jsonl"]
    assert [row.step for row in read_history(folder / "straight")] == [1, 2, 3, 4]


def test_when_one_is_stopped_all_stop_and_go_on_as_if_nothing_had_happened(folder, left):
    assert [one["reached"] for one in left] == [2, 2]
    for one in left:
        torch.testing.assert_close(one["resumed"], one["straight"], rtol=0, atol=0)
    straight, resumed = (load(folder / name) for name in ("straight", "halted"))
    torch.testing.assert_close(straight.model, resumed.model, rtol=0, atol=0)
    torch.testing.assert_close(straight.model, left[0]["straight"], rtol=0, atol=0)
    losses = [[row.losses for row in read_history(folder / name)] for name in ("straight", "halted")]
    assert losses[0] == losses[1]


def test_a_process_that_torchrun_did_not_start_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert ranks() == Ranks(0, 1, 0)
    assert ranks().first
    together = Together(torch.device("cpu"))
    assert [together.any(True), together.any(False)] == [True, False]


@pytest.mark.parametrize(
    ("rank", "local", "said"),
    [("2", "0", "RANK=2"), ("x", "0", "RANK=x"), (None, "0", "RANK=None"), ("1", "-1", "=-1")],
)
def test_a_strange_environment_is_told(monkeypatch, rank, local, said):
    for name, value in {"RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": local}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=said):
        ranks()


def test_a_process_without_a_gpu_of_its_own_is_told(monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="a GPU of its own, but this machine has 1"):
        Together(torch.device("cuda"))
