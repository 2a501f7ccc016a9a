"""The judge of a generator: which parts of a volume look acquired, and which made.

Owns a 3-D PatchGAN (Isola et al., CVPR 2017), a small convolutional network that answers for overlapping patches rather
than for the whole. Sizes are our own; those of cross-modality deep feature learning could not be read.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from voxelsmith.models.convolution import Conv3d

_SLOPE = 0.2
_EPS = 1e-4


class PatchGAN(nn.Module):
    """Volumes in, a score for each patch out.

    Parameters
    ----------
    inputs
        Channels of a volume.
    widths
        Channels after each halving of the resolution.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n, (fine, coarse) in enumerate(pairwise((inputs, *widths))):
            layers.append(Conv3d(fine, coarse, 4, stride=2, padding=1))
            layers += [nn.InstanceNorm3d(coarse, eps=_EPS, affine=True)] if n else []
            layers.append(nn.LeakyReLU(_SLOPE))
        self.layers = nn.Sequential(*layers, Conv3d(widths[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Scores, float32 (B, 1, X / 8, Y / 8, Z / 8) for three halvings, of volumes (B, inputs, X, Y, Z).

        They are pulled to 1 for acquired patches and to 0 for made ones.
        """
        scores: Tensor = self.layers(x).float()
        return scores
