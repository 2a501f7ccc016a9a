"""The two-way transformer of SegVol: prompts read the image, and the image reads the prompts.

After Kirillov et al., ICCV 2023. One image may serve several sets of prompts: its tokens stay a batch of one until the
prompts have changed them.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from voxelsmith.models.dense import Linear, attention
from voxelsmith.models.segvol.architecture import Architecture


class TwoWayTransformer(nn.Module):
    """Tokens and image, each as seen in the light of the other."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_TwoWayLayer(a, first=n == 0) for n in range(2))
        self.final_attn_token_to_image = _Attention(a, a.width // 2)
        self.norm_final_attn = nn.LayerNorm(a.width)

    def forward(self, tokens: Tensor, image: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """New tokens (B, T, width) and a new image (B, N, width).

        Parameters
        ----------
        tokens
            Shape (B, T, width).
        image
            Shape (B or 1, N, width).
        position
            Features of the cells of the image's grid, shape (1, N, width).
        """
        queries, keys = tokens, image
        for layer in self.layers:
            queries, keys = layer(queries, keys, tokens, position)
        queries = queries + self.final_attn_token_to_image(queries + tokens, keys + position, keys)
        return self.norm_final_attn(queries), keys


class _Attention(nn.Module):
    """Attention whose inner width may be smaller than that of the tokens."""

    def __init__(self, a: Architecture, inner: int) -> None:
        super().__init__()
        self.heads = a.decoder_heads
        self.q_proj = Linear(a.width, inner)
        self.k_proj = Linear(a.width, inner)
        self.v_proj = Linear(a.width, inner)
        self.out_proj = Linear(inner, a.width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        out: Tensor = self.out_proj(attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class _Perceptron(nn.Module):
    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.lin1 = Linear(a.width, a.decoder_hidden)
        self.lin2 = Linear(a.decoder_hidden, a.width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lin2(functional.relu(self.lin1(x)))
        return out


class _TwoWayLayer(nn.Module):
    def __init__(self, a: Architecture, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = _Attention(a, a.width)
        self.norm1 = nn.LayerNorm(a.width)
        self.cross_attn_token_to_image = _Attention(a, a.width // 2)
        self.norm2 = nn.LayerNorm(a.width)
        self.mlp = _Perceptron(a)
        self.norm3 = nn.LayerNorm(a.width)
        self.cross_attn_image_to_token = _Attention(a, a.width // 2)
        self.norm4 = nn.LayerNorm(a.width)

    def forward(self, queries: Tensor, keys: Tensor, tokens: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:
            # The queries are the tokens themselves still.
            queries = self.self_attn(queries, queries, queries)
        else:
            seen = queries + tokens
            queries = queries + self.self_attn(seen, seen, queries)
        queries = self.norm1(queries)
        where = keys + position
        queries = self.norm2(queries + self.cross_attn_token_to_image(queries + tokens, where, keys))
        queries = self.norm3(queries + self.mlp(queries))
        keys = self.norm4(keys + self.cross_attn_image_to_token(where, queries + tokens, queries))
        return queries, keys
