"""The recipe of the embedded promptable network.

Owns its loss and its validation: objects are prompted once, and in half of the steps corrected by clicks on the errors
of the network's own answer, once or twice. :mod:`voxelsmith.train.prompted_objects` has the data,
:mod:`voxelsmith.train.loop` runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from voxelsmith.core.errors import InputError
from voxelsmith.models.promptable import Architecture, PromptableNet
from voxelsmith.segment.prompted_region import PromptedRegion
from voxelsmith.segment.zoom import FloatArray
from voxelsmith.train.checkpoint import export
from voxelsmith.train.losses import dice_bce
from voxelsmith.train.prompted_objects import PromptedObjects
from voxelsmith.train.prompting import Episode, correction
from voxelsmith.train.sample import Mask
from voxelsmith.train.settings import Settings
from voxelsmith.train.split import learning_entries
from voxelsmith.weights import store

SHIPPED = "shipped"
"""In place of a run folder: the weights that ship."""

_MOST_PASSES = 3
_JUDGED = {"shapes": 12, "anatomy": 12, "real": 24}
_JUDGED_KINDS = ("box", "box", "click")
_JUDGED_VOXELS = 96_000


def settings(**overrides: Any) -> Settings:
    """How the shipped network was trained, with some numbers changed."""
    chosen: dict[str, Any] = {
        "steps": 11_000,
        "accumulate": 2,
        "learning_rate": 1e-3,
        "warm_up": 200,
        "weight_decay": 1e-2,
        "average": 0.998,
        "validate_every": 1000,
        "checkpoint_every": 250,
        "log_every": 100,
        "workers": 1,
        "channels_last": True,
    }
    return Settings(**{**chosen, **overrides})


def recipe(
    data: Path | None = None,
    seed: int = 0,
    architecture: Architecture | None = None,
    split: Path | None = None,
    start: Path | str | None = None,
) -> PromptableRecipe:
    """The recipe on the volumes of a split, or on synthetic shapes alone.

    Parameters
    ----------
    data
        Folder that the split's paths are relative to; None for the one in which ``split`` lies, or for no volumes.
    seed
        Decides the samples and the first weights.
    architecture
        Size of the network.
    split
        A file as :func:`voxelsmith.train.split.entries` reads it; None for the one of the shipped network.
    start
        What to start from: the run folder of an earlier training, :data:`SHIPPED` for the weights that ship, or None
        for random weights.

    Raises
    ------
    FormatError, InputError
        If the split cannot be used; see :func:`voxelsmith.train.split.learning_entries`. If ``start`` holds no
        training, or one of a network of another size.
    ModelUnavailableError
        If the shipped weights are asked for and missing.
    """
    folder = split.parent if data is None and split is not None else data
    train, validate = ([], []) if folder is None else learning_entries(folder, split)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PromptableNet(architecture)
    if start is not None:
        _load(model, store.load("promptable") if str(start) == SHIPPED else export(start), start)
    return PromptableRecipe(model, PromptedObjects(train, seed), PromptedObjects(validate, seed + 1, augmented=False))


def _load(model: PromptableNet, weights: Mapping[str, Tensor], start: Path | str) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"The weights of {start} are of a network of another size; train that one or start anew."
        ) from error


class PromptableRecipe:
    """Model, data, loss and validation; a :class:`voxelsmith.train.loop.Recipe`.

    Parameters
    ----------
    model
        The network.
    dataset
        What it is trained on.
    judges
        What it is validated on: other patients and other seeds.
    """

    def __init__(self, model: PromptableNet, dataset: PromptedObjects, judges: PromptedObjects) -> None:
        self.model, self.dataset, self._judges = model, dataset, judges

    def loss(self, sample: Episode, rng: np.random.Generator) -> dict[str, Tensor]:
        """Dice and cross-entropy of the first answer, and in half of the steps of one or two corrected ones."""
        region, target = sample.region.branch(), self._tensor(sample.target.astype(np.float32)[None])
        passes = 1 if rng.random() < 0.5 else int(rng.integers(2, _MOST_PASSES + 1))
        losses = []
        for left in range(passes - 1, -1, -1):
            logits = self.model(self._tensor(region.inputs()))
            losses.append(dice_bce(logits, target))
            if not left or not _correct(region, _probability(logits), sample, rng):
                break
        terms = {"loss": torch.stack(losses).mean(), "first": losses[0].detach()}
        if len(losses) > 1:
            terms["last"] = losses[-1].detach()
        return terms

    def _tensor(self, values: np.ndarray[Any, Any]) -> Tensor:
        device = next(self.model.parameters()).device
        return torch.from_numpy(values)[None].to(device)

    @cached_property
    def _judged(self) -> list[tuple[str, Episode]]:
        """The validation set with its sources."""
        rng = np.random.default_rng(12345)
        return [
            (source, self._judges.episode(rng, source, _JUDGED_VOXELS, _JUDGED_KINDS[n % len(_JUDGED_KINDS)]))
            for source, count in _JUDGED.items()
            if source in self._judges.sources
            for n in range(count)
        ]

    def validate(self) -> dict[str, float]:
        """Mean Dice of the guess without the network, after the first prompt, and after one and two clicks more.

        "real0" and "real2" are those of real volumes alone; they are absent if there are none.
        """
        rng = np.random.default_rng(54321)
        dice = [self._dice_by_clicks(episode, rng) for _, episode in self._judged]
        guess, first, second, third = np.mean(dice, axis=0).tolist()
        measures = {"score": (first + second + third) / 3, "guess": guess, "dice0": first, "dice1": second}
        measures["dice2"] = third
        real = [found for found, (source, _) in zip(dice, self._judged, strict=True) if source == "real"]
        if real:
            _, measures["real0"], _, measures["real2"] = np.mean(real, axis=0).tolist()
        return measures

    def _dice_by_clicks(self, episode: Episode, rng: np.random.Generator) -> list[float]:
        """Dice of the guess and of each answer; the last one stays when there is nothing left to correct."""
        region, truth = episode.region.branch(), episode.target > 0.5
        found = [_dice(truth, region.guess > 0.5)]
        for _ in range(_MOST_PASSES):
            probability = _probability(self.model(self._tensor(region.inputs())))
            found.append(_dice(truth, probability > 0.5))
            if not _correct(region, probability, episode, rng):
                break
        return found + found[-1:] * (_MOST_PASSES + 1 - len(found))


def _probability(logits: Tensor) -> FloatArray:
    """What the logits of one sample say, as an array on its grid."""
    probability: FloatArray = logits.detach().float().sigmoid()[0, 0].cpu().numpy()
    return probability


def _correct(region: PromptedRegion, probability: FloatArray, sample: Episode, rng: np.random.Generator) -> bool:
    """Take an answer and click on one of its errors; False if there is none."""
    made = correction(rng, sample.target > 0.5, probability > 0.5, region.region.spacing)
    if made is None:
        return False
    region.take(probability)
    region.add(made)
    return True


def _dice(truth: Mask, answer: Mask) -> float:
    total = int(np.count_nonzero(truth)) + int(np.count_nonzero(answer))
    return 2 * int(np.count_nonzero(truth & answer)) / max(total, 1)
