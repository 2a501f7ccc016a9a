"""The one shape of generators and of segmentation branches: an encoder and a decoder for a pair of sequences.

Owns its layers. Most of the work is done at half resolution, so that a brain takes seconds on a CPU; instances are
normalised one by one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from voxelsmith.models.convolution import Conv3d

_SLOPE = 0.01
_EPS = 1e-4


class Features(NamedTuple):
    """The last two maps of a branch: ``half`` the resolution (B, widths[0], ...), and ``full`` (B, detail, ...)."""

    half: Tensor
    full: Tensor


class _InstanceNorm(nn.InstanceNorm3d):
    """As :class:`torch.nn.InstanceNorm3d`, which refuses maps of a single voxel; that one is its own mean."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:].numel() > 1:
            return super().forward(x)
        alone: Tensor = torch.zeros_like(x) + self.bias.reshape(1, -1, 1, 1, 1)
        return alone


class Unit(nn.Sequential):
    """Convolution, instance normalisation, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        padding = 1 if kernel > stride else 0
        super().__init__(
            Conv3d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False),
            _InstanceNorm(outputs, eps=_EPS, affine=True),
            nn.LeakyReLU(_SLOPE, inplace=True),
        )


class _Block(nn.Module):
    """Two convolutions around which the input is carried on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = Unit(width, width), Unit(width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(self.first(x))
        return out


class Branch(nn.Module):
    """Encoder and decoder of a pair: a generator, a segmentation branch, or the plain network, by its ``outputs``.

    Parameters
    ----------
    modalities
        Number of sequences that it reads; each comes with a channel that says where it is known.
    outputs
        Channels of its last layer, the only one that differs between a generator and a branch.
    widths, detail
        As of :class:`Architecture`.
    """

    def __init__(self, modalities: int, outputs: int, widths: tuple[int, ...], detail: int) -> None:
        super().__init__()
        inputs = 2 * modalities
        pairs = list(pairwise(widths))
        self.stem = Unit(inputs, widths[0], kernel=4, stride=2)
        self.down = nn.ModuleList(Unit(fine, coarse, kernel=2, stride=2) for fine, coarse in pairs)
        self.encoder = nn.ModuleList(_Block(width) for width in widths)
        self.up = nn.ModuleList(nn.ConvTranspose3d(coarse, fine, 2, stride=2) for fine, coarse in reversed(pairs))
        self.decoder = nn.ModuleList(_Block(fine) for fine, _ in reversed(pairs))
        self.to_full = nn.ConvTranspose3d(widths[0], detail, 2, stride=2)
        self.last = Unit(detail + inputs, detail)
        self.out = Conv3d(detail, outputs, 1)

    def forward(self, x: Tensor, known: Tensor) -> tuple[Tensor, Features]:
        """Output and last features.

        Parameters
        ----------
        x : float tensor, shape (B, modalities, X, Y, Z)
            z-scored intensities, 0 where nothing is known.
        known : float tensor of the same shape
            1 in the brain for sequences that were acquired, else 0.

        Returns
        -------
        output : float32 tensor, shape (B, outputs, X, Y, Z)
        features
        """
        x = torch.cat([x, known], dim=1).contiguous(memory_format=torch.channels_last_3d)
        y = self.encoder[0](self.stem(x))
        passed = []
        for down, block in zip(self.down, self.encoder[1:], strict=True):
            passed.append(y)
            y = block(down(y))
        for up, block in zip(self.up, self.decoder, strict=True):
            y = block(up(y) + passed.pop())
        full = self.last(torch.cat([self.to_full(y), x.to(y.dtype)], dim=1))
        return self.out(full).float(), Features(y, full)
