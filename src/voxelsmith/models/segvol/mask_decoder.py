"""The mask decoder of SegVol: from tokens of image and prompts to logits at a quarter of the view's resolution.

The two transposed convolutions have kernels as large as their strides, so each is one matrix product; the order of the
voxels that it makes is put right once, on the final logits. The text acts twice: as a token, and by its similarity to
every voxel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxelsmith.models.dense import Linear, linear
from voxelsmith.models.segvol.architecture import Architecture
from voxelsmith.models.segvol.two_way import TwoWayTransformer

MASKS = 4
"""Masks that the weights can make; only the first was trained."""


class MaskDecoder(nn.Module):
    """Logits of the mask that the prompts mean."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.grid = a.grid
        width, middle, fine = a.width, a.width // 4, a.width // 8
        d, h, w = a.grid
        self.transformer = TwoWayTransformer(a)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(MASKS, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(width, middle, 2, stride=2),
            nn.LayerNorm((middle, 2 * d, 2 * h, 2 * w)),
            nn.GELU(),
            nn.ConvTranspose3d(middle, fine, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(_Perceptron(width, width, fine) for _ in range(MASKS))
        self.iou_prediction_head = _Perceptron(width, a.quality_hidden, MASKS)
        self.txt_align_upscaled_embedding = Linear(width, fine)

    def forward(
        self, image: Tensor, position: Tensor, prompts: Tensor, text: Tensor | None = None, masks: int = 1
    ) -> Tensor:
        """Logits, shape (B, masks, D / 4 * patch, ...): four cells along each axis for one of the grid.

        Parameters
        ----------
        image
            Tokens of the image with the dense prompt added, shape (B or 1, N, width).
        position
            Features of the cells of the grid, shape (1, N, width).
        prompts
            Tokens of the prompts, shape (B, T, width), that of the text included.
        text
            Embedding of the text, shape (B, width), for the similarity.
        masks
            How many of the four masks to make, from the first on.
        """
        tokens, keys = self.look(image, position, prompts)
        voxels = self.upscale(keys)
        kinds = [mlp(tokens[:, 1 + n]) for n, mlp in enumerate(self.output_hypernetworks_mlps[:masks])]
        weights = torch.stack(kinds, dim=1)
        if text is not None:
            weights = weights + self.txt_align_upscaled_embedding(text.to(voxels.dtype))[:, None]
        return self._in_order(voxels @ weights.to(voxels.dtype).transpose(1, 2))

    def look(self, image: Tensor, position: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens (B, 5 + T, width) of quality, masks and prompts, and those of the image, after the transformer."""
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(prompts), -1, -1), prompts.to(own.dtype)], dim=1)
        seen: tuple[Tensor, Tensor] = self.transformer(tokens, image, position)
        return seen

    def quality(self, tokens: Tensor) -> Tensor:
        """What the untrained head for the quality of the four masks says, shape (B, 4), of the tokens."""
        out: Tensor = self.iou_prediction_head(tokens[:, 0])
        return out

    def upscale(self, keys: Tensor) -> Tensor:
        """Voxels at four times the grid, each with its channels, from the image's tokens (B, N, width).

        Returns
        -------
        tensor, shape (B, voxels, width / 8)
            Ordered by the cell at twice the grid, then by the voxel in the cell.
        """
        first, first_bias, scale, shift, second, second_bias = self.output_upscaling.parameters()
        batch, (d, h, w) = len(keys), self.grid
        # (C, M, 2, 2, 2): the rows of the products are the channels of each voxel that a cell is divided into.
        x = linear(keys, first.flatten(1).t(), first_bias.repeat_interleave(8))
        x = x.reshape(batch, d, h, w, -1, 2, 2, 2).permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(batch, *scale.shape)
        x = functional.gelu(functional.layer_norm(x, scale.shape, scale, shift)).flatten(2).transpose(1, 2)
        x = linear(x, second.flatten(2).permute(2, 1, 0).flatten(0, 1), second_bias.repeat(8))
        return functional.gelu(x).reshape(batch, x.shape[1] * 8, -1)

    def _in_order(self, logits: Tensor) -> Tensor:
        d, h, w = (2 * n for n in self.grid)
        batch, _, masks = logits.shape
        cells = logits.reshape(batch, d, h, w, 2, 2, 2, masks).permute(0, 7, 1, 4, 2, 5, 3, 6)
        return cells.reshape(batch, masks, 2 * d, 2 * h, 2 * w)


class _Perceptron(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Linear(m, n) for m, n in ((width, hidden), (hidden, hidden), (hidden, out)))

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.layers
        out: Tensor = last(functional.relu(second(functional.relu(first(x)))))
        return out
