"""How the training of few-shot networks runs: the method, the episodes, and the numbers that every training has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from voxelsmith.core.errors import InputError
from voxelsmith.segment.episodic import METHODS, Method
from voxelsmith.train.settings import Settings


@dataclass(frozen=True)
class FewShotSettings(Settings):
    """As :class:`~voxelsmith.train.settings.Settings`, with the method and its episodes.

    Parameters
    ----------
    method
        "prototype" for the encoder of prototypes, "senet" or "film" for a conditional network.
    side
        Pixels of the longer side of a slice, a multiple of 16.
    batch
        Episodes of a sample.
    alignment
        Weight of the alignment of the support with the answer; of the encoder only.
    """

    method: Method = "prototype"
    side: int = 256
    batch: int = 2
    alignment: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in METHODS:
            raise InputError(f"A method is one of {', '.join(METHODS)}, got {self.method!r}.")
        if self.batch < 1:
            raise InputError(f"A sample has 1 episode or more, got {self.batch}.")
        if not 0 <= self.alignment < float("inf"):
            raise InputError(f"The weight of the alignment is 0 or more, got {self.alignment}.")


_OF_METHOD: dict[str, dict[str, Any]] = {
    "prototype": {"steps": 700, "learning_rate": 3e-4, "side": 256, "batch": 2},
    "senet": {"steps": 1500, "learning_rate": 1e-3, "side": 96, "batch": 4},
    "film": {"steps": 1500, "learning_rate": 1e-3, "side": 96, "batch": 4},
}


def settings(method: Method = "prototype", **overrides: Any) -> FewShotSettings:
    """How a network of this method is trained in about half an hour on one core, with some numbers changed."""
    if method not in METHODS:
        raise InputError(f"A method is one of {', '.join(METHODS)}, got {method!r}.")
    chosen: dict[str, Any] = {
        "warm_up": 50,
        "average": 0.98,
        "validate_every": 100,
        "checkpoint_every": 50,
        "log_every": 20,
        "precision": "float32",
    }
    return FewShotSettings(**{**chosen, **_OF_METHOD[method], **overrides, "method": method})
