"""The encoder of a prototype network that learns: feature maps in which a class is compact.

Owns a small 2-D network for the parameter-free head of :mod:`voxelsmith.models.prototype`: the trunk of
EfficientNet-Lite0, whose maps of all depths are brought to one grid, stacked as the frozen encoder stacks them, and
mixed by a matrix that begins as the identity. Before training it therefore says what the frozen encoder says. Beside it
the threshold of ADNet (Hansen et al., MedIA 2022) is learned.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from voxelsmith.models.efficientnet import CHANNELS, EfficientNetLite0
from voxelsmith.models.prototype import AnomalyThreshold, resized

STRIDE = 4
"""Pixels of a slice, along each side, to one position of the maps that training compares."""


class PrototypeEncoder(nn.Module):
    """Grey slices in, one stack of 192 channels out; 0.74 million parameters.

    Parameters
    ----------
    frozen_statistics
        Whether batch normalisation keeps the statistics that it was loaded with, as it should where a step sees a few
        slices only and the weights are not random.
    """

    def __init__(self, *, frozen_statistics: bool = True) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0()
        channels = sum(CHANNELS)
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)
        nn.init.dirac_(self.mix.weight)
        self.anomaly = AnomalyThreshold()
        self._frozen = frozen_statistics

    def train(self, mode: bool = True) -> PrototypeEncoder:
        """As of any module, but for statistics that are to stay."""
        super().train(mode)
        for module in self.modules():
            if self._frozen and isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, x: Tensor, grid: Sequence[int] | None = None) -> Tensor:
        """Features of slices.

        Parameters
        ----------
        x : float tensor, shape (B, 1, H, W)
            Brightness, 0 to 1.
        grid
            Height and width of the maps; None for a quarter of the slices'.

        Returns
        -------
        float tensor, shape (B, 192, *grid)
        """
        maps = self.trunk(x)
        size = maps[1].shape[2:] if grid is None else grid
        out: Tensor = self.mix(torch.cat([resized(part, size) for part in maps], 1))
        return out
