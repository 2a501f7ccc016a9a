"""The recipe that fine-tunes SegVol on volumes of the user's own.

Owns its loss and its validation, after Du et al. (NeurIPS 2024): the image is embedded once, the decoder answers six
sets of prompts about one object and six about pseudo-masks. The text tower stays as it was published, so words are
embedded once, before the training. Neither the head that estimates the quality of masks nor the three spare
masks are supervised, as in the published training. :mod:`voxelsmith.train.segvol_views` has the data,
:mod:`voxelsmith.train.loop` runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from voxelsmith.core.errors import InputError
from voxelsmith.core.metrics import dice
from voxelsmith.models.segvol import Architecture, SegVolNet
from voxelsmith.segment.segvol.network import words_of
from voxelsmith.segment.zoom import FloatArray
from voxelsmith.train.entry import Entry
from voxelsmith.train.losses import segvol_dice_loss
from voxelsmith.train.pairs import paired_entries
from voxelsmith.train.sample import Labels, Mask
from voxelsmith.train.segvol_prompts import LEAST_PSEUDO_POINTS, Marks, box_around, marked, points_on, within_box
from voxelsmith.train.segvol_settings import settings
from voxelsmith.train.segvol_views import SegVolView, SegVolViews
from voxelsmith.train.split import learning_entries
from voxelsmith.weights import containers, save, zoo

__all__ = ["SegVolRecipe", "recipe", "settings"]

WEIGHTS = "weights.safetensors"
"""The file in a run folder that a training leaves for others to use."""

_POINTS = ("points", "labels")
_SETS = ((*_POINTS, "text"), ("box", "text"), ("text",), ("box",), _POINTS, ("box", *_POINTS))
_PSEUDO_SETS = (_POINTS, ("box",)) * 3
_PSEUDO_WEIGHT = 0.1
_LEAST_REGION = 0.001
_JUDGED = 12
_TEXT_TOWER = "text_encoder."


def recipe(
    data: Path | None = None,
    seed: int = 0,
    split: Path | None = None,
    pairs: Path | None = None,
    names: Mapping[int, str] | None = None,
    start: Path | None = None,
    decoder_only: bool = False,
    architecture: Architecture | None = None,
) -> SegVolRecipe:
    """The recipe on the volumes of a split or of a folder of pairs.

    Parameters
    ----------
    data, split
        As for :func:`voxelsmith.train.promptable.recipe`.
    seed
        Decides the views.
    pairs
        In their place, a folder as :func:`voxelsmith.train.pairs.paired_entries` reads it.
    names
        What labels are called, where a volume does not say it itself.
    start
        A file with weights of SegVol, in any form, or the run folder of an earlier training; None for the installed
        weights.
    decoder_only
        Leave the image encoder as it is.
    architecture
        Size of the network, if it is not that of the published one.

    Raises
    ------
    FormatError, InputError
        If the volumes cannot be used, or the weights are of another network.
    ModelUnavailableError
        If the weights are not there, or nothing is at hand that encodes the names.
    """
    train, validate = _learning(data, split, pairs)
    train, validate = ([_named(entry, names or {}) for entry in entries] for entries in (train, validate))
    file = _file(start)
    with torch.device("meta"):
        whole, model = SegVolNet(architecture), SegVolNet(architecture, text=False)
    weights = containers.load(file, whole)
    frozen = {name: weights.pop(name) for name in list(weights) if name.startswith(_TEXT_TOWER)}
    model.load_state_dict(weights, assign=True)
    embed = words_of(file, whole).of
    words = {
        name: embed(name).copy() for name in sorted({name for entry in train + validate for _, name in entry.names})
    }
    view = model.architecture.view
    judges = SegVolViews(validate or train, view, seed)
    return SegVolRecipe(model, SegVolViews(train, view, seed), judges, words, frozen, decoder_only=decoder_only)


def _learning(data: Path | None, split: Path | None, pairs: Path | None) -> tuple[list[Entry], list[Entry]]:
    folder = split.parent if data is None and split is not None else data
    if (pairs is None) == (folder is None):
        raise InputError("SegVol learns from a split or from a folder of pairs; give one of the two.")
    if folder is not None:
        return learning_entries(folder, split)
    listed = [] if pairs is None else paired_entries(pairs)
    train, validate = ([e for e in listed if e.use == use] for use in ("train", "validate"))
    return train, validate


def _named(entry: Entry, names: Mapping[int, str]) -> Entry:
    return replace(entry, names=tuple(sorted({**names, **dict(entry.names)}.items())))


def _file(start: Path | None) -> Path:
    if start is None:
        return zoo.locate("segvol")
    file = start / WEIGHTS if start.is_dir() else start
    if not file.is_file():
        raise InputError(
            f"{file} should be a file with weights, but there is none; name one, or the run folder of a training that "
            "has ended."
        )
    return file


class SegVolRecipe:
    """Model, data, loss and validation; a :class:`voxelsmith.train.loop.Recipe`.

    Parameters
    ----------
    model
        The network without its text encoder.
    dataset
        What it is trained on.
    judges
        What it is validated on; other patients, if there are any.
    words
        Embeddings, float32 (width,), of the names in both.
    frozen
        The tensors of the text encoder, which go into the file of the trained weights as they are.
    decoder_only
        Leave the image encoder as it is.
    """

    def __init__(
        self,
        model: SegVolNet,
        dataset: SegVolViews,
        judges: SegVolViews,
        words: Mapping[str, FloatArray],
        frozen: Mapping[str, Tensor],
        *,
        decoder_only: bool = False,
    ) -> None:
        self.model, self.dataset = model, dataset
        self._judges, self._words, self._frozen = judges, words, frozen
        self._decoder_only = decoder_only
        model.image_encoder.requires_grad_(not decoder_only)

    def loss(self, sample: SegVolView, rng: np.random.Generator) -> dict[str, Tensor]:
        """Dice and cross-entropy, summed over the sets of prompts; a tenth of that for pseudo-masks on top."""
        embedding = self._embedding(sample)
        marks = marked(rng, sample.target) | self._text(sample)
        found = {
            kinds: self._answer_loss(embedding, marks, kinds, sample.target)
            for kinds in _SETS
            if marks.keys() >= {*kinds}
        }
        supervised = torch.stack(list(found.values())).sum()
        terms = {"loss": supervised, "supervised": supervised.detach()}
        pseudo = [
            self._answer_loss(embedding, marks, kinds, target)
            for marks, kinds, target in _pseudo_prompts(rng, sample.regions)
        ]
        if pseudo:
            terms["pseudo"] = torch.stack(pseudo).sum().detach()
            terms["loss"] = supervised + _PSEUDO_WEIGHT * torch.stack(pseudo).sum()
        alone = {"box": ("box",), "point": _POINTS, "text": ("text",)}
        return terms | {name: found[kinds].detach() for name, kinds in alone.items() if kinds in found}

    def validate(self) -> dict[str, float]:
        """Mean Dice from a box, one point and a word alone; "score" is the mean of them.

        "text" is absent if nothing has a name.
        """
        rng = np.random.default_rng(54321)
        found: dict[str, list[float]] = {}
        for view in self._judged:
            embedding = self._embedding(view)
            point = points_on(rng, view.target, 0, 0)
            for name, marks in {"box": box_around(view.target), "point": point, "text": self._text(view)}.items():
                if marks:
                    logits = self._decode(embedding, marks)
                    found.setdefault(name, []).append(dice(view.target, logits[0, 0].float().cpu().numpy() > 0))
        measures = {name: float(np.mean(values)) for name, values in found.items()}
        return {"score": float(np.mean(list(measures.values()))), **measures}

    def save(self, weights: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
        """Write trained weights with the text encoder, float32, as a file that can take the published one's place."""
        save({**weights, **self._frozen}, path, metadata, half=False, most=None)

    @cached_property
    def _judged(self) -> list[SegVolView]:
        """The validation set: views of whole volumes and windows in turn, as far as objects are in them."""
        entries = self._judges.entries
        drawn = (
            self._judges.view(np.random.default_rng((12345, n)), entries[n // 2 % len(entries)], whole=n % 2 == 0)
            for n in range(_JUDGED)
        )
        views = [view for view in drawn if view is not None]
        if not views:
            raise InputError("The volumes to validate on show no object; look at their labels, or leave them out.")
        return views

    def _text(self, view: SegVolView) -> Marks:
        return {"text": self._words[view.word]} if view.word else {}

    def _embedding(self, view: SegVolView) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._decoder_only):
            return self.model.encode(self._tensor(view.image)[None])

    def _decode(self, embedding: Tensor, marks: Marks) -> Tensor:
        return self.model.decode(embedding, **{name: self._tensor(values) for name, values in marks.items()})

    def _answer_loss(self, embedding: Tensor, marks: Marks, kinds: tuple[str, ...], target: Mask) -> Tensor:
        """The loss of the answer to prompts of these kinds; a dozen answers are kept as little as their prompts."""
        given = {kind: marks[kind] for kind in kinds}
        loss: Tensor = checkpoint(self._loss_of, embedding, given, self._tensor(target)[None], use_reentrant=False)
        return loss

    def _loss_of(self, embedding: Tensor, marks: Marks, target: Tensor) -> Tensor:
        logits, truth = self._decode(embedding, marks).float(), target.float()
        return segvol_dice_loss(logits, truth) + functional.binary_cross_entropy_with_logits(logits, truth)

    def _tensor(self, values: np.ndarray[Any, Any]) -> Tensor:
        """An array, on the device of the model, as a batch of one."""
        return torch.from_numpy(values)[None].to(self.model.prompt_encoder.no_mask_embed.weight.device)


def _pseudo_prompts(rng: np.random.Generator, regions: Labels) -> list[tuple[Marks, tuple[str, ...], Mask]]:
    """Prompts, which of them are used, and what they mean, for six regions of a view; none if there are no regions."""
    large = np.flatnonzero(np.bincount(regions.ravel()) >= max(1, _LEAST_REGION * regions.size))
    large = large[large > 0]
    made: list[tuple[Marks, tuple[str, ...], Mask]] = []
    for kinds in _PSEUDO_SETS if len(large) else ():
        mask: Mask = regions == rng.choice(large)
        marks = marked(rng, mask, LEAST_PSEUDO_POINTS)
        made.append((marks, kinds, within_box(regions, mask) if "box" in kinds else mask))
    return made
