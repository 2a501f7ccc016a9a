"""How H-ViT's training runs: what is made small, the network, and the numbers that every training has."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from voxelsmith.core.errors import InputError
from voxelsmith.models.hvit.architecture import Architecture, Convention
from voxelsmith.register.similarity import lncc, mse
from voxelsmith.train.settings import Settings

SIMILARITIES = {"lncc": lncc, "mse": mse}
"""What makes images alike, by name."""

SMALL = Architecture(start_channels=16, fpn_channels=32, num_stages=4, heads=8, refined=False, velocity_steps=5)
"""A light variant that learns on a processor, and predicts velocities, so that nothing folds."""


def variant(*, velocity: bool = True, light: bool = True, query_layout: Convention = "aligned") -> Architecture:
    """The small network with other conventions; see :class:`voxelsmith.models.hvit.Architecture`."""
    return replace(SMALL, velocity_steps=SMALL.velocity_steps * velocity, refined=not light, query_layout=query_layout)


@dataclass(frozen=True)
class HViTSettings(Settings):
    """As :class:`~voxelsmith.train.settings.Settings`, with the network and its loss.

    Parameters
    ----------
    similarity
        By what warped and fixed image are compared: "lncc", correlation in windows (the NCC of the paper), or "mse", as
        the published code does.
    smoothness
        Weight of the diffusion regulariser.
    dice_weight
        Weight of one minus the soft Dice coefficient of labels; 0 leaves labels out.
    architecture
        The network.
    """

    similarity: Literal["lncc", "mse"] = "lncc"
    smoothness: float = 1.0
    dice_weight: float = 1.0
    architecture: Architecture = field(default=SMALL)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.similarity not in SIMILARITIES:
            raise InputError(f"A similarity is one of {', '.join(SIMILARITIES)}, got {self.similarity!r}.")
        for name in ("smoothness", "dice_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"The {name.replace('_', ' ')} of a training is 0 or more, got {getattr(self, name)}.")


def settings(**overrides: Any) -> HViTSettings:
    """How a small network is trained, with some numbers changed."""
    chosen: dict[str, Any] = {
        "steps": 4500,
        "learning_rate": 1.5e-3,
        "warm_up": 100,
        "weight_decay": 1e-4,
        "average": 0.995,
        "validate_every": 250,
        "checkpoint_every": 250,
        "log_every": 50,
        "precision": "float32",
    }
    return HViTSettings(**{**chosen, **overrides})
