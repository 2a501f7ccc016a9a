"""A training breaks off, by a kill or a full disk: its last checkpoint loads, and resuming continues the curve."""

import resource
from contextlib import contextmanager
from dataclasses import replace

import pytest
from dying import killed_while_it_saves
from painted import request

from voxelsmith.core.errors import ResourceError
from voxelsmith.core.progress import run_job
from voxelsmith.jobs.process import ProcessJob
from voxelsmith.train.checkpoint import load
from voxelsmith.train.history import HISTORY, HistoryFile, Row, read_history
from voxelsmith.train.tvunet import run

STEPS = {"steps": 6, "checkpoint_every": 2}


@contextmanager
def no_room_beyond(count):
    """Files longer than this many bytes are refused, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def losses_of(folder):
    return [(row.step, row.losses, row.validation) for row in read_history(folder)]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The curve of a training that was left alone."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    run_job(run(request(folder, **STEPS)))
    return losses_of(folder)


def test_a_kill_while_a_checkpoint_is_written(tmp_path, straight):
    wanted = request(tmp_path / "run", **STEPS)
    with pytest.raises(ResourceError, match=r"SIGKILL.*resume it"):
        run_job(ProcessJob(killed_while_it_saves, wanted, 2).run())
    assert load(wanted.out).step == 2
    assert len(list(wanted.out.glob(".*"))) == 1
    run_job(run(replace(wanted, resume=True)))
    assert losses_of(wanted.out) == straight
    assert list(wanted.out.glob(".*")) == []


def test_a_full_disk_during_a_checkpoint(tmp_path, straight):
    wanted = request(tmp_path / "run", **STEPS)
    job = run(wanted)
    while next(job).done < 3:
        pass
    size = (wanted.out / "checkpoint.pt").stat().st_size
    with no_room_beyond(size // 2), pytest.raises(ResourceError, match=r"no room for .*checkpoint\.pt; free some"):
        run_job(job)
    assert load(wanted.out).step == 2
    assert sorted(file.name for file in wanted.out.iterdir()) == ["checkpoint.pt", "history.jsonl", "model.json"]
    run_job(run(replace(wanted, resume=True)))
    assert losses_of(wanted.out) == straight


def test_a_full_disk_during_a_row_of_the_history(tmp_path):
    log = HistoryFile(tmp_path, [])
    row = Row(1, {"loss": 1.0}, 1e-3, 1.0, 1.0, 1.0)
    log.append(row)
    before = (tmp_path / HISTORY).stat().st_size
    with no_room_beyond(before + 5), pytest.raises(ResourceError, match="no room for"):
        log.append(row)
    assert read_history(tmp_path) == (row,)
