"""Prompted objects: the endless training data of the promptable network.

Owns where its episodes come from: how often synthetic images, synthetic anatomy, real volumes with labels and real
volumes with pseudo-masks are drawn, which object of them is prompted, and at which size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

import numpy as np
from torch.utils.data import Dataset

from voxelsmith.core.errors import InputError
from voxelsmith.train.anatomy import FREESURFER, PLAIN, anatomy_sample
from voxelsmith.train.augment import augment
from voxelsmith.train.deform import deform
from voxelsmith.train.entry import Entry
from voxelsmith.train.prompting import Episode, begin
from voxelsmith.train.real import RealVolume
from voxelsmith.train.sample import Annotated, Mask, Vector
from voxelsmith.train.synthetic import synthetic_sample

_SOURCES = {"shapes": 0.15, "anatomy": 0.21, "real": 0.57, "pseudo": 0.07}
_GRIDS = {24_000: 0.3, 48_000: 0.35, 96_000: 0.25, 200_000: 0.1}
_SCHEMES = {"freesurfer": FREESURFER, "plain": PLAIN}
# A synthetic image costs more than an episode, so several share it; they are spread over some steps.
_SHARED, _SHARING = 4, 4
_LEAST_VOXELS = 40
_TRIES = 100
_KEPT_VOXELS = 250_000_000


class PromptedObjects(Dataset[Episode]):
    """Endless episodes; episode ``i`` depends on the volumes, the seed and ``i`` alone.

    Parameters
    ----------
    listed
        Volumes to draw from beside synthetic shapes.
    seed
        Decides the episodes.
    augmented
        Whether real images are deformed and recoloured.
    """

    def __init__(self, listed: Iterable[Entry] = (), seed: int = 0, *, augmented: bool = True) -> None:
        listed = list(listed)
        self._seed, self._augmented = seed, augmented
        self._maps = [e for e in listed if e.anatomy]
        self._imaged = _by_group(e for e in listed if e.image is not None)
        self._labelled = _by_group(e for e in listed if e.image is not None and e.labels is not None)
        self._read_maps: dict[Entry, Annotated] = {}
        self._read_volumes: dict[Entry, RealVolume] = {}
        self._recent: dict[str, dict[int, Annotated | None]] = {"shapes": {}, "anatomy": {}}

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """What episodes can come from: "shapes", "anatomy", "real" and "pseudo", as far as the volumes allow it."""
        has = {"shapes": True, "anatomy": self._maps, "real": self._labelled, "pseudo": self._imaged}
        return tuple(source for source in _SOURCES if has[source])

    @cached_property
    def _map_weights(self) -> Vector:
        """Every group is equally likely."""
        groups = [e.group for e in self._maps]
        weight = np.array([1 / groups.count(group) for group in groups])
        shares: Vector = weight / weight.sum()
        return shares

    def __getitem__(self, index: int) -> Episode:
        """The episode; its source, object, prompts and size are all random."""
        rng = np.random.default_rng((self._seed, index))
        weight = np.array([_SOURCES[source] for source in self.sources])
        source = str(rng.choice(self.sources, p=weight / weight.sum()))
        at = index // (_SHARING * _SHARED) * _SHARED + index % _SHARED
        return self.episode(rng, source, shared=at)

    def episode(
        self, rng: np.random.Generator, source: str, voxels: int = 0, kind: str = "", shared: int | None = None
    ) -> Episode:
        """An episode from one of the :attr:`sources`.

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

        Raises
        ------
        FormatError, GeometryError
            If a volume cannot be read, or its labels lie on another grid.
        InputError
            If labels are no labels, or no annotated object that is large enough was found in many tries.
        """
        for _ in range(_TRIES):
            if shared is None or source not in self._recent:
                image = self._annotated(rng, source)
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
        if source == "pseudo":
            # Noise leaves no regions, which is nobody's mistake.
            return self.episode(rng, "shapes", voxels, kind)
        raise InputError(
            f"In {_TRIES} tries ({source}) no object of {_LEAST_VOXELS} voxels or more was found on an image that is "
            "not constant; look at the labels of the split's volumes, or leave out those that show nothing."
        )

    def _shared_image(self, source: str, number: int) -> Annotated | None:
        recent = self._recent[source]
        if number not in recent:
            while len(recent) >= _SHARED:
                del recent[next(iter(recent))]
            rng = np.random.default_rng((self._seed, number, list(_SOURCES).index(source)))
            recent[number] = self._annotated(rng, source)
        return recent[number]

    def _annotated(self, rng: np.random.Generator, source: str) -> Annotated | None:
        """An image with objects from a source; None if the volume drawn has none."""
        if source == "shapes":
            return synthetic_sample(rng)
        if source == "anatomy":
            entry = self._maps[int(rng.choice(len(self._maps), p=self._map_weights))]
            if entry not in self._read_maps:
                self._read_maps[entry] = entry.read_map()
            whole = self._read_maps[entry]
            return anatomy_sample(rng, whole.labels, whole.spacing, scheme=_SCHEMES[entry.anatomy], name=entry.name)
        if source == "real":
            found = self._volume(rng, self._labelled).annotated_object(rng)
        else:
            found = self._volume(rng, self._imaged).pseudo_object(rng)
        if found is not None and self._augmented:
            found = deform(rng, found) if rng.random() < 0.7 else found
            found = replace(found, image=augment(rng, found.image, found.spacing))
        return found

    def _volume(self, rng: np.random.Generator, groups: dict[str, list[Entry]]) -> RealVolume:
        names = list(groups)
        # Between one share a group and one share a volume.
        weight = np.array([len(groups[name]) ** 0.25 for name in names])
        group = groups[names[int(rng.choice(len(names), p=weight / weight.sum()))]]
        entry = group[int(rng.integers(len(group)))]
        # The volume used last is the last one in the dictionary, and the last one to be forgotten.
        volume = self._read_volumes.pop(entry, None) or RealVolume(entry)
        self._read_volumes[entry] = volume
        while len(self._read_volumes) > 1 and sum(v.image.size for v in self._read_volumes.values()) > _KEPT_VOXELS:
            del self._read_volumes[next(iter(self._read_volumes))]
        return volume


def _by_group(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    return groups


def _one_object(rng: np.random.Generator, image: Annotated) -> Mask | None:
    """The mask of one object that is large enough; large ones are likelier."""
    sizes = np.bincount(image.labels.ravel())
    values = np.flatnonzero(sizes >= _LEAST_VOXELS)
    values = values[values > 0]
    weight = np.sqrt(sizes[values])
    return image.labels == rng.choice(values, p=weight / weight.sum()) if len(values) else None
