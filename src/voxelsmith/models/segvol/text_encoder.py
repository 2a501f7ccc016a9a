"""The text encoder of SegVol: the text tower of CLIP ViT-B/32 (Radford et al., ICML 2021) and a projection.

It is frozen and knows nothing of the image, so whoever keeps its answers need not keep it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxelsmith.models.dense import Linear
from voxelsmith.models.segvol.architecture import Architecture


class TextEncoder(nn.Module):
    """From word pieces to an embedding that the decoder understands."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        # The names of the parameters have this level between.
        self.clip_text_model = nn.ModuleDict({"text_model": _Tower(a)}).requires_grad_(False)
        self.dim_align = Linear(a.text_width, a.width)

    def forward(self, pieces: Tensor) -> Tensor:
        """Embeddings (B, width) of texts, given as for :meth:`pool`."""
        out: Tensor = self.dim_align(self.pool(pieces))
        return out

    def pool(self, pieces: Tensor) -> Tensor:
        """What the tower makes of texts, shape (B, text width).

        Parameters
        ----------
        pieces : int64 tensor, shape (B, L)
            Numbers of the word pieces. The first of the largest number ends a text; what follows is not read.
        """
        out: Tensor = self.clip_text_model["text_model"](pieces)
        return out


class _Embeddings(nn.Module):
    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(a.vocabulary, a.text_width)
        self.position_embedding = nn.Embedding(a.text_length, a.text_width)
        self.position_ids: Tensor
        self.register_buffer("position_ids", torch.arange(a.text_length)[None])

    def forward(self, pieces: Tensor) -> Tensor:
        out: Tensor = self.token_embedding(pieces) + self.position_embedding.weight[: pieces.shape[1]]
        return out


class _Tower(nn.Module):
    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.embeddings = _Embeddings(a)
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(_Layer(a) for _ in range(a.text_depth))})
        self.final_layer_norm = nn.LayerNorm(a.text_width)

    def forward(self, pieces: Tensor) -> Tensor:
        x = self.embeddings(pieces)
        for layer in self.encoder["layers"].children():
            x = layer(x)
        # Attention looks back only, so that what pads a text after its end changes nothing.
        ends = pieces.argmax(dim=-1)
        out: Tensor = self.final_layer_norm(x[torch.arange(len(x), device=x.device), ends])
        return out


class _Attention(nn.Module):
    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.heads = a.text_heads
        self.k_proj, self.v_proj = Linear(a.text_width, a.text_width), Linear(a.text_width, a.text_width)
        self.q_proj, self.out_proj = Linear(a.text_width, a.text_width), Linear(a.text_width, a.text_width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2))
        return out


class _Perceptron(nn.Module):
    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.fc1 = Linear(a.text_width, a.text_hidden)
        self.fc2 = Linear(a.text_hidden, a.text_width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        # CLIP's approximation of GELU.
        out: Tensor = self.fc2(x * torch.sigmoid(1.702 * x))
        return out


class _Layer(nn.Module):
    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.self_attn = _Attention(a)
        self.layer_norm1 = nn.LayerNorm(a.text_width)
        self.mlp = _Perceptron(a)
        self.layer_norm2 = nn.LayerNorm(a.text_width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out
