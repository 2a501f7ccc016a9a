"""Attention: within windows of a map, to itself and to coarser maps.

Owns the blocks, layers and levels of the decoder. A coarser map asks: its voxels are the queries as they are, and keys
and values come from the finer map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxelsmith.models.convolution import Conv3d
from voxelsmith.models.dense import Linear
from voxelsmith.models.hvit.architecture import Architecture

_FIRST_SCALE = 1e-5
_WINDOWS = 2**15
"""At a time: CUDA's attention takes less than 2**16 (pytorch issue 142228)."""


def split(x: Tensor, patch: int) -> Tensor:
    """Windows, shape (B, i, j, k, patch**3, C), of a map of shape (B, i patch, j patch, k patch, C)."""
    b, i, j, k, c = x.shape
    x = x.reshape(b, i // patch, patch, j // patch, patch, k // patch, patch, c)
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(b, i // patch, j // patch, k // patch, patch**3, c)


def join(windows: Tensor, patch: int) -> Tensor:
    """The map that :func:`split` took apart."""
    b, i, j, k, _, c = windows.shape
    x = windows.reshape(b, i, j, k, patch, patch, patch, c).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(b, i * patch, j * patch, k * patch, c)


def resized(x: Tensor, grid: Sequence[int]) -> Tensor:
    """A map of shape (B, i, j, k, C) on another grid, trilinear."""
    if list(x.shape[1:4]) == list(grid):
        return x
    resampled = functional.interpolate(x.movedim(-1, 1), size=list(grid), mode="trilinear", align_corners=False)
    return resampled.movedim(1, -1)


def whole_windows(x: Tensor, patch: int) -> Tensor:
    """The map, shrunk to the next grid that windows fill."""
    return resized(x, [count // patch * patch for count in x.shape[1:4]])


def enclosing_queries(coarse: Tensor, grid: Sequence[int], heads: int) -> Tensor:
    """Queries of every fine window from the coarse window around it.

    Parameters
    ----------
    coarse
        Windows, shape (B, i', j', k', N, C).
    grid
        How many fine windows (i, j, k) there are.
    heads
        Among which the channels are dealt.

    Returns
    -------
    tensor, shape (B, i, j, k, heads, N, C / heads)
    """
    i, j, k = (
        torch.arange(fine, device=coarse.device) * count // fine
        for fine, count in zip(grid, coarse.shape[1:4], strict=True)
    )
    windows = coarse[:, i[:, None, None], j[:, None], k]
    return windows.reshape(*windows.shape[:-1], heads, -1).transpose(-3, -2)


def tiled_queries(coarse: Tensor, grid: Sequence[int], heads: int) -> Tensor:
    """As :func:`enclosing_queries`, in the published order of windows and channels."""
    b, _, _, _, tokens, channels = coarse.shape
    i, j, k = grid
    windows = coarse.reshape(-1, heads, tokens, channels // heads)
    turns = torch.arange(b * i * j * k, device=coarse.device) % len(windows)
    return windows[turns].reshape(b, i, j, k, *windows.shape[1:])


class Attention(nn.Module):
    """Multi-head attention within windows."""

    def __init__(self, architecture: Architecture, *, cross: bool) -> None:
        super().__init__()
        channels = architecture.fpn_channels
        self.heads, self.patch = architecture.heads, architecture.patch
        self.queries = tiled_queries if architecture.query_layout == "official" else enclosing_queries
        self.qkv = Linear(channels, (2 if cross else 3) * channels)
        self.proj = Linear(channels, channels)

    def forward(self, x: Tensor, query: Tensor | None) -> Tensor:
        """Attended map.

        Parameters
        ----------
        x
            Normalised map, shape (B, i, j, k, C).
        query
            The coarser map, shape (B, i', j', k', C); None for self-attention.

        Returns
        -------
        tensor, shape (B, i, j, k, C)
        """
        windows = split(whole_windows(x, self.patch), self.patch)
        parts = self.qkv(windows).reshape(*windows.shape[:-1], -1, self.heads, windows.shape[-1] // self.heads)
        *own, keys, values = parts.transpose(-4, -2).unbind(-3)
        if query is None:
            (queries,) = own
        else:
            coarse = split(whole_windows(query, self.patch), self.patch)
            queries = self.queries(coarse, windows.shape[1:4], self.heads)
        shares = (torch.split(part.flatten(0, 3), _WINDOWS) for part in (queries, keys, values))
        answers = [functional.scaled_dot_product_attention(*share) for share in zip(*shares, strict=True)]
        attended = torch.cat(answers).transpose(-3, -2).reshape(windows.shape)
        return resized(join(self.proj(attended), self.patch), x.shape[1:4])


class Perceptron(nn.Module):
    """Two linear layers, one voxel at a time."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.ModuleDict({"0": Linear(channels, hidden), "3": Linear(hidden, channels)})

    def forward(self, x: Tensor) -> Tensor:
        """Map of the shape of x, channels last."""
        out: Tensor = self.net["3"](functional.gelu(self.net["0"](x)))
        return out


class Block(nn.Module):
    """Attention and a perceptron, each added to what came in."""

    def __init__(self, architecture: Architecture, *, cross: bool) -> None:
        super().__init__()
        channels = architecture.fpn_channels
        self.gamma1 = nn.Parameter(torch.full((channels,), _FIRST_SCALE))
        self.gamma2 = nn.Parameter(torch.full((channels,), _FIRST_SCALE))
        self.norm1 = nn.LayerNorm(channels)
        self.attn = Attention(architecture, cross=cross)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Perceptron(channels, channels * architecture.mlp_ratio)

    def forward(self, x: Tensor, query: Tensor | None) -> Tensor:
        """Map of the shape of x, channels last; see :class:`Attention`."""
        x = x + self.gamma1 * self.attn(self.norm1(x), query)
        out: Tensor = x + self.gamma2 * self.mlp(self.norm2(x))
        return out


class Layer(nn.Module):
    """Blocks with one query, around which the input is carried on once more."""

    def __init__(self, architecture: Architecture, *, cross: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(architecture, cross=cross) for _ in range(architecture.depth))

    def forward(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """Map of the shape of x, (B, C, i, j, k); the query is a coarser map."""
        y = last = x.movedim(1, -1).contiguous()
        asked = None if query is None else query.movedim(1, -1)
        for block in self.blocks:
            y = block(y, asked)
        return (last + y).movedim(-1, 1)


class Embedding(nn.Module):
    """A convolution before attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = Conv3d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map of the shape of x."""
        out: Tensor = self.proj(x.contiguous())
        return out


class Level(nn.Module):
    """One level of the decoder: its map attends to itself, then is asked by the coarser maps in turn.

    Parameters
    ----------
    architecture
        Of the network.
    coarser
        How many levels are coarser; the coarsest of all does nothing.
    """

    def __init__(self, architecture: Architecture, coarser: int) -> None:
        super().__init__()
        count = min(coarser + 1, architecture.attended or coarser + 1) if coarser else 0
        self.patch_embed = nn.ModuleList(Embedding(architecture.fpn_channels) for _ in range(count))
        self.levels = nn.ModuleList(Layer(architecture, cross=index > 0) for index in range(count))

    def forward(self, x: Tensor, coarser: Sequence[Tensor]) -> Tensor:
        """Attended map of the shape of x, given the coarser ones, the next coarser first; shapes (B, C, ...)."""
        if not self.levels:
            return x
        embed = self.patch_embed[0]
        x = self.levels[0](embed(x))
        if len(self.levels) == 1:
            return x
        x = embed(x)
        for index in range(1, len(self.levels)):
            x = self.levels[index](x, self.patch_embed[index](coarser[index - 1]))
        return x
