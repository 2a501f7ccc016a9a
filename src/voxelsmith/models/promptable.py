"""The embedded promptable network.

Owns a compact residual 3-D U-Net (Ronneberger et al., MICCAI 2015; residual blocks as in Isensee et al., MICCAI 2024)
which corrects a first guess of the mask, as the R-Net of DeepIGeoS does (Wang et al., IEEE TPAMI 2019): its output is
added to the log-odds of the guess, and before any training it returns the guess itself. Most of its work happens at
half resolution, so that a pass stays affordable on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxelsmith.models.convolution import Conv3d

CHANNELS = ("image", "focus", "guess", "box", "positive", "negative")
"""What the channels of the input hold; see :mod:`voxelsmith.segment.prompted_region`."""

_GUESS = CHANNELS.index("guess")
_SURE = 0.01
# Larger than usual: windows of a few voxels are nearly uniform on coarse levels, and their gradients would explode.
_EPS = 1e-3


@dataclass(frozen=True)
class Architecture:
    """Size of the network.

    Parameters
    ----------
    widths
        Channels at each level, the finest first.
    stem
        How much coarser the finest level is than the input: 1 or 2.
    detail
        Channels of the last block at full resolution, when ``stem`` is 2.
    groups
        Groups of the normalisation.
    """

    widths: tuple[int, ...] = (16, 32, 64, 96)
    stem: int = 2
    detail: int = 4
    groups: int = 8


def _even(x: Tensor) -> Tensor:
    """Every axis of even length, by repeating the last voxel of odd ones."""
    odd = [n % 2 for n in x.shape[2:]]
    if not any(odd):
        return x
    wide = functional.pad(x, [0, odd[2], 0, odd[1], 0, odd[0]], mode="replicate")
    return wide.contiguous(memory_format=torch.channels_last_3d)


class _Block(nn.Module):
    """Two convolutions around which the input is carried on."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.first = Conv3d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(groups, width, eps=_EPS)
        self.second = Conv3d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(groups, width, eps=_EPS)
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        # oneDNN's bfloat16 gradient of the weights reads unset memory where the first axis has two voxels (torch 2.13).
        broken = x.device.type == "cpu" and x.shape[2] == 2
        enabled = torch.is_autocast_enabled(x.device.type) and not broken
        with torch.autocast(x.device.type, dtype=torch.get_autocast_dtype(x.device.type), enabled=enabled):
            x = x.float() if broken else x
            y = functional.relu(self.norm1(self.first(x)))
            out: Tensor = functional.relu(x + self.norm2(self.second(y)))
        return out


class PromptableNet(nn.Module):
    """Image, prompt maps and a guess in; logits of the mask out.

    Parameters
    ----------
    architecture
        Its size.
    """

    def __init__(self, architecture: Architecture | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or Architecture()
        inputs = len(CHANNELS)
        pairs = list(zip(a.widths[:-1], a.widths[1:], strict=True))
        kernel = 4 if a.stem == 2 else 3
        self.stem = Conv3d(inputs, a.widths[0], kernel, stride=a.stem, padding=1)
        self.encoder = nn.ModuleList(_Block(w, a.groups) for w in a.widths)
        self.down = nn.ModuleList(Conv3d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose3d(coarse, fine, 2, stride=2) for fine, coarse in reversed(pairs))
        self.decoder = nn.ModuleList(_Block(fine, a.groups) for fine, _ in reversed(pairs))
        last = a.widths[0]
        if a.stem == 2:
            self.to_full = nn.ConvTranspose3d(a.widths[0], a.detail, 2, stride=2)
            self.detail = Conv3d(a.detail + inputs, a.detail, 3, padding=1)
            last = a.detail
        self.head = Conv3d(last, 1, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Logits.

        Parameters
        ----------
        x : float tensor, shape (B, 6, I, J, K)
            The :data:`CHANNELS`, on any grid.

        Returns
        -------
        float32 tensor, shape (B, 1, I, J, K)
        """
        grid = x.shape[2:]
        if self.architecture.stem == 2:
            x = _even(x)
        x = x.contiguous(memory_format=torch.channels_last_3d)
        y = self.stem(x)
        passed = []
        for level, block in enumerate(self.encoder):
            y = block(y)
            if level < len(self.down):
                passed.append(y)
                y = self.down[level](_even(y))
        for up, block in zip(self.up, self.decoder, strict=True):
            fine = passed.pop()
            i, j, k = fine.shape[2:]
            y = block(up(y)[:, :, :i, :j, :k] + fine)
        if self.architecture.stem == 2:
            y = functional.relu(self.to_full(y))
            y = functional.relu(self.detail(torch.cat([y, x.to(y.dtype)], dim=1)))
        guess = x[:, _GUESS : _GUESS + 1].float().clamp(_SURE, 1 - _SURE)
        logits = torch.logit(guess) + self.head(y).float()
        answer: Tensor = logits[:, :, : grid[0], : grid[1], : grid[2]]
        return answer
