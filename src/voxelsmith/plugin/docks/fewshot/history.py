"""History: what the user did in the dock, to be taken back and done again.

Owns the two kinds of steps there are, a change of the support set and an acceptance of a proposal, and their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from voxelsmith.core.errors import StaleResultError
from voxelsmith.core.support import SupportSet
from voxelsmith.plugin.docks.prompt.targets import Accepted

_MOST = 100


class Step(Protocol):
    """Something that was done."""

    def undo(self) -> None:
        """Take it back."""

    def redo(self) -> None:
        """Do it again."""


@dataclass(frozen=True, eq=False)
class SupportStep:
    """A change of the support set; ``show`` makes a set the present one."""

    before: SupportSet
    after: SupportSet
    show: Callable[[SupportSet], None]

    def undo(self) -> None:
        """Go back to the set before."""
        self.show(self.before)

    def redo(self) -> None:
        """Go on to the set after."""
        self.show(self.after)


@dataclass(frozen=True, eq=False)
class AcceptStep:
    """What was accepted at once, a commit for each class; ``layers`` are those of the viewer."""

    accepted: tuple[Accepted, ...]
    layers: Any

    def undo(self) -> None:
        """Give the target its earlier values back."""
        self._require_reach()
        for one in reversed(self.accepted):
            one.commit.revert()
            one.show(False)

    def redo(self) -> None:
        """Write the labels again."""
        self._require_reach()
        for one in self.accepted:
            one.commit.apply()
            one.show(True)

    def _require_reach(self) -> None:
        for one in self.accepted:
            if not one.in_reach(self.layers):
                raise StaleResultError(
                    f"{one.layer.name!r} was removed or its data were replaced, so what was accepted into it cannot be "
                    "taken back or written again; undo the change of the layer first."
                )


class History:
    """Steps that were done, and those that were taken back."""

    def __init__(self) -> None:
        self._done: list[Step] = []
        self._undone: list[Step] = []

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to do again."""
        return bool(self._undone)

    def push(self, step: Step) -> None:
        """Remember a step that was just done."""
        self._done = [*self._done, step][-_MOST:]
        self._undone.clear()

    def undo(self) -> None:
        """Take the last step back; a step that cannot be taken back stays where it is."""
        self._done[-1].undo()
        self._undone.append(self._done.pop())

    def redo(self) -> None:
        """Do the last step again that was taken back."""
        self._undone[-1].redo()
        self._done.append(self._undone.pop())
