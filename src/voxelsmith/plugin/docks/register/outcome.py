"""Outcome: a finished registration, and the layers that it was computed from.

Owns the record that the dock hands from a run to the parts that show results, apply the transform, and tell numbers.
It holds no layer alive: a layer that was deleted meanwhile is None here.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

from voxelsmith.register.request import RegistrationRequest
from voxelsmith.register.result import RegistrationResult


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run gave.

    The live preview of the run is removed before an outcome is handed on, so whoever shows results adds the warped
    image anew.

    Parameters
    ----------
    result
        Transform, warped image, measures and notes.
    seconds
        How long the run took.
    complete
        False if the user stopped the run and kept the last finished level.
    fixed_ref, moving_ref
        Weak references to the Image layers; see :attr:`fixed_layer` and :attr:`moving_layer`.
    """

    result: RegistrationResult
    seconds: float
    complete: bool
    fixed_ref: weakref.ref[Any] = field(repr=False)
    moving_ref: weakref.ref[Any] = field(repr=False)

    @property
    def request(self) -> RegistrationRequest:
        """What was asked."""
        return self.result.request

    @property
    def fixed_name(self) -> str:
        """Name of the fixed layer when the run began."""
        return self.request.fixed.name

    @property
    def moving_name(self) -> str:
        """Name of the moving layer when the run began."""
        return self.request.moving.name

    @property
    def fixed_layer(self) -> Any:
        """The fixed Image layer, or None if it is gone."""
        return self.fixed_ref()

    @property
    def moving_layer(self) -> Any:
        """The moving Image layer, or None if it is gone."""
        return self.moving_ref()
