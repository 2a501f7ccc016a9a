"""Running here: the result comes with a record of how it was made."""

import pytest

from voxelsmith.core.progress import Cancelled, Progress
from voxelsmith.jobs.local import run_here


def counting(steps):
    for n in range(steps):
        yield Progress(n, steps, f"step {n}")
    return steps


def test_the_record_names_what_was_done_to_which_data():
    seen = []
    done = run_here(counting(3), title="Counting", fingerprint="abc", on_progress=seen.append)
    assert (done.result, done.title, done.fingerprint) == (3, "Counting", "abc")
    assert [p.message for p in seen] == ["step 0", "step 1", "step 2"]
    assert done.seconds >= 0


def test_a_stopped_job_has_no_record():
    with pytest.raises(Cancelled):
        run_here(counting(3), title="Counting", on_progress=lambda progress: False)
