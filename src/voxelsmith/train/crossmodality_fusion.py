"""Stage 2 of the tumour network: branches that begin as generators learn to segment, and to be fused.

Owns the loss and the validation: Dice and cross-entropy on the nested regions, of the fused answer and, with less
weight, of each branch's own. The generators stay as they are, to make pairs that are missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from voxelsmith.core.regions import REGIONS
from voxelsmith.models.crossmodality import CrossModalityNet
from voxelsmith.segment.crossmodality import save_network
from voxelsmith.train.crossmodality_data import Patches
from voxelsmith.train.crossmodality_settings import CMFSettings
from voxelsmith.train.losses import dice_bce
from voxelsmith.train.tumours import Patch

_JUDGED = 8


class FusionRecipe:
    """Model, data, loss and validation; a :class:`voxelsmith.train.loop.Recipe`.

    Parameters
    ----------
    settings
        Weights of the loss.
    model
        The network.
    dataset
        What it is trained on.
    judged
        What it is validated on, other patients.
    """

    def __init__(self, settings: CMFSettings, model: CrossModalityNet, dataset: Patches, judged: Patches) -> None:
        self.model, self.dataset = model, dataset
        self._settings, self._judges = settings, judged

    def loss(self, sample: Patch, rng: np.random.Generator) -> dict[str, Tensor]:
        """Dice and cross-entropy of the answer, and of those of the branches."""
        x, available, target = self._tensors(sample)
        answer = self.model(x, available)
        fused = dice_bce(answer.logits, target)
        terms = {"loss": fused, "fused": fused.detach()}
        if answer.auxiliary:
            own = torch.stack([dice_bce(logits, target) for logits in answer.auxiliary])
            terms |= {"loss": fused + self._settings.auxiliary * own.sum(), "branches": own.mean().detach()}
        return terms

    def validate(self) -> dict[str, float]:
        """Dice of each region over windows that are always the same; "score" is their mean."""
        overlap, total = torch.zeros(len(REGIONS)), torch.zeros(len(REGIONS))
        for patch in self._judged:
            x, available, target = self._tensors(patch)
            found, truth = self.model(x, available).logits > 0, target > 0
            overlap += (found & truth).sum((0, 2, 3, 4)).cpu()
            total += (found.sum((0, 2, 3, 4)) + truth.sum((0, 2, 3, 4))).cpu()
        dice = (2 * overlap / total.clamp(min=1)).tolist()
        return {"score": float(np.mean(dice)), **dict(zip(REGIONS, dice, strict=True))}

    def save(self, weights: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
        """Write trained weights as a file that a tumour run can use."""
        save_network(self._settings.architecture, weights, path, metadata)

    @cached_property
    def _judged(self) -> list[Patch]:
        """Plain windows of the patients that validate, at 1 and 2 mm, or made-up ones where there are none."""
        rng, count = np.random.default_rng(12345), len(self._judges.cases)
        if not count:
            return [self._judges[n] for n in range(_JUDGED)]
        side = self._judges.side
        return [
            self._judges.case(n % count).patch(rng, side, colour=None, spacing=1.0 + n // count % 2)
            for n in range(_JUDGED)
        ]

    def _tensors(self, patch: Patch) -> tuple[Tensor, Tensor, Tensor]:
        """Image, availability, and the nested regions as float32 (1, 3, X, Y, Z), on the device of the model."""
        device = next(self.model.parameters()).device
        x, available, depth = (torch.as_tensor(part).to(device)[None] for part in patch)
        begins = torch.arange(1, len(REGIONS) + 1, device=device).reshape(1, -1, 1, 1, 1)
        return x, available, (depth[:, None] >= begins).float()
