"""Trained runs are listed and described without loading them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from painted import request

from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.core.progress import run_job
from voxelsmith.train import trained_runs as listing
from voxelsmith.train.trained_runs import (
    DESCRIPTION,
    home,
    load_model,
    look_also_in,
    read_trained_run,
    trained_runs,
)
from voxelsmith.train.tvunet import run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with two runs, the second one written later."""
    folder = tmp_path_factory.mktemp("runs")
    for number, name in enumerate(("first", "second")):
        run_job(run(request(folder / name, steps=1)))
        os.utime(folder / name / "checkpoint.pt", (1000 + number,) * 2)
    return folder


def test_runs_are_listed_the_latest_first(runs):
    found = trained_runs(runs)
    assert [one.name for one in found] == ["second", "first"]
    assert [one.changed for one in found] == [1001, 1000]
    assert found[0].recipe == "tvunet"
    assert found[0].plan == load_model(found[0].folder).plan
    assert found[0].description == "ball, rod · relative brightness · slices of 1 x 1 x 2 mm voxels"


def test_what_the_numbers_of_a_ct_mean_is_told(runs):
    record = json.loads((runs / "first" / DESCRIPTION).read_text())
    record["plan"]["normalisation"] = {"low": -100.0, "high": 200.0}
    ct = runs.parent / "ct"
    ct.mkdir(exist_ok=True)
    (ct / DESCRIPTION).write_text(json.dumps(record))
    (ct / "checkpoint.pt").write_bytes(b"")
    assert read_trained_run(ct).modality == "Hounsfield units"


def test_listing_loads_no_torch(runs):
    code = (
        "import sys; from pathlib import Path; from voxelsmith.train.trained_runs import trained_runs\n"
        f"assert len(trained_runs(Path({str(runs)!r}))) == 2; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_training_without_a_checkpoint_is_not_listed(runs, tmp_path):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / DESCRIPTION).write_text((runs / "first" / DESCRIPTION).read_text())
    assert trained_runs(tmp_path) == ()
    with pytest.raises(InputError, match="should be the folder of a run"):
        read_trained_run(tmp_path / "begun")
    assert trained_runs(tmp_path / "nowhere") == ()


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 7}', '{"version": 1, "recipe": "tvunet", "plan": {}}'])
def test_damaged_descriptions_are_told_and_left_out(runs, tmp_path, text):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "checkpoint.pt").write_bytes(b"")
    (tmp_path / "bad" / DESCRIPTION).write_text(text)
    with pytest.raises(FormatError, match="damaged or of another version"):
        read_trained_run(tmp_path / "bad")
    assert trained_runs(tmp_path) == ()


def test_a_second_folder_of_runs_is_looked_in_too(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "_others", [])
    monkeypatch.setenv("VOXELSMITH_RUNS", str(tmp_path / "home"))
    assert trained_runs() == ()
    look_also_in(runs)
    look_also_in(runs)
    assert [one.name for one in trained_runs()] == ["second", "first"]
    monkeypatch.setenv("VOXELSMITH_RUNS", str(runs))
    assert [one.name for one in trained_runs()] == ["second", "first"]
    assert trained_runs(tmp_path) == ()


def test_where_runs_lie(monkeypatch):
    monkeypatch.delenv("VOXELSMITH_RUNS", raising=False)
    assert home() == Path.home() / "voxelsmith-runs"
    monkeypatch.setenv("VOXELSMITH_RUNS", "~/mine")
    assert home() == Path.home() / "mine"
