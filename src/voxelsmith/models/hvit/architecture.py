"""Architecture: the sizes and choices that the parts of H-ViT agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from voxelsmith.core.errors import InputError

LEVELS = 4
"""Maps that the decoder attends to: at 1/2, 1/4, 1/8 and 1/16 of the grid; fewer stages reach fewer of them."""

Convention = Literal["official", "aligned"]


@dataclass(frozen=True)
class Architecture:
    """Size and conventions of the network; the sizes are by default those of the published one at 160x192x224.

    Parameters
    ----------
    start_channels
        Channels of the finest stage of the encoder; each coarser one has twice as many.
    fpn_channels
        Channels of the maps that the decoder attends to; a multiple of ``heads``.
    num_stages
        Stages of the encoder, 2 to 5; the coarsest works at 1 / 2**(num_stages - 1) of the grid.
    patch
        Edge of the windows of the attention, in voxels of a map.
    heads, depth, mlp_ratio
        Attention heads, blocks of a layer, and how much wider than the maps the perceptrons are.
    attended
        Most maps that a level attends to, its own among them; 0 for all.
    refined
        Whether levels attend to coarser maps that the decoder has refined; without it this is the light variant.
    query_layout
        How queries come from coarser maps. "aligned": each head and window of a sample has those of the coarse window
        that encloses it. "official": as published, where heads mix channels with places, windows take turns in the
        order of memory, and the samples of a batch mix.
    sampling
        "aligned": a displacement of zero leaves the image as it is, and the border goes on. "official": as published,
        where it moves the faces by half a voxel and lets zeros in.
    velocity_steps
        0 when the network predicts the displacement; otherwise it predicts a stationary velocity, which that many
        steps of scaling and squaring turn into a displacement without folds.

    Raises
    ------
    InputError
        When sizes do not fit together or a convention is unknown.
    """

    start_channels: int = 32
    fpn_channels: int = 128
    num_stages: int = 5
    patch: int = 2
    heads: int = 32
    depth: int = 1
    mlp_ratio: int = 2
    attended: int = 0
    refined: bool = True
    query_layout: Convention = "aligned"
    sampling: Convention = "aligned"
    velocity_steps: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.num_stages <= LEVELS + 1:
            raise InputError(f"H-ViT has 2 to {LEVELS + 1} stages, got {self.num_stages}; choose another number.")
        if self.fpn_channels % self.heads:
            raise InputError(
                f"The channels of H-ViT are a multiple of its heads, got {self.fpn_channels} and {self.heads}."
            )
        for name in ("query_layout", "sampling"):
            if getattr(self, name) not in ("official", "aligned"):
                raise InputError(f"{name} of H-ViT is 'official' or 'aligned', got {getattr(self, name)!r}.")

    @property
    def widths(self) -> list[int]:
        """Channels of the stages, the finest first."""
        return [self.start_channels * 2**stage for stage in range(self.num_stages)]

    def padded(self, grid: Sequence[int]) -> list[int]:
        """The least grid not smaller than this one that the network can halve, with a window in its coarsest map."""
        step = 2 ** (self.num_stages - 1)
        return [max(-(-count // step), self.patch) * step for count in grid]
