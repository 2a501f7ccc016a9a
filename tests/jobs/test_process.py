"""A job in a process of its own: what it says arrives, it obeys, and its death is a sentence."""

import os
import signal
import sys

import process_jobs as jobs
import pytest

from voxelsmith.core.errors import InputError, ResourceError
from voxelsmith.core.progress import Cancelled, run_job
from voxelsmith.jobs import process
from voxelsmith.jobs.process import ProcessJob
from voxelsmith.train.state import TrainingState as S


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def reports(job, until):
    """The reports of a running job up to one for which ``until`` holds."""
    for progress in job:
        yield progress
        if until(progress):
            return


def test_result_and_reports_arrive_and_none_is_lost_when_they_are_throttled():
    states, seen = [], []
    job = ProcessJob(jobs.count, 60, 0.005, on_state=states.append)
    job.send("too early to be heard")
    assert run_job(job.run(), seen.append) == []
    told = [p.partial.numbers for p in seen if p.partial is not None]
    assert [n for numbers in told for n in numbers] == list(range(60))
    assert len(told) < 30
    assert seen[-1].done == 59
    assert states == [S.preparing, S.training, S.stopped]
    assert job.state is S.stopped
    assert job.pid is None


def test_messages_reach_the_inbox():
    job = ProcessJob(jobs.count, 40, 0.02)
    running = job.run()
    next(reports(running, lambda p: p.done >= 1))
    for _ in reports(running, lambda p: p.done >= 5):
        pass
    job.send({"slice": 7})
    assert run_job(running) == [{"slice": 7}]


def test_a_pause_holds_it_and_it_goes_on_after_it():
    states = []
    job = ProcessJob(jobs.count, 400, 0.005, on_state=states.append)
    running = job.run()
    for _ in reports(running, lambda p: p.done >= 3):
        pass
    job.pause()
    for _ in reports(running, lambda p: job.state is S.paused):
        pass
    held = {next(running).done for _ in range(6)}
    assert len(held) == 1
    job.resume()
    for _ in reports(running, lambda p: p.done > max(held)):
        pass
    running.close()
    assert states == [S.preparing, S.training, S.paused, S.training, S.stopped]


@pytest.mark.parametrize("paused", [False, True])
def test_a_stop_closes_the_job_there(tmp_path, paused):
    job = ProcessJob(jobs.until_told, tmp_path)
    running = job.run()
    for _ in reports(running, lambda p: p.done >= 3):
        pass
    if paused:
        job.pause()
        for _ in reports(running, lambda p: job.state is S.paused):
            pass
    job.stop()
    assert job.state is S.stopping
    with pytest.raises(Cancelled):
        run_job(running)
    assert int((tmp_path / "closed").read_text()) >= 3
    assert job.state is S.stopped


def test_closing_the_generator_ends_the_process_and_closes_its_job(tmp_path):
    job = ProcessJob(jobs.until_told, tmp_path)
    running = job.run()
    for _ in reports(running, lambda p: p.done >= 1):
        pass
    pid = job.pid
    running.close()
    assert not alive(pid)
    assert (tmp_path / "closed").exists()


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (jobs.wrong, InputError, "^Expected one, got two; take one.$"),
        (jobs.hungry, ResourceError, "Memory ran out"),
        (jobs.broken, RuntimeError, "ZeroDivisionError"),
        (jobs.leave, ResourceError, r"broke off: .* \(exit code 3\).*resume it"),
        pytest.param(
            jobs.crash,
            ResourceError,
            "broke off: its process was ended from outside .SIGSEGV.",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="signals"),
        ),
    ],
)
def test_what_goes_wrong_there_is_raised_here(make, error, sentence):
    job = ProcessJob(make)
    with pytest.raises(error, match=sentence):
        run_job(job.run())
    assert job.state is S.failed


def test_a_kill_is_a_sentence(tmp_path):
    job = ProcessJob(jobs.until_told, tmp_path)
    running = job.run()
    for _ in reports(running, lambda p: p.done >= 1):
        pass
    os.kill(job.pid, signal.SIGKILL)
    with pytest.raises(ResourceError, match=r"SIGKILL.*memory runs out.*resume it"):
        run_job(running)


def test_a_step_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_STOP_S", 0.3)
    job = ProcessJob(jobs.stuck, tmp_path)
    running = job.run()
    for _ in reports(running, lambda p: (tmp_path / "stuck").exists()):
        pass
    pid = job.pid
    job.stop()
    with pytest.raises(Cancelled, match="last checkpoint stays"):
        run_job(running)
    assert not alive(pid)


def test_it_makes_room_for_a_window(monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert run_job(ProcessJob(jobs.environment).run()) == ("10000", min(19, os.nice(0) + 10))
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert run_job(ProcessJob(jobs.environment).run())[0] == "7"


def test_the_script_that_started_this_process_is_left_alone():
    main = sys.modules["__main__"]
    before = main.__dict__.copy()
    with process._without_main():
        assert not hasattr(main, "__file__")
    assert main.__dict__ == before
