"""The recipe "diffusion", experimental: a network that learns to find the classes of annotated slices under noise.

Owns the network that fits some data, and its loss: a mask is noised by a random amount, and what the network makes of
it and the image is judged as TV-Unet's answer is, where slices are annotated. Data, validation and settings are
TV-Unet's; :mod:`voxelsmith.models.diffusion` draws the samples.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from voxelsmith.models.diffusion import LEVELS, DiffusionArchitecture, DiffusionNet
from voxelsmith.models.trainable import AnyArchitecture
from voxelsmith.segment.plan import Plan
from voxelsmith.train.annotated import AnnotatedSlices
from voxelsmith.train.diffusion_settings import DiffusionSettings
from voxelsmith.train.losses import one_hot
from voxelsmith.train.tvunet_recipe import TVUnetRecipe
from voxelsmith.train.tvunet_settings import TVUnetSettings


class DiffusionRecipe(TVUnetRecipe):
    """Model, data, loss and validation; as :class:`~voxelsmith.train.tvunet_recipe.TVUnetRecipe`.

    Validation and previews draw one sample, since each takes as many passes as there are denoising steps.
    """

    model: DiffusionNet

    def __init__(self, settings: TVUnetSettings, architecture: AnyArchitecture, dataset: AnnotatedSlices) -> None:
        super().__init__(settings, architecture, dataset)
        self.model.samples = 1

    @staticmethod
    def architecture_for(plan: Plan, settings: TVUnetSettings, device: torch.device) -> AnyArchitecture:
        """The network for a plan."""
        if not isinstance(settings, DiffusionSettings):
            raise TypeError("A diffusion model is trained with DiffusionSettings.")
        return DiffusionArchitecture(
            inputs=plan.channels,
            outputs=1 + len(plan.classes),
            width=settings.width or (16 if device.type == "cpu" else 32),
            denoising=settings.denoising,
            samples=settings.samples,
            seed=settings.seed,
        )

    def loss(self, sample: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Cross-entropy and Dice of the classes that the network finds under noise, where slices are annotated."""
        image, target = sample["image"], sample["target"]
        truth, known = one_hot(target, self.model.architecture.outputs)
        mask = (2 * truth - 1) * known
        levels = torch.from_numpy(rng.integers(0, LEVELS, len(mask))).to(mask.device)
        noisy = self.model.noised(mask, torch.randn_like(mask), levels)
        return self.terms(self.model.denoised(noisy, image, levels), sample)
