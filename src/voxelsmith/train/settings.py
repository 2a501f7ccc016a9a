"""How a training runs: the numbers that every recipe shares.

Owns :class:`Settings`, its checks, the learning rate as a function of the step alone, and which of the numbers a
resumed training may change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from voxelsmith.core.errors import InputError

if TYPE_CHECKING:
    from voxelsmith.models.device import DeviceName, Precision


@dataclass(frozen=True)
class Settings:
    """The numbers of one training.

    Parameters
    ----------
    steps
        Optimiser steps in all. The learning rate falls along them, so a resumed training keeps their number.
    accumulate
        Samples per step; each has its own forward and backward pass, so their shapes may differ.
    learning_rate
        Highest learning rate of AdamW.
    warm_up
        Steps over which the learning rate rises from nearly zero.
    final_share
        Share of the learning rate that is left after the last step, reached along half a cosine.
    weight_decay
        Decay of the weights; vectors (biases, normalisation) do not decay.
    clip
        Largest norm of the gradient; 0 leaves it as it is.
    average
        Decay of the exponential moving average of the weights, reached gradually; 0 for none. Validation and the
        exported weights use the average.
    validate_every, checkpoint_every, log_every
        Steps between validations, checkpoints and rows of the history; each also happens after the last step.
    non_finite_limit
        Steps in a row whose loss or gradient is not finite after which the training stops.
    seed
        Fixes, with the step, all randomness of the loop.
    workers
        Processes that build samples; 0 builds them in this one. They are spawned, so the dataset must be picklable.
    max_seconds
        The training stops, with a checkpoint, at the first step that ends later than this; None for no limit.
    device
        Where to compute; "auto" takes CUDA, then MPS, then the CPU.
    precision
        "auto" computes in bfloat16 where the device has instructions for it (CUDA, some CPUs), else in float32. The
        weights are float32 always.
    channels_last
        Whether 5-D weights and tensors of samples lie in memory channel by channel (torch.channels_last_3d).

    Raises
    ------
    InputError
        If a number is outside what it may be.
    """

    # What may differ when a training is resumed: where, when and how often, but nothing that decides what is learned.
    free: ClassVar[frozenset[str]] = frozenset({"workers", "device", "max_seconds", "checkpoint_every"})

    steps: int
    accumulate: int = 1
    learning_rate: float = 1e-3
    warm_up: int = 0
    final_share: float = 0.01
    weight_decay: float = 1e-2
    clip: float = 1.0
    average: float = 0.999
    validate_every: int = 500
    checkpoint_every: int = 500
    log_every: int = 20
    non_finite_limit: int = 20
    seed: int = 0
    workers: int = 0
    max_seconds: float | None = None
    device: DeviceName = "auto"
    precision: Precision = "auto"
    channels_last: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "validate_every", "checkpoint_every", "log_every", "non_finite_limit"):
            if getattr(self, name) < 1:
                raise InputError(f"A training takes {name} of 1 or more, got {getattr(self, name)}.")
        for name in ("learning_rate", "warm_up", "final_share", "weight_decay", "clip", "seed", "workers"):
            value = getattr(self, name)
            if value < 0 or not math.isfinite(value):
                raise InputError(f"A training takes {name} of 0 or more, got {value}.")
        if not 0 <= self.average < 1:
            raise InputError(f"The decay of the averaged weights is at least 0 and below 1, got {self.average}.")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise InputError(f"The time limit of a training is above 0 seconds, got {self.max_seconds}.")

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0: a linear warm-up, then half a cosine."""
        if step < self.warm_up:
            return self.learning_rate * (step + 1) / self.warm_up
        along = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        share = self.final_share + (1 - self.final_share) * (1 + math.cos(math.pi * along)) / 2
        return self.learning_rate * share

    def require_same(self, earlier: Mapping[str, Any]) -> None:
        """Refuse to go on with a training that was begun with other settings, as :func:`dataclasses.asdict` gave them.

        Raises
        ------
        InputError
            If a setting that decides what is learned differs.
        """
        now = asdict(self)
        changed = [name for name in now if name not in self.free and now[name] != earlier.get(name)]
        if changed:
            was = ", ".join(f"{name} {earlier.get(name)}" for name in changed)
            told = ", ".join(f"{name} {now[name]}" for name in changed)
            raise InputError(
                f"The training was begun with {was} and cannot go on with {told}; "
                "resume with the earlier settings or train into another folder."
            )
