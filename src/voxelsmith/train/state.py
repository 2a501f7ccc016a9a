"""The states of a training that a user watches, and which may follow which.

Owns :class:`TrainingState` and :class:`StateMachine`. The process that trains, the command line and the dock tell what
happened; what a button may do now is asked here.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class TrainingState(StrEnum):
    """What a training is doing."""

    idle = "idle"
    preparing = "preparing"
    training = "training"
    paused = "paused"
    stopping = "stopping"
    stopped = "stopped"
    failed = "failed"


_S = TrainingState
_NEXT = {
    _S.idle: {_S.preparing},
    _S.preparing: {_S.training, _S.stopping, _S.stopped, _S.failed},
    _S.training: {_S.paused, _S.stopping, _S.stopped, _S.failed},
    _S.paused: {_S.training, _S.stopping, _S.stopped, _S.failed},
    _S.stopping: {_S.stopped, _S.failed},
    _S.stopped: {_S.preparing, _S.idle},
    _S.failed: {_S.preparing, _S.idle},
}
_RUNNING = {_S.preparing, _S.training, _S.paused, _S.stopping}


class StateMachine:
    """The state of one training.

    Parameters
    ----------
    on_change
        Called with every new state, in the thread that brought it about.
    """

    def __init__(self, on_change: Callable[[TrainingState], None] | None = None) -> None:
        self._state = TrainingState.idle
        self._on_change = on_change

    @property
    def state(self) -> TrainingState:
        """The state now."""
        return self._state

    @property
    def running(self) -> bool:
        """Whether something is being computed, or waits to go on."""
        return self._state in _RUNNING

    def may(self, state: TrainingState) -> bool:
        """Whether ``state`` may follow."""
        return state in _NEXT[self._state]

    def to(self, state: TrainingState) -> None:
        """Go to another state; ValueError if it may not follow, which is a defect of the caller."""
        if not self.may(state):
            raise ValueError(f"A training that is {self._state} cannot become {state}.")
        self._state = state
        if self._on_change is not None:
            self._on_change(state)
