"""Size and kind of the tumour network, and what its channels hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

MODALITIES = ("t1", "t1c", "t2", "flair")
"""Channels of the four-channel form: the pair A = T1 and T1c, and the pair B = T2 and FLAIR."""

TWO = ("t1c", "flair")
"""Channels of the two-channel form: A = T1c, B = FLAIR."""

WINDOW = 176
"""Most voxels along each side of the windows in which a large volume is answered.

Brains at 1 mm mostly fit into one. Instances are best normalised over all of it; smaller windows were measured worse.
"""

Fusion = Literal["guided", "plain", "mean", "concatenation"]


@dataclass(frozen=True)
class Architecture:
    """Size and kind of the network.

    Parameters
    ----------
    modalities
        Channels of the input; the first half is pair A, the second half pair B.
    widths
        Channels at strides 2, 4, 8 and so on.
    detail
        Channels at full resolution.
    fusion
        "guided": features of both branches are fused, weighted by the masks that the branches predict. "plain": fused
        without their masks. "mean": the mean of both answers. "concatenation": one network that gets all sequences at
        once, no branches.
    """

    modalities: tuple[str, ...] = MODALITIES
    widths: tuple[int, ...] = (16, 32, 64, 64)
    detail: int = 8
    fusion: Fusion = "guided"

    @property
    def multiple(self) -> int:
        """What the sides of an input are multiples of."""
        return int(2 ** len(self.widths))

    @property
    def pair(self) -> int:
        """Modalities of a pair."""
        return len(self.modalities) // 2

    def record(self) -> dict[str, Any]:
        """Plain values, as a checkpoint or JSON holds them."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Architecture:
        """From what :meth:`record` gave, also by way of JSON, which knows no tuples."""
        return cls(**{**record, "modalities": tuple(record["modalities"]), "widths": tuple(record["widths"])})


def equal_size(architecture: Architecture) -> tuple[tuple[int, ...], int]:
    """Widths and detail of a plain network with as many parameters as both branches: those of a branch times 2**0.5."""
    return tuple(round(width * 2**0.5 / 2) * 2 for width in architecture.widths), round(architecture.detail * 2**0.5)
