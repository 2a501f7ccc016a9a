"""How TV-Unet's training runs: the numbers that it adds to those of every training, and the published ones.

Owns :class:`TVUnetSettings`, the default choice and the choice that is true to the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from voxelsmith.core.errors import InputError
from voxelsmith.segment.plan import Dims
from voxelsmith.train.settings import Settings


@dataclass(frozen=True)
class TVUnetSettings(Settings):
    """As :class:`~voxelsmith.train.settings.Settings`, and:

    Parameters
    ----------
    dims
        "2d" learns slices, "2.5d" slices with their neighbours as channels, "3d" blocks.
    width
        Channels of the finest level: 16 and 32 are usual, 64 as published; None for 16 on a CPU, 32 elsewhere.
    norm, dropout
        As for :class:`~voxelsmith.models.unet.Architecture`.
    wide_up
        As published, transposed convolutions with kernels of 3.
    side
        Most pixels along a side of a slice, which is averaged down to them; None for 192 on a CPU, 384 elsewhere.
    patch
        Pixels along the sides of a sample, a multiple of 16.
    depth
        Slices in a block, for "3d".
    neighbours
        Slices on each side that are channels, for "2.5d".
    coordinates
        Whether the network is told where a voxel lies; good for one volume, bad for others that show another part.
    batch
        Patches in a sample.
    activation
        "softmax": classes compete; "sigmoid": each by itself.
    overlap
        Weight of the Dice loss beside the cross-entropy.
    variation
        Weight of the total variation of the foreground's probabilities, 0 to 0.5 as a rule; 0 for a plain U-Net.
    variation_wait
        Steps before it counts; over as many again it grows to its weight, since it would empty the masks of a network
        that knows nothing yet.
    rounding, edge
        As for :func:`~voxelsmith.train.losses.total_variation`; the guide is the image.
    centre_line, boundary
        Weights of the losses for tubes and for small lesions; they grow as the variation does.
    augmented
        Whether samples are changed at random.
    flips
        Which axes of a sample may be flipped, 0 the first of a slice (or of a block); anatomy seldom allows any.
    spare
        Whether some annotated slices are kept apart to judge by, where there are enough.
    preview_seconds
        Time between two previews.
    """

    free: ClassVar[frozenset[str]] = Settings.free | {"preview_seconds"}
    recipe: ClassVar[str] = "tvunet"

    dims: Dims = "2d"
    width: int | None = None
    norm: Literal["instance", "batch"] = "instance"
    dropout: float = 0.0
    wide_up: bool = False
    side: int | None = None
    patch: int = 128
    depth: int = 16
    neighbours: int = 1
    coordinates: bool = False
    batch: int = 4
    activation: Literal["softmax", "sigmoid"] = "softmax"
    overlap: float = 1.0
    variation: float = 0.03
    variation_wait: int = 50
    rounding: float = 0.0
    edge: float = 0.0
    centre_line: float = 0.0
    boundary: float = 0.0
    augmented: bool = True
    flips: tuple[int, ...] = ()
    spare: bool = True
    preview_seconds: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("overlap", "variation", "rounding", "edge", "centre_line", "boundary", "variation_wait"):
            value = getattr(self, name)
            if value < 0 or not math.isfinite(value):
                raise InputError(f"TV-Unet takes {name} of 0 or more, got {value}.")
        for name in ("patch", "depth", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"TV-Unet takes {name} of 1 or more, got {getattr(self, name)}.")
        if self.patch % 16 or self.patch < 32:
            raise InputError(f"The patch is a multiple of 16 and at least 32 pixels, got {self.patch}; take 128.")
        if self.workers:
            raise InputError(f"TV-Unet builds its samples in its own process; leave workers at 0, got {self.workers}.")
        spatial = 3 if self.dims == "3d" else 2
        if any(axis not in range(spatial) for axis in self.flips):
            raise InputError(f"A sample has the axes 0 to {spatial - 1}, got flips along {list(self.flips)}.")

    def growth(self, step: int) -> float:
        """Share of the weights of variation, centre lines and boundaries at a step, 0 to 1."""
        if not self.variation_wait:
            return 1.0
        return min(max(step / self.variation_wait - 1, 0.0), 1.0)


def settings(**overrides: Any) -> TVUnetSettings:
    """How a network is trained in the application, with some numbers changed."""
    chosen: dict[str, Any] = {
        "steps": 2000,
        "learning_rate": 2e-3,
        "warm_up": 10,
        "weight_decay": 1e-4,
        "average": 0.98,
        "validate_every": 25,
        "checkpoint_every": 50,
        "log_every": 5,
    }
    return TVUnetSettings(**{**chosen, **overrides})


def paper_literal(**overrides: Any) -> TVUnetSettings:
    """As published, for reproduction: its total variation, of weight 2.4e-7 in the mean form, hardly acts.

    Width 64, binary cross-entropy of both channels without Dice, Adam at 1e-3, batches of 32, patches of 128, nothing
    changed at random. The published resizing of slices to 128 pixels is ``side``.
    """
    chosen: dict[str, Any] = {
        "width": 64,
        "norm": "batch",
        "dropout": 0.2,
        "wide_up": True,
        "activation": "sigmoid",
        "overlap": 0.0,
        "variation": 2.4e-7,
        "variation_wait": 0,
        "learning_rate": 1e-3,
        "warm_up": 0,
        "final_share": 1.0,
        "weight_decay": 0.0,
        "average": 0.0,
        "clip": 0.0,
        "batch": 32,
        "side": 128,
        "augmented": False,
    }
    return settings(**{**chosen, **overrides})
