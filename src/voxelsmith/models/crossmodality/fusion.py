"""The branch that fuses the features of both others under the guidance of their masks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxelsmith.core.regions import REGIONS
from voxelsmith.models.convolution import Conv3d
from voxelsmith.models.crossmodality.branch import Features, Unit


class FusionBranch(nn.Module):
    """The branch that fuses the last two maps of both branches, and their answers.

    With guidance, each map counts (1 + m) times, where m is the mean over the regions of the larger of both predicted
    probabilities: 0 in healthy tissue, 1 where all regions are.

    Parameters
    ----------
    width, detail
        Channels of the half and the full resolution.
    guided
        Whether the masks of the branches are looked at.
    """

    def __init__(self, width: int, detail: int, guided: bool) -> None:
        super().__init__()
        self.guided = guided
        self.mix_half = Unit((4 if guided else 2) * width, width)
        self.to_full = nn.ConvTranspose3d(width, detail, 2, stride=2)
        self.mix_full = Unit(3 * detail + (2 * len(REGIONS) if guided else 0), detail)
        self.out = Conv3d(detail, len(REGIONS), 1)

    def forward(self, features: tuple[Features, Features], logits: tuple[Tensor, Tensor]) -> Tensor:
        """Logits, shape (B, 3, X, Y, Z), from the features and the logits of both branches."""
        half, full = [one.half for one in features], [one.full for one in features]
        if self.guided:
            masks = [one.sigmoid() for one in logits]
            guide = 1 + torch.maximum(*masks).mean(1, keepdim=True)
            half += [functional.avg_pool3d(guide, 2) * one for one in half]
            full = [*(guide * one for one in full), *masks]
        y = self.to_full(self.mix_half(_joined(half)))
        y = self.mix_full(_joined([y, *full]))
        out: Tensor = self.out(y).float()
        return out


def _joined(parts: list[Tensor]) -> Tensor:
    """Channels of all parts, in the type of the first."""
    return torch.cat([part.to(parts[0].dtype) for part in parts], dim=1)
