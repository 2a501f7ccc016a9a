"""The whole of H-ViT: two images in, the warped moving image and its displacement out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxelsmith.core.errors import InputError
from voxelsmith.models import warp
from voxelsmith.models.convolution import Conv3d
from voxelsmith.models.hvit import official
from voxelsmith.models.hvit.architecture import LEVELS, Architecture
from voxelsmith.models.hvit.attention import Level
from voxelsmith.models.hvit.pyramid import TopDown, encoder


class Decoder(TopDown):
    """Attended maps at every level."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.refined = architecture.refined
        self.hierarchical_dec = nn.ModuleList(Level(architecture, coarser) for coarser in range(LEVELS))

    def forward(self, encoded: Sequence[Tensor]) -> list[Tensor]:
        """Maps of the levels at 1/2, 1/4, ..., shape (B, fpn_channels, ...), of what the stages saw, finest first."""
        raw = self.raw_maps(encoded)
        attended: list[Tensor] = []
        for coarser, level in enumerate(self.hierarchical_dec[: len(raw)]):
            finer = len(raw) - 1 - coarser
            attended.insert(0, level(raw[finer], attended if self.refined else raw[finer + 1 :]))
        return attended


class Features(nn.Module):
    """From the two images to the attended maps."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self._encoder = encoder(architecture)
        self._decoder = Decoder(architecture)

    def forward(self, x: Tensor) -> Tensor:
        """The finest map, shape (B, fpn_channels, I / 2, J / 2, K / 2), of images of shape (B, 2, I, J, K)."""
        encoded = []
        for stage in self._encoder:
            x = stage(x)
            encoded.append(x)
        finest: Tensor = self._decoder(encoded)[0]
        return finest


class Head(nn.Module):
    """A vector for each voxel of a map; before any training it is next to nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv3d = Conv3d(channels, 3, 3, padding=1)
        for name, parameter in self.conv3d.named_parameters():
            nn.init.normal_(parameter, std=1e-5 if name == "weight" else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Vectors, shape (B, 3, i, j, k)."""
        out: Tensor = self.conv3d(x.contiguous()).float()
        return out


class HViT(nn.Module):
    """Registers a moving image to a fixed one.

    Both are on one grid, affinely aligned, with intensities in 0..1. Any grid will do: it is padded to one that the
    network can halve, and the answer is cropped.

    Parameters
    ----------
    architecture
        Its size and conventions.
    """

    def __init__(self, architecture: Architecture | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or Architecture()
        self.deformable = Features(a)
        self.reg_head = Head(a.fpn_channels)

    def forward(self, moving: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor]:
        """Warped moving image and displacement.

        Parameters
        ----------
        moving, fixed
            Shape (B, 1, I, J, K).

        Returns
        -------
        warped : tensor, shape (B, 1, I, J, K)
        displacement : float32 tensor, shape (B, 3, I, J, K)
            In voxels, as :mod:`voxelsmith.models.warp` defines it: warped(p) = moving(p + displacement(p)).

        Raises
        ------
        InputError
            When the images are not of one such shape.
        """
        displacement = self.displacement(self.vectors(moving, fixed), moving.shape[2:])
        pull = official.pull if self.architecture.sampling == "official" else warp.pull
        return pull(moving, displacement), displacement

    def vectors(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """What the network predicts, displacement or velocity.

        In voxels of the images, on the padded grid at half resolution: shape (B, 3, I' / 2, J' / 2, K' / 2).
        """
        if moving.ndim != 5 or moving.shape[1] != 1 or moving.shape != fixed.shape:
            shapes = f"{tuple(moving.shape)} and {tuple(fixed.shape)}"
            raise InputError(
                f"H-ViT registers images of one shape (B, 1, I, J, K), got {shapes}; resample one of them."
            )
        x = torch.cat([moving, fixed], dim=1)
        grid = moving.shape[2:]
        i, j, k = (wide - count for wide, count in zip(self.architecture.padded(grid), grid, strict=True))
        if i or j or k:
            x = functional.pad(x, [0, k, 0, j, 0, i], mode="replicate")
        out: Tensor = self.reg_head(self.deformable(x))
        return out

    def displacement(self, vectors: Tensor, grid: Sequence[int]) -> Tensor:
        """The displacement, shape (B, 3, I, J, K), that :meth:`vectors` mean; of a velocity's opposite, the inverse."""
        if self.architecture.velocity_steps:
            vectors = 2 * warp.integrate(vectors / 2, self.architecture.velocity_steps)
        fine = functional.interpolate(vectors, scale_factor=2, mode="trilinear", align_corners=False)
        i, j, k = grid
        return fine[:, :, :i, :j, :k]
