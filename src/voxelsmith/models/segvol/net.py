"""The whole of SegVol: image, prompts and text in, logits of the mask out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxelsmith.models.segvol.architecture import Architecture
from voxelsmith.models.segvol.image_encoder import ImageEncoder
from voxelsmith.models.segvol.mask_decoder import MaskDecoder
from voxelsmith.models.segvol.prompt_encoder import PromptEncoder
from voxelsmith.models.segvol.text_encoder import TextEncoder


class SegVolNet(nn.Module):
    """A view and prompts in; logits of the mask out.

    Parameters
    ----------
    architecture
        Its size; default that of the published weights.
    text
        Whether it has the text encoder; without it texts are given by their embeddings just the same.
    """

    def __init__(self, architecture: Architecture | None = None, *, text: bool = True) -> None:
        super().__init__()
        self.architecture = a = architecture or Architecture()
        self.image_encoder = ImageEncoder(a)
        self.prompt_encoder = PromptEncoder(a)
        self.mask_decoder = MaskDecoder(a)
        if text:
            self.text_encoder = TextEncoder(a)

    def encode(self, view: Tensor) -> Tensor:
        """Embedding of views: shape (B, tokens, width) of (B, 1, D, H, W), values in 0..1."""
        out: Tensor = self.image_encoder(view)
        return out

    def decode(
        self,
        embedding: Tensor,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        box: Tensor | None = None,
        text: Tensor | None = None,
    ) -> Tensor:
        """Logits of the masks that the prompts mean.

        Parameters
        ----------
        embedding
            From :meth:`encode`, shape (B or 1, tokens, width); that of one view serves all prompts.
        points, labels, box
            As for :class:`PromptEncoder`, with the batch B; None for those that are not given.
        text
            Embeddings, shape (B, width), from the text encoder; None for no text.

        Returns
        -------
        tensor, shape (B, 1, D, H, W)
        """
        coarse = self.decode_coarse(embedding, points=points, labels=labels, box=box, text=text)
        return functional.interpolate(coarse, size=self.architecture.view, mode="trilinear", align_corners=False)

    def decode_coarse(
        self,
        embedding: Tensor,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        box: Tensor | None = None,
        text: Tensor | None = None,
        masks: int = 1,
    ) -> Tensor:
        """As :meth:`decode`, at four times the grid: shape (B, masks, ...), the first of up to four masks."""
        prompts = self.prompts(points=points, labels=labels, box=box, text=text)
        image = embedding + self.prompt_encoder.no_mask()
        out: Tensor = self.mask_decoder(image, self.prompt_encoder.grid_features(), prompts, text, masks)
        return out

    def prompts(
        self,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        box: Tensor | None = None,
        text: Tensor | None = None,
    ) -> Tensor:
        """Tokens (B, T, width) of the prompts of :meth:`decode`, in the order of the published code."""
        placed: Tensor = self.prompt_encoder(points, labels, box)
        if text is None:
            return placed
        token = text[:, None].to(placed.dtype)
        return token if placed.shape[1] == 0 else torch.cat([placed, token], dim=1)
