"""The recipes of the few-shot networks: an encoder for prototypes, and conditional networks, both on episodes.

Owns their losses and their validation. The encoder learns features by which local prototypes of an annotated slice find
the class in another one, aligned in both directions (PAR, Wang et al., ICCV 2019); its threshold (ADNet) is learned
beside it and leaves the features alone. Conditional networks learn overlap and cross-entropy. The same recipe adapts to
a user's own volumes, which need no labels. :mod:`voxelsmith.train.episodes` has the data,
:mod:`voxelsmith.train.loop` runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from voxelsmith.core.errors import InputError
from voxelsmith.core.metrics import dice
from voxelsmith.models.prototype import (
    Prototypes,
    alignment_loss,
    class_scores,
    gathered,
    global_prototype,
    local_prototypes,
    resized,
)
from voxelsmith.models.prototype_encoder import PrototypeEncoder
from voxelsmith.segment.episodic import image_net_start, load_network, made, save_network
from voxelsmith.train.entry import Entry
from voxelsmith.train.episodes import Episodes, EpisodeSet
from voxelsmith.train.fewshot_settings import FewShotSettings, settings
from voxelsmith.train.losses import dice_bce
from voxelsmith.train.pairs import paired_entries
from voxelsmith.train.split import learning_entries

if TYPE_CHECKING:
    from voxelsmith.segment.episodic import Network

__all__ = ["FewShotRecipe", "recipe", "settings"]

SPLIT = Path(__file__).with_name("fewshot_split.toml")
"""The volumes that are listed if nothing else is asked."""

_PROTOTYPES = 150
_BACKGROUND = 0.1
# Differences of two cosines times 20 lie within this; a class without prototypes would be infinitely far.
_HIGHEST = 40.0
_JUDGED = 8
_EVERY = 5
_TINY = 1e-6


def recipe(
    chosen: FewShotSettings,
    data: Path | None = None,
    split: Path | None = None,
    pairs: Path | None = None,
    images: Path | None = None,
    start: Path | None = None,
) -> FewShotRecipe:
    """The recipe on the volumes of a split, of a folder of images and labels, or of a folder of images alone.

    Parameters
    ----------
    chosen
        Method and settings; their seed decides the episodes and the first weights.
    data
        Folder that the split's paths are relative to; None for the one in which ``split`` lies.
    split
        A file as :func:`voxelsmith.train.split.entries` reads it; None for :data:`SPLIT`.
    pairs
        In their place, a folder as :func:`voxelsmith.train.pairs.paired_entries` reads it.
    images
        In their place, a folder of volumes to adapt to; whatever labels there may be elsewhere are not used.
    start
        File of weights or run folder to start from; None for ImageNet weights where their package is installed and the
        method is "prototype", else for random ones.

    Raises
    ------
    FormatError, InputError
        If the volumes cannot be used, or the weights are of another network.
    ModelUnavailableError
        If there are no such weights.
    """
    train, validate = _learning(data, split, pairs, images)
    if start is not None:
        model = load_network(start, chosen.method)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(chosen.seed)
            model = image_net_start() if chosen.method == "prototype" else made(chosen.method)
    side, batch = chosen.side, chosen.batch
    dataset = EpisodeSet(train, chosen.seed, side=side, batch=batch)
    judges = EpisodeSet(validate or train, chosen.seed, side=side, batch=batch, augmented=False)
    return FewShotRecipe(chosen, model, dataset, judges)


def _learning(
    data: Path | None, split: Path | None, pairs: Path | None, images: Path | None
) -> tuple[list[Entry], list[Entry]]:
    folder = split.parent if data is None and split is not None else data
    if [pairs, folder, images].count(None) != 2:
        raise InputError(
            "Few-shot networks learn from a split, from a folder of images and labels, or from one of images; give one "
            "of the three."
        )
    if folder is not None:
        return learning_entries(folder, split or SPLIT)
    listed = paired_entries(pairs) if pairs is not None else _unlabelled(images or Path())
    train, validate = ([e for e in listed if e.use == use] for use in ("train", "validate"))
    return train, validate


def _unlabelled(folder: Path) -> list[Entry]:
    """The volumes of a folder without labels, sorted by name, each a patient; every fifth one is to validate on."""
    files = sorted(f for f in folder.iterdir() if not f.name.startswith(".")) if folder.is_dir() else []
    if not files:
        raise InputError(f"{folder} should be a folder of volumes to adapt to, but holds none; name another one.")
    group = folder.resolve().name or "images"
    return [
        Entry("validate" if n % _EVERY == 0 else "train", group, file.name, file, None)
        for n, file in enumerate(files, 1)
    ]


class FewShotRecipe:
    """Model, data, loss and validation; a :class:`voxelsmith.train.loop.Recipe`.

    Parameters
    ----------
    chosen
        Method, and weights of the loss.
    model
        The network of that method.
    dataset
        What it is trained on.
    judges
        What it is validated on: other patients, if there are any.
    """

    def __init__(self, chosen: FewShotSettings, model: Network, dataset: EpisodeSet, judges: EpisodeSet) -> None:
        self.model, self.dataset = model, dataset
        self._chosen, self._judges = chosen, judges

    def loss(self, sample: Episodes, rng: np.random.Generator) -> dict[str, Tensor]:
        """Dice and cross-entropy of the query; of the encoder also the alignment, and the threshold on its own."""
        support, annotation, query, truth = (torch.as_tensor(part) for part in sample)
        if not isinstance(self.model, PrototypeEncoder):
            fitted = dice_bce(self._conditioned(support, annotation, query), truth)
            return {"loss": fitted}
        first, second = self._standardised(support, query)
        scores = _scores(first, annotation, second)
        fitted = dice_bce(_logits(scores, query.shape[2:]), truth)
        aligned = _alignment(first, annotation, second, scores)
        threshold = self._threshold(first.detach(), annotation, second.detach(), truth)
        loss = fitted + self._chosen.alignment * aligned + threshold
        return {
            "loss": loss,
            "overlap": fitted.detach(),
            "alignment": aligned.detach(),
            "threshold": threshold.detach(),
        }

    def validate(self) -> dict[str, float]:
        """Mean Dice of the queries by source, on episodes that are always the same; "score" is the mean of all."""
        found: dict[str, list[float]] = {}
        for source, sample in self._judged:
            support, annotation, query, truth = (torch.as_tensor(part).to(self._device) for part in sample)
            answer = (self.answer(support, annotation, query) > 0).cpu().numpy()
            for own, other in zip(truth.cpu().numpy() > 0.5, answer, strict=True):
                found.setdefault(source, []).append(float(dice(own, other)))
        values = [value for part in found.values() for value in part]
        return {"score": float(np.mean(values)), **{source: float(np.mean(part)) for source, part in found.items()}}

    def answer(self, support: Tensor, annotation: Tensor, query: Tensor) -> Tensor:
        """Logits of the class, shape (B, 1, H, W), for tensors as of :class:`~voxelsmith.train.episodes.Episodes`."""
        if isinstance(self.model, PrototypeEncoder):
            first, second = self._standardised(support, query)
            return _logits(_scores(first, annotation, second), query.shape[2:])
        return self._conditioned(support, annotation, query)

    def save(self, weights: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
        """Write trained weights as a file that :mod:`voxelsmith.segment.episodic` reads."""
        save_network(self._chosen.method, weights, path, metadata)

    @cached_property
    def _judged(self) -> list[tuple[str, Episodes]]:
        rng, batches = np.random.default_rng(12345), max(1, _JUDGED // self._judges.batch)
        return [(s, self._judges.episodes(rng, s)) for s in self._judges.sources for _ in range(batches)]

    def _conditioned(self, support: Tensor, annotation: Tensor, query: Tensor) -> Tensor:
        background, found = self.model(query, support, annotation).chunk(2, dim=1)
        return torch.as_tensor(found - background)

    def _standardised(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Features of both on the scale of the support's own, channel by channel, as the engine compares them."""
        first, second = self.model(torch.cat([support, query])).chunk(2)
        mean = first.mean((2, 3), keepdim=True)
        width = first.std((2, 3), keepdim=True) + _TINY
        return (first - mean) / width, (second - mean) / width

    def _threshold(self, support: Tensor, annotation: Tensor, query: Tensor, truth: Tensor) -> Tensor:
        """Cross-entropy of ADNet, background at a tenth, and the push that keeps the threshold tight."""
        assert isinstance(self.model, PrototypeEncoder)
        terms = [self.model.anomaly.tightness()]
        target = (functional.interpolate(truth, query.shape[2:], mode="area") > 0.5).float()
        for own, mask, other, wanted in zip(support, annotation, query, target, strict=True):
            prototype = global_prototype(own[None], mask)
            if len(prototype):
                likely = self.model.anomaly(other[None], prototype)
                weight = torch.where(wanted > 0, 1.0, _BACKGROUND)
                terms.append(functional.binary_cross_entropy(likely, wanted, weight) / len(support))
        return torch.stack(terms).sum()

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def _scores(support: Tensor, annotation: Tensor, query: Tensor) -> Tensor:
    """Scores of background and class, shape (B, 2, h, w), each query by the local prototypes of its own support."""
    rows = []
    for own, mask, other in zip(support, annotation, query, strict=True):
        classes: list[Prototypes] = []
        for n, part in enumerate((1 - mask, mask)):
            shot = local_prototypes(own[None], part, with_global=n > 0)
            classes.append(gathered([shot], _PROTOTYPES))
        rows.append(class_scores(other[None], classes))
    return torch.cat(rows)


def _logits(scores: Tensor, grid: tuple[int, ...]) -> Tensor:
    background, found = scores.chunk(2, dim=1)
    return resized((found - background).clamp(-_HIGHEST, _HIGHEST), grid)


def _alignment(support: Tensor, annotation: Tensor, query: Tensor, scores: Tensor) -> Tensor:
    """PAR of every episode, on maps of half the size."""
    small = [functional.avg_pool2d(part, 2, ceil_mode=True) for part in (support, query, scores)]
    labels = (functional.interpolate(annotation, small[0].shape[2:], mode="area")[:, 0] > 0.5).long()
    parts = zip(*small, labels, strict=True)
    return torch.stack([alignment_loss(q[None], s[None], own[None], known[None]) for own, q, s, known in parts]).mean()
