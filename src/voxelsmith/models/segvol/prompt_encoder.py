"""The prompt encoder of SegVol: points and boxes as tokens (after Kirillov et al., ICCV 2023).

Positions are random Fourier features. Prompts are given as voxel indices (d, h, w), but the published weights were
trained with them divided by the extents (H, D, W), and with the cells of the grid in the order (h, d, w). Both are
kept, because the weights depend on them. Phases reach hundreds of radians, so they are always computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from voxelsmith.models.segvol.architecture import Architecture


class FourierFeatures(nn.Module):
    """Sines and cosines of random projections of a position in 0..1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.positional_encoding_gaussian_matrix: Tensor
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, width // 2))

    def forward(self, position: Tensor) -> Tensor:
        """Features (..., width), float32, of positions (..., 3)."""
        # A sum of products, because autocast would make a matrix product half as exact.
        projected = ((2 * position.float() - 1).unsqueeze(-1) * self.positional_encoding_gaussian_matrix).sum(-2)
        phase = 2 * math.pi * projected
        return torch.cat([phase.sin(), phase.cos()], dim=-1)

    def _apply(self, fn: Callable[..., Tensor], recurse: bool = True) -> FourierFeatures:
        exact = self.positional_encoding_gaussian_matrix
        change: Callable[..., FourierFeatures] = super()._apply
        change(fn, recurse)
        # A network that goes to half precision keeps this matrix exact.
        moved = self.positional_encoding_gaussian_matrix
        if moved.dtype != exact.dtype:
            self.positional_encoding_gaussian_matrix = exact.to(moved.device)
        return self


class PromptEncoder(nn.Module):
    """Tokens of points and boxes, and the features of the grid."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.grid = a.grid
        d, h, w = a.view
        self.extents = h, d, w
        self.pe_layer = FourierFeatures(a.width)
        # For points outside and inside, and the two corners of a box.
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, a.width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, a.width)
        self.no_mask_embed = nn.Embedding(1, a.width)
        self.mask_downscaling = _unused(a.width)
        self._features: tuple[Tensor, int, Tensor] | None = None

    def forward(self, points: Tensor | None, labels: Tensor | None, box: Tensor | None) -> Tensor:
        """Tokens of prompts; those that are not given have none.

        Parameters
        ----------
        points, labels
            Shapes (B, N, 3), voxel indices (d, h, w) of the view, and (B, N): 1 inside, 0 outside, -1 to be ignored.
        box
            Shape (B, 6): both corners, inclusive.

        Returns
        -------
        float tensor, shape (B, tokens, width)
            The points, one more to be ignored if there is no box, the corners of the box.
        """
        table = self.no_mask_embed.weight
        *outside_inside, low, high = self.point_embeddings.parameters()
        tokens = []
        if points is not None and labels is not None and points.shape[1]:
            if box is None:
                points = torch.cat([points, torch.zeros_like(points[:, :1])], dim=1)
                labels = torch.cat([labels, -torch.ones_like(labels[:, :1])], dim=1)
            kinds = torch.cat([self.not_a_point_embed.weight, *outside_inside])
            known = (labels >= 0).unsqueeze(-1)
            tokens.append(self._at(points) * known + kinds[labels.long() + 1])
        if box is not None:
            tokens.append(self._at(box.reshape(-1, 2, 3)) + torch.cat([low, high]))
        batch = next((len(p) for p in (points, box) if p is not None), 1)
        return torch.cat(tokens, dim=1).to(table.dtype) if tokens else table.new_zeros(batch, 0, table.shape[1])

    def _at(self, index: Tensor) -> Tensor:
        features: Tensor = self.pe_layer((index.float() + 0.5) / index.new_tensor(self.extents, dtype=torch.float32))
        return features

    def grid_features(self) -> Tensor:
        """Features (1, N, width) of the grid's cells, in the type of the weights; computed once."""
        matrix, dtype = self.pe_layer.positional_encoding_gaussian_matrix, self.no_mask_embed.weight.dtype
        if self._features is None or self._features[0] is not matrix or self._features[1] != matrix._version:
            # A training may use later what an inference computes now.
            with torch.inference_mode(False), torch.no_grad():
                axes = [(torch.arange(n, device=matrix.device) + 0.5) / n for n in self.grid]
                d, h, w = torch.meshgrid(*axes, indexing="ij")
                cells = torch.stack([h, d, w], dim=-1)
                features = self.pe_layer(cells).flatten(0, 2)[None]
            self._features = matrix, matrix._version, features
        return self._features[2].to(dtype)

    def no_mask(self) -> Tensor:
        """What is added to every token of the image when there is no earlier mask, shape (1, 1, width)."""
        table: Tensor = self.no_mask_embed.weight
        return table[None]


def _unused(width: int) -> nn.Sequential:
    """Parameters of the checkpoint that nothing reads: they were meant for masks of two dimensions."""
    first = (nn.Conv2d(1, 4, 2, 2), nn.GroupNorm(1, 4), nn.GELU())
    second = (nn.Conv2d(4, 16, 2, 2), nn.GroupNorm(1, 16), nn.GELU())
    return nn.Sequential(*first, *second, nn.Conv2d(16, width, 1)).requires_grad_(False)
