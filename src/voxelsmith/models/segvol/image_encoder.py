"""The image encoder of SegVol: a plain vision transformer (Dosovitskiy et al., ICLR 2021) on patches of a volume."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from voxelsmith.models.dense import Linear, attention
from voxelsmith.models.segvol.architecture import Architecture


class ImageEncoder(nn.Module):
    """From a view to its tokens."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.patch_embedding = _PatchEmbedding(a)
        self.blocks = nn.ModuleList(_Block(a) for _ in range(a.depth))
        self.norm = nn.LayerNorm(a.width)

    def forward(self, view: Tensor) -> Tensor:
        """Tokens (B, N, width) of views (B, 1, D, H, W), in the order of the grid, W fastest."""
        x = view
        for stage in self.stages():
            # Where it learns, only what goes into a stage is kept; the rest is computed again on the way back.
            x = checkpoint(stage, x, use_reentrant=False) if x.requires_grad else stage(x)
        return x

    def stages(self) -> list[nn.Module]:
        """What a view goes through, one after the other."""
        return [self.patch_embedding, *self.blocks, self.norm]


class _Patches(nn.Module):
    """Cut a view into patches and lay the voxels of each out in a row, W fastest."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.grid, self.patch = a.grid, a.patch

    def forward(self, view: Tensor) -> Tensor:
        (d, h, w), (p, q, r) = self.grid, self.patch
        cut = view.reshape(len(view), d, p, h, q, w, r)
        return cut.permute(0, 1, 3, 5, 2, 4, 6).reshape(len(view), d * h * w, p * q * r)


class _PatchEmbedding(nn.Module):
    def __init__(self, a: Architecture) -> None:
        super().__init__()
        p, q, r = a.patch
        self.patch_embeddings = nn.Sequential(_Patches(a), Linear(p * q * r, a.width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, a.tokens, a.width))
        nn.init.trunc_normal_(self.position_embeddings, std=0.02)

    def forward(self, view: Tensor) -> Tensor:
        out: Tensor = self.patch_embeddings(view) + self.position_embeddings
        return out


class _Attention(nn.Module):
    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.heads = a.heads
        self.qkv = Linear(a.width, 3 * a.width, bias=False)
        self.out_proj = Linear(a.width, a.width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out: Tensor = self.out_proj(attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class _Perceptron(nn.Module):
    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.linear1 = Linear(a.width, a.hidden)
        self.linear2 = Linear(a.hidden, a.width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear2(functional.gelu(self.linear1(x)))
        return out


class _Block(nn.Module):
    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(a.width)
        self.attn = _Attention(a)
        self.norm2 = nn.LayerNorm(a.width)
        self.mlp = _Perceptron(a)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out
