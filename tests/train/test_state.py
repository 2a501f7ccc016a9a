"""The states of a training: which may follow which."""

import pytest

from voxelsmith.train.state import StateMachine, TrainingState

S = TrainingState
ALLOWED = {
    ("idle", "preparing"),
    ("preparing", "training"),
    ("preparing", "stopping"),
    ("preparing", "stopped"),
    ("preparing", "failed"),
    ("training", "paused"),
    ("training", "stopping"),
    ("training", "stopped"),
    ("training", "failed"),
    ("paused", "training"),
    ("paused", "stopping"),
    ("paused", "stopped"),
    ("paused", "failed"),
    ("stopping", "stopped"),
    ("stopping", "failed"),
    ("stopped", "preparing"),
    ("stopped", "idle"),
    ("failed", "preparing"),
    ("failed", "idle"),
}
WAYS = {
    S.idle: (),
    S.preparing: (S.preparing,),
    S.training: (S.preparing, S.training),
    S.paused: (S.preparing, S.training, S.paused),
    S.stopping: (S.preparing, S.stopping),
    S.stopped: (S.preparing, S.stopped),
    S.failed: (S.preparing, S.failed),
}


@pytest.mark.parametrize("before", S)
@pytest.mark.parametrize("after", S)
def test_every_pair_of_states(before, after):
    seen = []
    machine = StateMachine(seen.append)
    for state in WAYS[before]:
        machine.to(state)
    assert machine.state is before
    assert machine.may(after) == ((before, after) in ALLOWED)
    seen.clear()
    if machine.may(after):
        machine.to(after)
        assert (machine.state, seen) == (after, [after])
    else:
        with pytest.raises(ValueError, match=f"that is {before} cannot become {after}"):
            machine.to(after)
        assert (machine.state, seen) == (before, [])


def test_which_states_run():
    running = set()
    for state, way in WAYS.items():
        machine = StateMachine()
        for step in way:
            machine.to(step)
        if machine.running:
            running.add(state)
    assert running == {S.preparing, S.training, S.paused, S.stopping}
