"""A network that draws segmentations from noise, given the image: several samples tell what is sure and what is not.

Owns the network of the experimental recipe "diffusion" and how it is sampled, around MONAI's network and its DDIM
scheduler (Song et al., ICLR 2021). Masks are noised class by class and the network tells the clean classes, as in Chen
et al. (ICCV 2023); the mean of several samples is the answer, as in Wolleb et al. (MIDL 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxelsmith.core.errors import ModelUnavailableError

LEVELS = 1000
"""Levels of noise."""

# Sides of the squares of pixels that the network sees as one, which makes it four times as fast.
_SQUARE = 2
_CHANNELS = (1, 2, 4, 4)
_GROUPS = 8
# Of a mask against noise of standard deviation 1. Neighbours tell a mask through much noise, so that with 1 the image
# would hardly be looked at.
_AMPLITUDE = 0.3
_SMALLEST = 1e-6


@dataclass(frozen=True)
class DiffusionArchitecture:
    """Size of the network, and how it is sampled.

    Parameters
    ----------
    inputs, outputs
        Channels of the image, and of the answer.
    width
        Channels of the finest level, a multiple of 8; coarser levels have 2, 4 and 4 times as many.
    denoising
        Steps from noise to a sample, a divisor of :data:`LEVELS`.
    samples
        Samples whose mean is the answer.
    seed
        Decides their noise, which is the same for all slices.
    """

    inputs: int = 1
    outputs: int = 2
    width: int = 16
    denoising: int = 10
    samples: int = 5
    seed: int = 0

    @property
    def dims(self) -> int:
        """Number of spatial axes."""
        return 2

    @property
    def multiple(self) -> tuple[int, int]:
        """What the sides of an input are multiples of."""
        side = _SQUARE * 2 ** (len(_CHANNELS) - 1)
        return side, side

    def record(self) -> dict[str, Any]:
        """Plain values, as a checkpoint or JSON holds them."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> DiffusionArchitecture:
        """From what :meth:`record` gave, also by way of JSON."""
        return cls(**record)


class DiffusionNet(nn.Module):
    """Image in, logits out, by way of several samples.

    Parameters
    ----------
    architecture
        Its size; with the image, the network sees a noisy mask.

    Attributes
    ----------
    samples : int
        How many are drawn; as the architecture says at first.

    Raises
    ------
    ModelUnavailableError
        If the package einops is not installed.
    """

    def __init__(self, architecture: DiffusionArchitecture | None = None) -> None:
        super().__init__()
        # MONAI takes seconds to load, so only those who need its network wait for it.
        from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
        from monai.networks.schedulers.ddim import DDIMScheduler
        from monai.utils.module import OptionalImportError

        self.architecture = a = architecture or DiffusionArchitecture()
        self.samples = a.samples
        try:
            self.unet = DiffusionModelUNet(
                spatial_dims=2,
                in_channels=_SQUARE**2 * (a.outputs + a.inputs),
                out_channels=_SQUARE**2 * a.outputs,
                num_res_blocks=1,
                channels=[a.width * times for times in _CHANNELS],
                attention_levels=[False] * len(_CHANNELS),
                norm_num_groups=_GROUPS,
                num_head_channels=_GROUPS,
            )
        except OptionalImportError as error:
            raise ModelUnavailableError(
                "The diffusion recipe needs the package einops, which is not installed; run pip install "
                "napari-voxelsmith[diffusion]."
            ) from error
        # With this offset the levels that are visited are as far from each other as the scheduler's steps, and the
        # first is pure noise.
        self.scheduler = DDIMScheduler(
            LEVELS,
            schedule="cosine",
            clip_sample=False,
            steps_offset=LEVELS // a.denoising - 1,
            prediction_type="sample",
        )
        self.scheduler.set_timesteps(a.denoising)

    def forward(self, image: Tensor) -> Tensor:
        """Logits whose softmax is the mean probability of the samples; the same image gives the same ones.

        Parameters
        ----------
        image : float tensor, shape (B, inputs, H, W)
            The sides are multiples of 16.

        Returns
        -------
        float32 tensor, shape (B, outputs, H, W)
        """
        return torch.stack(self.drawn(image)).mean(dim=0).clamp_min(_SMALLEST).log()

    def drawn(self, image: Tensor) -> list[Tensor]:
        """The probabilities of each sample, float32 (B, outputs, H, W); see :meth:`forward`."""
        chance = torch.Generator().manual_seed(self.architecture.seed)
        shape = (1, self.architecture.outputs, *image.shape[2:])
        found = []
        for _ in range(self.samples):
            # One noise for all slices: neighbours in a volume then get answers that fit each other.
            noisy = torch.randn(shape, generator=chance).to(image.device).expand(len(image), -1, -1, -1)
            likely = noisy
            for level in self.scheduler.timesteps.tolist():
                levels = torch.full((len(image),), level, device=image.device)
                likely = self.denoised(noisy, image, levels).softmax(1)
                noisy, _ = self.scheduler.step(_AMPLITUDE * (2 * likely - 1), level, noisy)
            found.append(likely)
        return found

    def noised(self, mask: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """A mask under noise.

        Parameters
        ----------
        mask : float tensor, shape (B, outputs, H, W)
            1 in the channel of the class, -1 in the others; 0 in all channels where nothing is known.
        noise : float tensor of the same shape
            Standard normal.
        levels : int tensor, shape (B,)
            How much of it, 0 to :data:`LEVELS` - 1.
        """
        noisy: Tensor = self.scheduler.add_noise(_AMPLITUDE * mask, noise, levels)
        return noisy

    def denoised(self, noisy: Tensor, image: Tensor, levels: Tensor) -> Tensor:
        """Logits, float32 (B, outputs, H, W), of the classes under the noise; see :meth:`noised`."""
        seen = functional.pixel_unshuffle(torch.cat([noisy, image], dim=1), _SQUARE)
        logits: Tensor = self.unet(seen, timesteps=levels)
        return functional.pixel_shuffle(logits, _SQUARE).float()
