"""The recipe of H-ViT: it learns to register pairs of images by looking at them once.

Owns its loss and its validation: a similarity of the images where they have one contrast, a diffusion regulariser, and
the overlap of labels where there are any. :mod:`voxelsmith.train.registration_pairs` has the data,
:mod:`voxelsmith.train.loop` runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from voxelsmith.core.errors import InputError
from voxelsmith.core.jacobian import folding_share, jacobian_determinant
from voxelsmith.core.metrics import dice
from voxelsmith.models.hvit import HViT
from voxelsmith.models.warp import pull
from voxelsmith.register.learned import load_network, save_network
from voxelsmith.register.penalty import diffusion
from voxelsmith.register.similarity import dice_loss
from voxelsmith.train.entry import Entry
from voxelsmith.train.hvit_settings import SIMILARITIES, HViTSettings, settings, variant
from voxelsmith.train.pairs import paired_entries
from voxelsmith.train.registration_pairs import ImagePair, RegistrationPairs, swapped
from voxelsmith.train.sample import Field, Labels
from voxelsmith.train.split import learning_entries

__all__ = ["HViTRecipe", "recipe", "settings", "variant"]

SPLIT = Path(__file__).with_name("hvit_split.toml")
"""The volumes that are listed if nothing else is asked."""

# Labels that a step looks at; more take time.
_LABELS = 8
_JUDGED = {"synthetic": 8, "real": 8}


def recipe(
    chosen: HViTSettings,
    data: Path | None = None,
    split: Path | None = None,
    pairs: Path | None = None,
    start: Path | None = None,
) -> HViTRecipe:
    """The recipe on the volumes of a split or of a folder of images and labels.

    Parameters
    ----------
    chosen
        Its settings; their seed decides the pairs and the first weights.
    data
        Folder that the split's paths are relative to; None for the one in which ``split`` lies.
    split
        A file as :func:`voxelsmith.train.split.entries` reads it; None for :data:`SPLIT`.
    pairs
        In their place, a folder as :func:`voxelsmith.train.pairs.paired_entries` reads it.
    start
        File of weights or run folder to start from; None for random weights.

    Raises
    ------
    FormatError, InputError
        If the volumes cannot be used, or the weights are of another network.
    ModelUnavailableError
        If there are no such weights.
    """
    train, validate = _learning(data, split, pairs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(chosen.seed)
        model = HViT(chosen.architecture)
    if start is not None:
        earlier = load_network(start)
        if earlier.architecture != chosen.architecture:
            raise InputError(f"The weights of {start} are of another network; train that one, or start anew.")
        model.load_state_dict(earlier.state_dict())
    judges = RegistrationPairs(validate or train, chosen.seed, augmented=False)
    return HViTRecipe(chosen, model, RegistrationPairs(train, chosen.seed), judges)


def _learning(data: Path | None, split: Path | None, pairs: Path | None) -> tuple[list[Entry], list[Entry]]:
    folder = split.parent if data is None and split is not None else data
    if (pairs is None) == (folder is None):
        raise InputError("H-ViT learns from a split or from a folder of images and labels; give one of the two.")
    if folder is not None:
        return learning_entries(folder, split or SPLIT)
    listed = [] if pairs is None else paired_entries(pairs)
    train, validate = ([e for e in listed if e.use == use] for use in ("train", "validate"))
    return train, validate


class HViTRecipe:
    """Model, data, loss and validation; a :class:`voxelsmith.train.loop.Recipe`.

    Parameters
    ----------
    chosen
        Weights of the loss, and the network.
    model
        The network.
    dataset
        What it is trained on.
    judges
        What it is validated on: other patients, if there are any.
    """

    def __init__(
        self, chosen: HViTSettings, model: HViT, dataset: RegistrationPairs, judges: RegistrationPairs
    ) -> None:
        self.model, self.dataset = model, dataset
        self._chosen, self._judges = chosen, judges

    def loss(self, sample: ImagePair, rng: np.random.Generator) -> dict[str, Tensor]:
        """Similarity, smoothness and overlap of a few labels, weighted; those that do not apply are left out."""
        moving, fixed = self._image(sample.moving), self._image(sample.fixed)
        warped, displacement = self.model(moving, fixed)
        smoothness = diffusion(displacement)
        loss, terms = self._chosen.smoothness * smoothness, {"smoothness": smoothness.detach()}
        if sample.alike:
            similarity = SIMILARITIES[self._chosen.similarity](warped, fixed)
            loss, terms["similarity"] = loss + similarity, similarity.detach()
        present = int(sample.fixed_labels.max())
        if self._chosen.dice_weight and present:
            values = rng.permutation(present)[:_LABELS] + 1
            masks = [self._masks(labels, values) for labels in (sample.moving_labels, sample.fixed_labels)]
            overlap = dice_loss(pull(masks[0], displacement), masks[1])
            loss, terms["overlap"] = loss + self._chosen.dice_weight * overlap, overlap.detach()
        return {"loss": loss, **terms}

    def validate(self) -> dict[str, float]:
        """On pairs that are always the same: mean Dice before and after, by source, and the share of folds.

        "score" is the Dice after, or, where no pair has labels, how alike the warped images are.
        """
        found: dict[str, list[float]] = {}
        for source, pair in self._judged:
            warped, displacement = self.model(self._image(pair.moving), self._image(pair.fixed))
            field = displacement[0].float().cpu().numpy()
            found.setdefault("folding", []).append(folding_share(jacobian_determinant(field)))
            found.setdefault("alike", []).append(
                -float(SIMILARITIES[self._chosen.similarity](warped, self._image(pair.fixed)))
            )
            labels = self._image(pair.moving_labels)
            after = pull(labels, displacement, interpolation="nearest", padding="zeros")[0, 0].cpu().numpy()
            for stage, moved in (("before", pair.moving_labels), ("after", after)):
                overlap = _overlap(pair.fixed_labels, moved)
                if overlap is not None:
                    found.setdefault(stage, []).append(overlap)
                    found.setdefault(f"{source} {stage}", []).append(overlap)
        measures = {name: float(np.mean(values)) for name, values in found.items()}
        return {"score": measures.get("after", measures["alike"]), **measures}

    def save(self, weights: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
        """Write trained weights as a file that a registration can start from."""
        save_network(self._chosen.architecture, weights, path, metadata)

    @cached_property
    def _judged(self) -> list[tuple[str, ImagePair]]:
        """The validation set with its sources: pairs of one contrast, each second one in the other direction."""
        rng = np.random.default_rng(12345)
        drawn = [
            (source, self._judges.pair(rng, source, alike=True))
            for source in self._judges.sources
            for _ in range(_JUDGED[source])
        ]
        return [(source, swapped(pair) if n % 2 else pair) for n, (source, pair) in enumerate(drawn)]

    def _image(self, values: Tensor | Field | Labels) -> Tensor:
        """An image on the device of the model, shape (1, 1, R, A, S)."""
        return torch.as_tensor(values).to(self._device)[None, None]

    def _masks(self, labels: Tensor | Labels, values: npt.NDArray[np.integer[Any]]) -> Tensor:
        """A channel for each value, shape (1, L, R, A, S), float32."""
        wanted = torch.from_numpy(values).reshape(-1, 1, 1, 1).to(self._device)
        return (torch.as_tensor(labels).to(self._device) == wanted).float()[None]

    @property
    def _device(self) -> torch.device:
        return self.model.reg_head.conv3d.weight.device


def _overlap(fixed: Labels, moved: npt.NDArray[Any]) -> float | None:
    """Mean Dice of the labels; None if there are none."""
    values = range(1, int(fixed.max()) + 1)
    return float(np.mean([dice(fixed == v, moved == v) for v in values])) if values else None
