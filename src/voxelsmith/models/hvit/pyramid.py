"""Pyramid: from images to maps at four scales.

Owns the convolutional encoder and the top-down path that carries what coarse stages saw to the finer maps (feature
pyramid network, Lin et al., CVPR 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from voxelsmith.models.convolution import Conv3d
from voxelsmith.models.hvit.architecture import LEVELS, Architecture


class Stage(nn.Module):
    """Two convolutions; the first may halve the grid."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self._block = nn.Sequential(
            Conv3d(inputs, width, 3, stride=stride, padding=1, bias=False),
            nn.InstanceNorm3d(width, affine=True),
            nn.ReLU(inplace=True),
            Conv3d(width, width, 3, padding=1, bias=False),
            nn.InstanceNorm3d(width, affine=True),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map, shape (B, width, ...), of one of shape (B, inputs, ...)."""
        out: Tensor = self._block(x)
        return out


def encoder(architecture: Architecture) -> nn.ModuleList:
    """The stages, the finest first: the input of the first holds the moving and the fixed image."""
    widths = architecture.widths
    first = Stage(2, widths[0], stride=1)
    return nn.ModuleList([first, *(Stage(fine, coarse, stride=2) for fine, coarse in pairwise(widths))])


class TopDown(nn.Module):
    """Maps of one width at every level, from those of the encoder."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        widths, stages = architecture.widths[1:], architecture.num_stages
        inner = [min(width, architecture.fpn_channels) for width in widths]
        pairs = list(pairwise(inner))
        self._lateral = nn.ModuleList(Conv3d(width, m, 1) for width, m in zip(widths, inner, strict=True))
        # Published checkpoints have all four, even where there are fewer stages; then the width counts from the end.
        self._out = nn.ModuleList(
            Conv3d(inner[level - stages], architecture.fpn_channels, 3, padding=1) for level in range(1, LEVELS + 1)
        )
        self._up = nn.ModuleList(nn.ConvTranspose3d(coarse, fine, 2, stride=2) for fine, coarse in reversed(pairs))

    def raw_maps(self, encoded: Sequence[Tensor]) -> list[Tensor]:
        """Maps of the levels at 1/2, 1/4, ..., shape (B, fpn_channels, ...), of what the stages saw, finest first."""
        sums = [lateral(x) for lateral, x in zip(self._lateral, encoded[1:], strict=True)]
        for step, up in enumerate(self._up):
            level = len(sums) - 2 - step
            sums[level] = sums[level] + up(sums[level + 1])
        return [out(x) for out, x in zip(self._out, sums, strict=False)]
