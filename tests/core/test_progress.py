"""Jobs: driven to their end, stopped, and closed whatever happens."""

import pytest

from voxelsmith.core.progress import Cancelled, Progress, run_job


class Recorder:
    """A job that notes whether it could clean up."""

    def __init__(self, steps=3, error=None):
        self.steps, self.error, self.closed = steps, error, False

    def job(self):
        try:
            for n in range(self.steps):
                yield Progress(n, self.steps)
            if self.error is not None:
                raise self.error
            return "done"
        finally:
            self.closed = True


def test_a_job_returns_its_result_and_reports_every_step():
    recorder, seen = Recorder(), []
    assert run_job(recorder.job(), seen.append) == "done"
    assert [p.done for p in seen] == [0, 1, 2]
    assert recorder.closed


def test_a_job_without_steps_and_without_a_listener():
    assert run_job(Recorder(steps=0).job()) == "done"


def test_false_stops_the_job_at_that_report():
    recorder, seen = Recorder(), []

    def stop_at_one(progress):
        seen.append(progress.done)
        return progress.done < 1

    with pytest.raises(Cancelled):
        run_job(recorder.job(), stop_at_one)
    assert seen == [0, 1]
    assert recorder.closed


@pytest.mark.parametrize("where", ["job", "listener"])
def test_errors_come_through_and_the_job_is_closed(where):
    error = ValueError("broken")
    recorder = Recorder(error=error if where == "job" else None)

    def listener(progress):
        if where == "listener":
            raise error

    with pytest.raises(ValueError, match="broken"):
        run_job(recorder.job(), listener)
    assert recorder.closed


@pytest.mark.parametrize(("done", "total", "fraction"), [(0, 4, 0.0), (3, 4, 0.75), (5, 4, 1.0), (2, 0, None)])
def test_the_share_finished(done, total, fraction):
    assert Progress(done, total).fraction == fraction
