"""The recipe of the embedded promptable network.

Owns its training data, its loss and its validation: objects from synthetic images, from synthetic anatomy and from real
volumes with labels or pseudo-masks; prompted once, and in half of the steps corrected by clicks on the errors of the
network's own answer, once or twice. :mod:`voxelsmith.train.loop` runs it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from voxelsmith.core.errors import InputError
from voxelsmith.models.promptable import Architecture, PromptableNet
from voxelsmith.train.anatomy import FREESURFER, PLAIN, anatomy_sample
from voxelsmith.train.augment import augment
from voxelsmith.train.deform import deform
from voxelsmith.train.losses import dice_bce
from voxelsmith.train.prompting import Episode, begin, correction
from voxelsmith.train.real import RealVolume
from voxelsmith.train.sample import Annotated, Mask, Vector
from voxelsmith.train.settings import Settings
from voxelsmith.train.split import Entry, entries
from voxelsmith.train.synthetic import synthetic_sample

_SOURCES = {"shapes": 0.22, "anatomy": 0.25, "real": 0.42, "pseudo": 0.11}
_GRIDS = {48_000: 0.3, 96_000: 0.35, 180_000: 0.2, 262_144: 0.15}
_SHARED, _SHARING = 4, 4
_LEAST_VOXELS = 40
_MOST_PASSES = 3


def settings(**overrides: Any) -> Settings:
    """How the shipped network was trained, with some numbers changed."""
    chosen: dict[str, Any] = {
        "steps": 20_000,
        "accumulate": 2,
        "learning_rate": 2e-3,
        "warm_up": 200,
        "weight_decay": 1e-2,
        "average": 0.998,
        "validate_every": 500,
        "checkpoint_every": 250,
        "workers": 1,
        "channels_last": True,
    }
    return Settings(**{**chosen, **overrides})


def recipe(data: Path | None, seed: int = 0, architecture: Architecture | None = None) -> PromptableRecipe:
    """The recipe on a folder of development data, or on synthetic shapes alone.

    Parameters
    ----------
    data
        Folder that the split's paths are relative to; None for none.
    seed
        Decides the samples.
    architecture
        Size of the network.
    """
    torch.manual_seed(seed)
    listed = [] if data is None else list(entries(data))
    return PromptableRecipe(
        PromptableNet(architecture),
        PromptedObjects([e for e in listed if e.use == "train"], seed),
        PromptedObjects([e for e in listed if e.use == "validate"], seed + 1, augmented=False),
    )


class PromptedObjects(Dataset[Episode]):
    """Endless episodes; episode ``i`` depends on the seed and ``i`` alone.

    Parameters
    ----------
    listed
        Volumes to draw from beside synthetic shapes.
    seed
        Decides the episodes.
    augmented
        Whether real images are deformed and recoloured.
    """

    def __init__(self, listed: list[Entry], seed: int, *, augmented: bool = True) -> None:
        self._listed, self._seed, self._augmented = listed, seed, augmented
        self._volumes: dict[Entry, RealVolume] = {}
        self._maps: dict[Entry, Annotated] = {}
        self._recent: dict[str, dict[int, Annotated | None]] = {"shapes": {}, "anatomy": {}}

    @cached_property
    def _map_entries(self) -> list[Entry]:
        """Entries whose labels cover enough of the body to make images from."""
        return [e for e in self._listed if e.image is None or e.group.startswith("Organs")]

    @cached_property
    def _map_weights(self) -> Vector:
        """Heads and bodies are equally likely."""
        groups = [e.group for e in self._map_entries]
        weight = np.array([1 / groups.count(group) for group in groups])
        shares: Vector = weight / weight.sum()
        return shares

    @cached_property
    def _groups(self) -> dict[str, list[Entry]]:
        """Entries with an image, by group."""
        groups: dict[str, list[Entry]] = {}
        for entry in self._listed:
            if entry.image is not None:
                groups.setdefault(entry.group, []).append(entry)
        return groups

    def __getitem__(self, index: int) -> Episode:
        """The episode; its source, object, prompts and size are all random."""
        rng = np.random.default_rng((self._seed, index))
        source = str(rng.choice(list(_SOURCES), p=list(_SOURCES.values())))
        # A synthetic image costs more than an episode, so several share it; they are spread over some steps.
        at = index // (_SHARING * _SHARED) * _SHARED + index % _SHARED
        return self.episode(rng, source, shared=at)

    def episode(
        self, rng: np.random.Generator, source: str, voxels: int = 0, kind: str = "", shared: int | None = None
    ) -> Episode:
        """An episode from a source ("shapes", "anatomy", "real" or "pseudo").

        Parameters
        ----------
        rng
            Decides it.
        source
            Where the image comes from.
        voxels, kind
            As in :func:`voxelsmith.train.prompting.begin`; random if they are not given.
        shared
            Number of the synthetic image; None for one of its own.
        """
        while True:
            if shared is None or source not in self._recent:
                image = self.annotated(rng, source)
            else:
                image = self._shared_image(source, shared)
            shared = None
            truth = None if image is None else _one_object(rng, image)
            if image is None or truth is None:
                continue
            size = voxels or int(rng.choice(list(_GRIDS), p=list(_GRIDS.values())))
            try:
                episode = begin(rng, image.image, truth, image.spacing, size, kind)
            except InputError:
                continue  # A constant image around the object teaches nothing.
            if (episode.target > 0.5).any():
                return episode

    def _shared_image(self, source: str, number: int) -> Annotated | None:
        recent = self._recent[source]
        if number not in recent:
            while len(recent) >= _SHARED:
                del recent[next(iter(recent))]
            rng = np.random.default_rng((self._seed, number, list(_SOURCES).index(source)))
            recent[number] = self.annotated(rng, source)
        return recent[number]

    def annotated(self, rng: np.random.Generator, source: str) -> Annotated | None:
        """An image with objects from a source; None if the volume drawn has none."""
        if source == "anatomy" and self._map_entries:
            entry = self._map_entries[int(rng.choice(len(self._map_entries), p=self._map_weights))]
            scheme = FREESURFER if entry.image is None else PLAIN
            whole = self._label_map(entry)
            return anatomy_sample(rng, whole.labels, whole.spacing, scheme=scheme, name=entry.name)
        if source in ("real", "pseudo") and self._groups:
            volume = self._volume(rng)
            found = volume.annotated_object(rng) if source == "real" else volume.pseudo_object(rng)
            if found is not None and self._augmented:
                found = deform(rng, found) if rng.random() < 0.7 else found
                found = replace(found, image=augment(rng, found.image, found.spacing))
            return found
        return synthetic_sample(rng)

    def _volume(self, rng: np.random.Generator) -> RealVolume:
        names = list(self._groups)
        # Between one share a group and one share a volume.
        weight = np.array([len(self._groups[name]) ** 0.25 for name in names])
        group = self._groups[names[int(rng.choice(len(names), p=weight / weight.sum()))]]
        entry = group[int(rng.integers(len(group)))]
        if entry not in self._volumes:
            self._volumes[entry] = RealVolume(entry)
        return self._volumes[entry]

    def _label_map(self, entry: Entry) -> Annotated:
        if entry not in self._maps:
            self._maps[entry] = entry.read_map()
        return self._maps[entry]


def _one_object(rng: np.random.Generator, image: Annotated) -> Mask | None:
    """The mask of one object that is large enough; large ones are likelier."""
    sizes = np.bincount(image.labels.ravel())
    values = np.flatnonzero(sizes >= _LEAST_VOXELS)
    values = values[values > 0]
    weight = np.sqrt(sizes[values])
    return image.labels == rng.choice(values, p=weight / weight.sum()) if len(values) else None


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
            if not left or not self._correct(region, logits, sample, rng):
                break
        terms = {"loss": torch.stack(losses).mean(), "first": losses[0].detach()}
        if len(losses) > 1:
            terms["last"] = losses[-1].detach()
        return terms

    def _tensor(self, values: np.ndarray[Any, Any]) -> Tensor:
        device = next(self.model.parameters()).device
        return torch.from_numpy(values)[None].to(device)

    def _correct(self, region: Any, logits: Tensor, sample: Episode, rng: np.random.Generator) -> bool:
        """Take the answer and click on one of its errors; False if there is none."""
        probability = logits.detach().float().sigmoid()[0, 0].cpu().numpy()
        made = correction(rng, sample.target > 0.5, probability > 0.5, region.region.spacing)
        if made is None:
            return False
        region.take(probability)
        region.add(made)
        return True

    @cached_property
    def _fixed(self) -> list[Episode]:
        """The validation set."""
        rng = np.random.default_rng(12345)
        kinds = ("box", "box", "click")
        return [
            self._judges.episode(rng, source, voxels=96_000, kind=kinds[n % 3])
            for source, count in (("shapes", 12), ("anatomy", 12), ("real", 24))
            for n in range(count)
        ]

    def validate(self) -> dict[str, float]:
        """Mean Dice after the first prompt and after one and two clicks more, and of the guess without the network."""
        rng = np.random.default_rng(54321)
        dice: list[list[float]] = []
        for episode in self._fixed:
            region, truth = episode.region.branch(), episode.target > 0.5
            found = [_dice(truth, region.guess > 0.5)]
            for _ in range(_MOST_PASSES):
                logits = self.model(self._tensor(region.inputs()))
                found.append(_dice(truth, logits.float().sigmoid()[0, 0].cpu().numpy() > 0.5))
                if not self._correct(region, logits, episode, rng):
                    break
            dice.append(found + [found[-1]] * (_MOST_PASSES + 1 - len(found)))
        guess, first, second, third = np.mean(dice, axis=0).tolist()
        real = np.mean([d[1:] for d in dice[24:]], axis=0).tolist()
        return {
            "score": (first + second + third) / 3,
            "guess": guess,
            "dice0": first,
            "dice1": second,
            "dice2": third,
            "real0": real[0],
            "real2": real[2],
        }


def _dice(truth: Mask, answer: Mask) -> float:
    total = int(np.count_nonzero(truth)) + int(np.count_nonzero(answer))
    return 2 * int(np.count_nonzero(truth & answer)) / max(total, 1)
