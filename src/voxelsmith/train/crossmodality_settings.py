"""How the tumour network's two trainings run: the network, the windows, and the numbers that every training has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from voxelsmith.core.errors import InputError
from voxelsmith.models.crossmodality import Architecture
from voxelsmith.train.settings import Settings

_FEWEST_AT_THE_BOTTOM = 3


@dataclass(frozen=True)
class CMFSettings(Settings):
    """As :class:`~voxelsmith.train.settings.Settings`, with the network and what it sees.

    Parameters
    ----------
    architecture
        The network.
    side
        Voxels of a window along each axis: a multiple of :attr:`Architecture.multiple`, and three of them at least.
    synthetic
        Share of made-up windows, where there are both patients and label maps.
    dropout
        Share of windows from which sequences are taken away.
    colour
        How much the brightness of real windows is changed, 0 to 1.
    transfer
        Whether the branches begin with what the generators learned.
    auxiliary
        Weight of the loss of each branch's own answer.
    paired, cycle, adversary
        Weights of the generators' terms: L1 against the pair itself (0: unpaired), L1 there and back again, and the
        judges' opinion. Cycles are quickest closed by copying, so they count little where pairs are known.
    """

    architecture: Architecture = field(default_factory=Architecture)
    side: int = 64
    synthetic: float = 0.4
    dropout: float = 0.3
    colour: float = 1.0
    transfer: bool = True
    auxiliary: float = 0.5
    paired: float = 10.0
    cycle: float = 1.0
    adversary: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        step = self.architecture.multiple
        if self.side % step or self.side < _FEWEST_AT_THE_BOTTOM * step:
            raise InputError(
                f"Windows of this network have sides of {_FEWEST_AT_THE_BOTTOM * step} voxels or more, in steps of "
                f"{step}, got {self.side}."
            )
        for name in ("synthetic", "dropout", "colour"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"A training takes {name} of 0 to 1, got {getattr(self, name)}.")
        for name in ("auxiliary", "paired", "cycle", "adversary"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"The weight {name} of a training is 0 or more, got {getattr(self, name)}.")


def fusion_settings(**overrides: Any) -> CMFSettings:
    """How the second stage is trained, with some numbers changed."""
    chosen: dict[str, Any] = {
        "steps": 2500,
        "learning_rate": 2e-3,
        "warm_up": 50,
        "average": 0.995,
        "validate_every": 500,
        "checkpoint_every": 250,
        "log_every": 50,
        "channels_last": True,
    }
    return CMFSettings(**{**chosen, **overrides})


def transition_settings(**overrides: Any) -> CMFSettings:
    """How the first stage is trained, with some numbers changed.

    The gradient is not clipped, so that generators and judges, which have one optimiser, do not touch each other.
    """
    chosen: dict[str, Any] = {
        "steps": 1000,
        "learning_rate": 1e-3,
        "warm_up": 50,
        "clip": 0.0,
        "colour": 0.2,
        "synthetic": 0.25,
        "average": 0.99,
        "validate_every": 250,
        "checkpoint_every": 250,
        "log_every": 50,
        "channels_last": True,
    }
    return CMFSettings(**{**chosen, **overrides})
