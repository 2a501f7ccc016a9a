"""How SegVol's training runs: the published numbers, and the published schedule of the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from voxelsmith.train.settings import Settings


@dataclass(frozen=True)
class SegVolSettings(Settings):
    """As :class:`~voxelsmith.train.settings.Settings`, with the published schedule, told in steps for epochs."""

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        return published_rate(step, self.learning_rate, self.warm_up, self.steps)


def published_rate(epoch: int, highest: float = 1e-4, warm_up: int = 10, epochs: int = 500) -> float:
    """Learning rate of an epoch, counted from 0: up from 0 in a line, then down to nearly 0 along half a cosine."""
    if epoch < warm_up:
        return highest * epoch / max(1, warm_up - 1)
    return highest * (1 + math.cos(math.pi * (epoch - warm_up) / max(1, epochs - warm_up))) / 2


def settings(**overrides: Any) -> SegVolSettings:
    """How the published network was trained, in fewer steps, with some numbers changed."""
    chosen: dict[str, Any] = {
        "steps": 2000,
        "accumulate": 4,
        "learning_rate": 1e-4,
        "warm_up": 40,
        "weight_decay": 1e-5,
        "clip": 0.0,
        "average": 0.0,
        "validate_every": 250,
        "checkpoint_every": 250,
        "log_every": 10,
        "workers": 1,
    }
    return SegVolSettings(**{**chosen, **overrides})
