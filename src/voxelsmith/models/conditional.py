"""Conditional networks: one arm reads the annotated slices and tells the other how to segment the query.

Owns SE-Net (Roy et al., Medical Image Analysis 59, 2020), whose conditioner emits one spatial squeeze-and-excitation
map for every block of the segmentor, and a variant with feature-wise modulation (FiLM, Perez et al., AAAI 2018), whose
pooled embedding of the support knows no places, so that support and query need not lie alike. Both segment one class in
2-D slices; several shots are averaged in what they emit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxelsmith.models.prototype import masked_average

STRIDE = 16
"""Slices have sides that are multiples of this."""

_LEVELS = 4
_BLOCKS = 2 * _LEVELS + 1
_KERNEL = 5
_CONDITIONER, _SEGMENTOR = 16, 64
_EMBEDDED = 64


class _Block(nn.Module):
    """A convolution of 5 x 5, batch normalisation and PReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, _KERNEL, padding=_KERNEL // 2)
        self.norm = nn.BatchNorm2d(outputs)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out


class Arm(nn.Module):
    """Encoder of four levels, bottleneck and decoder with max-unpooling; the coarsest level alone is carried across.

    Parameters
    ----------
    inputs
        Channels of the input.
    width
        Channels of every block.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(_Block(inputs if n == 0 else width, width) for n in range(_LEVELS))
        self.bottleneck = _Block(width, width)
        self.decoder = nn.ModuleList(_Block(2 * width if n == 0 else width, width) for n in range(_LEVELS))

    def forward(self, x: Tensor, condition: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Outputs of the nine blocks, encoder first.

        Parameters
        ----------
        x : float tensor, shape (B, inputs, H, W)
            H and W are multiples of 16.
        condition : nine float tensors, shapes (B, width or 1, h, w) or (B, 2 width, 1, 1), optional
            Maps by which each block's output is multiplied; with twice the width, factors and summands of FiLM.
        """
        outputs: list[Tensor] = []
        places: list[Tensor] = []

        def conditioned(y: Tensor) -> Tensor:
            if condition is not None:
                y = _modulated(y, condition[len(outputs)])
            outputs.append(y)
            return y

        for block in self.encoder:
            x, place = functional.max_pool2d(conditioned(block(x)), 2, return_indices=True)
            places.append(place)
        x = conditioned(self.bottleneck(x))
        for n, block in enumerate(self.decoder):
            x = functional.max_unpool2d(x, places.pop(), [2, 2])
            x = conditioned(block(torch.cat([x, outputs[_LEVELS - 1]], 1) if n == 0 else x))
        return outputs


def _modulated(y: Tensor, condition: Tensor) -> Tensor:
    if condition.shape[1] == 2 * y.shape[1]:
        factor, summand = condition.chunk(2, dim=1)
        return (1 + factor) * y + summand
    return condition * y


class _Conditional(nn.Module, ABC):
    """What both variants share: a segmentor that somebody conditions, and a classifier of its last block."""

    def __init__(self) -> None:
        super().__init__()
        self.segmentor = Arm(1, _SEGMENTOR)
        self.classifier = nn.Conv2d(_SEGMENTOR, 2, 1)

    @abstractmethod
    def condition(self, images: Tensor, masks: Tensor) -> list[Tensor]:
        """What the support emits for each block; images and masks have shape (B * K, 1, H, W)."""

    def forward(self, query: Tensor, images: Tensor, masks: Tensor) -> Tensor:
        """Logits of background and of the class.

        Parameters
        ----------
        query : float tensor, shape (B, 1, H, W)
            Slices to segment; H and W are multiples of 16.
        images : float tensor, shape (B, K, H, W)
            K annotated slices for each of them.
        masks : float or bool tensor, shape (B, K, H, W)
            Where the class lies in them.

        Returns
        -------
        float tensor, shape (B, 2, H, W)
        """
        batch, shots = images.shape[:2]
        emitted = self.condition(images.flatten(0, 1).unsqueeze(1), masks.to(images.dtype).flatten(0, 1).unsqueeze(1))
        means = [part.reshape(batch, shots, *part.shape[1:]).mean(1) for part in emitted]
        logits: Tensor = self.classifier(self.segmentor(query, means)[-1])
        return logits


class SENet(_Conditional):
    """Conditioned by spatial squeeze-and-excitation; 0.98 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conditioner = Arm(2, _CONDITIONER)
        self.squeeze = nn.ModuleList(nn.Conv2d(_CONDITIONER, 1, 1) for _ in range(_BLOCKS))

    def condition(self, images: Tensor, masks: Tensor) -> list[Tensor]:
        """One map between 0 and 1 a block, shapes (B * K, 1, h, w)."""
        outputs = self.conditioner(torch.cat([images, masks], 1))
        return [torch.sigmoid(squeeze(y)) for squeeze, y in zip(self.squeeze, outputs, strict=True)]


class FiLMNet(_Conditional):
    """Conditioned by factors and summands for each channel; before training it leaves the segmentor as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Sequential(
            _Block(1, _CONDITIONER),
            nn.MaxPool2d(2),
            _Block(_CONDITIONER, 2 * _CONDITIONER),
            nn.MaxPool2d(2),
            _Block(2 * _CONDITIONER, _EMBEDDED),
        )
        self.modulation = nn.Sequential(
            nn.Linear(2 * _EMBEDDED, 2 * _EMBEDDED), nn.ReLU(), nn.Linear(2 * _EMBEDDED, _BLOCKS * 2 * _SEGMENTOR)
        )
        for parameter in self.modulation[-1].parameters():
            nn.init.zeros_(parameter)

    def condition(self, images: Tensor, masks: Tensor) -> list[Tensor]:
        """Factors and summands, shapes (B * K, 128, 1, 1), from features averaged inside and outside the mask."""
        features = self.embedding(images)
        pooled = [masked_average(features, part[:, 0]) for part in (masks, 1 - masks)]
        emitted: Tensor = self.modulation(torch.cat(pooled, 1))
        return [part[..., None, None] for part in emitted.chunk(_BLOCKS, dim=1)]
