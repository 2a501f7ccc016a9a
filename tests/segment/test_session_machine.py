"""The session in any order of steps, against whole snapshots of prompts and labels."""

import numpy as np
import pytest
from cubes import GRID, Cubes, cubes, put
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from voxelsmith.core.errors import PromptError
from voxelsmith.core.prompts import Point
from voxelsmith.core.volume import Volume
from voxelsmith.segment.session import PromptSession


class SessionMachine(RuleBasedStateMachine):
    """The session against whole snapshots of prompts and labels."""

    def __init__(self):
        super().__init__()
        self.engine = Cubes()
        self.session = PromptSession(self.engine)
        self.session.set_image(Volume(np.zeros(GRID)))
        self.target = np.zeros(GRID, np.uint8)
        self.running = {}
        # (prompts by object, labels), the object that the step leading there was about, and the active object.
        self.states = [({}, self.target.copy())]
        self.about = []
        self.at = 0
        self.active = 1

    def push(self, prompts, labels, obj):
        self.states[self.at + 1 :] = [(prompts, labels)]
        self.about[self.at :] = [obj]
        self.at += 1

    def bring_up_to_date(self, obj):
        running = self.running.setdefault(obj, np.zeros(GRID, bool))
        put(running, self.session.refresh(obj))

    @rule(index=st.tuples(*[st.integers(0, n - 1) for n in GRID]), positive=st.booleans(), obj=st.integers(1, 3))
    def prompt(self, index, positive, obj):
        prompts, labels = self.states[self.at]
        clicks = [*prompts.get(obj, []), (index, positive)]
        self.push({**prompts, obj: clicks}, labels, obj)
        self.session.active = self.active = obj
        running = self.running.setdefault(obj, np.zeros(GRID, bool))
        if any(p for _, p in clicks):
            put(running, self.session.prompt(Point(index, positive)))
        else:
            self.session.add(Point(index, positive))
            self.bring_up_to_date(obj)

    @rule()
    def clear(self):
        prompts, labels = self.states[self.at]
        self.session.clear()
        if self.active in prompts:
            self.push({k: v for k, v in prompts.items() if k != self.active}, labels, self.active)
        self.bring_up_to_date(self.active)

    @rule(overwrite=st.booleans(), label=st.integers(1, 5))
    def commit(self, overwrite, label):
        prompts, labels = self.states[self.at]
        mask = cubes(prompts.get(self.active, []))
        taken = mask & (overwrite | (labels == 0))
        if not taken.any():
            with pytest.raises(PromptError):
                self.session.commit(self.target, label, overwrite=overwrite)
            return
        self.session.commit(self.target, label, overwrite=overwrite)
        self.push(prompts, np.where(taken, np.uint8(label), labels), self.active)
        assert self.session.active not in prompts
        self.active = self.session.active

    @precondition(lambda self: self.at > 0)
    @rule()
    def undo(self):
        self.at -= 1
        assert self.session.undo().obj == self.about[self.at]
        self.active = self.about[self.at]
        self.bring_up_to_date(self.active)

    @precondition(lambda self: self.at < len(self.about))
    @rule()
    def redo(self):
        step = self.session.redo()
        assert step.obj == self.about[self.at]
        self.at += 1
        self.active = self.session.active
        self.bring_up_to_date(step.obj)

    @invariant()
    def agrees(self):
        prompts, labels = self.states[self.at]
        np.testing.assert_array_equal(self.target, labels)
        assert self.session.active == self.active
        assert (self.session.can_undo, self.session.can_redo) == (self.at > 0, self.at < len(self.about))
        assert {
            o: [(p.voxel, p.positive) for p in v.points] for o, v in self.session.prompts.objects.items()
        } == prompts
        for obj in {*prompts, *self.running}:
            np.testing.assert_array_equal(self.session.mask(obj), cubes(prompts.get(obj, [])))
            if obj in self.running:
                np.testing.assert_array_equal(self.running[obj], self.session.mask(obj))

    def teardown(self):
        answered = self.engine.calls
        while self.session.undo():
            self.session.refresh()
        while self.session.redo():
            self.session.refresh()
        assert self.engine.calls == answered


SessionMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25)
TestAnyOrderOfSteps = SessionMachine.TestCase
