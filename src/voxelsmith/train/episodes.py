"""Episodes: an annotated slice and one to segment by it, made of volumes with and without labels.

Owns where the pairs come from. Superpixels (Ouyang et al., ECCV 2020): a region of a slice is the class, and the slice
itself, changed independently, the query. Supervoxels (Hansen et al., MedIA 2022): a region of a volume, in slices at
most three apart. Real labels: the same structure in another patient, or elsewhere in the same one. Synthetic anatomies:
label maps rendered by :mod:`voxelsmith.train.anatomy`. Support and query are moved, bent and changed in brightness
independently. Patients are split before: a dataset knows the volumes of one side alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from torch.utils.data import Dataset

from voxelsmith.core.errors import InputError
from voxelsmith.train import instrument, warp
from voxelsmith.train.anatomy import FREESURFER, PLAIN, anatomy_sample
from voxelsmith.train.entry import Entry
from voxelsmith.train.sample import Annotated, Field, Labels, Mask
from voxelsmith.train.stacks import LEAST_SHARE, MOST_SHARE, Stack, stack_of, stack_of_sample

SOURCES = ("superpixel", "supervoxel", "real", "synthetic")
"""Where episodes come from."""

MULTIPLE = 16
"""Sides of slices are multiples of this."""

_CHANCES = {"superpixel": 0.25, "supervoxel": 0.35, "real": 0.3, "synthetic": 0.1}
_APART = 3
_COARSENESS = (5.0, 150.0)
_ELSEWHERE = 0.7
_DRIFT = 0.1
_TRIES = 20
_DEGREES, _SHEAR, _ZOOM, _SHIFT, _ELASTICITY = 10.0, 0.1, (0.85, 1.2), 0.04, 0.06
_GAMMA, _NOISE = (0.5, 1.5), 0.03
_MAPS_KEPT = 4


_Drawn: TypeAlias = tuple[Field, Field, Field, Field]


class Episodes(NamedTuple):
    """A few episodes of one shape; H and W are multiples of :data:`MULTIPLE`.

    Parameters
    ----------
    support : float32 array, shape (B, 1, H, W)
        Annotated slices, brightness 0 to 1.
    annotation : float32 array, shape (B, 1, H, W)
        Where the class lies in them, 0 or 1.
    query, truth : float32 arrays, shape (B, 1, H, W)
        The same of the slices to segment.
    """

    support: Field
    annotation: Field
    query: Field
    truth: Field


class EpisodeSet(Dataset[Episodes]):
    """Endless episodes; sample ``i`` depends on the volumes, the seed and ``i`` alone.

    Parameters
    ----------
    listed
        Volumes to draw from; within a group, a label means the same structure in everybody.
    seed
        Decides the samples.
    side
        Pixels of the longer side of a slice, a multiple of :data:`MULTIPLE`.
    batch
        Episodes of a sample, all from one volume or pair of patients.
    augmented
        Whether slices are changed at random; a query of a superpixel always is.

    Raises
    ------
    InputError
        If there is nothing to draw from, or the side is no such multiple.
    """

    def __init__(
        self, listed: Iterable[Entry], seed: int = 0, *, side: int = 256, batch: int = 2, augmented: bool = True
    ) -> None:
        if side < MULTIPLE or side % MULTIPLE:
            raise InputError(f"The longer side of a slice is a multiple of {MULTIPLE} pixels, got {side}.")
        listed = list(listed)
        self._seed, self.side, self.batch, self._augmented = seed, side, batch, augmented
        self._scans = [e for e in listed if e.image is not None]
        self._labelled = [e for e in self._scans if e.labels is not None]
        self._maps = [e for e in listed if e.anatomy and e.labels is not None]
        if not self.sources:
            raise InputError("Episodes are made of images or of label maps with an anatomy; list at least one volume.")
        self._stacks: dict[Entry, Stack] = {}
        self._read_map: Callable[[Entry], Annotated] = lru_cache(maxsize=_MAPS_KEPT)(Entry.read_map)

    @property
    def sources(self) -> tuple[str, ...]:
        """Which of :data:`SOURCES` the volumes allow."""
        there = {"superpixel": self._scans, "supervoxel": self._scans, "real": self._labelled, "synthetic": self._maps}
        return tuple(source for source in SOURCES if there[source])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_stacks": {}, "_read_map": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._read_map = lru_cache(maxsize=_MAPS_KEPT)(Entry.read_map)

    def __getitem__(self, index: int) -> Episodes:
        """Episodes from a random source."""
        rng = np.random.default_rng((self._seed, index))
        chances = np.array([_CHANCES[source] for source in self.sources])
        return self.episodes(rng, str(rng.choice(self.sources, p=chances / chances.sum())))

    def episodes(self, rng: np.random.Generator, source: str) -> Episodes:
        """Episodes from one of the :attr:`sources`; volumes that show nothing usable are passed over.

        Raises
        ------
        InputError
            If no volume that was tried shows enough of anything.
        FormatError, GeometryError
            If a volume cannot be read.
        """
        for _ in range(_TRIES):
            found = self._drawn(rng, source)
            if found:
                parts = list(zip(*found, strict=True))
                return Episodes(*(np.stack(part)[:, None] for part in parts))
        raise InputError(
            f"{_TRIES} volumes in a row showed no region of {LEAST_SHARE:.1%} to {MOST_SHARE:.0%} of a slice, so no "
            f"{source} episode can be made; list volumes with larger structures, or without empty ones."
        )

    def _drawn(self, rng: np.random.Generator, source: str) -> list[_Drawn]:
        """Support, annotation, query and truth, so many times; empty if the volume shows nothing."""
        if source == "superpixel":
            return self._by_superpixels(rng, self._stack(_one(rng, self._scans)))
        if source == "supervoxel":
            stack = self._stack(_one(rng, self._scans))
            return self._by_regions(rng, (stack, stack), "supervoxels")
        if source == "real":
            entry = _one(rng, self._labelled)
            other = self._partner(rng, entry)
            return self._by_regions(rng, (self._stack(entry), self._stack(other)), "labels")
        entry = _one(rng, self._maps)
        drawn = self._read_map(entry)
        scheme = FREESURFER if entry.anatomy == "freesurfer" else PLAIN
        sample = anatomy_sample(rng, drawn.labels, drawn.spacing, scheme=scheme, name=entry.name)
        stack = stack_of_sample(sample, int(np.argmax(sample.spacing + 1e-3 * rng.random(3))))
        return self._by_regions(rng, (stack, stack), "labels")

    def _stack(self, entry: Entry) -> Stack:
        if entry not in self._stacks:
            self._stacks[entry] = stack_of(entry)
        return self._stacks[entry]

    def _partner(self, rng: np.random.Generator, entry: Entry) -> Entry:
        """Mostly another patient of the group, with a file of the same name where there are any; else the same."""
        others = [e for e in self._labelled if e.group == entry.group and e.patient != entry.patient]
        if not others or rng.random() > _ELSEWHERE:
            return entry
        alike = [
            e for e in others if e.image is not None and entry.image is not None and e.image.name == entry.image.name
        ]
        return _one(rng, alike or others)

    def _by_superpixels(self, rng: np.random.Generator, stack: Stack) -> list[_Drawn]:
        shape = self._shape(stack)

        def draw() -> _Drawn | None:
            n = int(rng.integers(len(stack.image)))
            regions = stack.superpixels(n, float(np.exp(rng.uniform(*np.log(_COARSENESS)))))
            sizes = np.bincount(regions.ravel())
            sizes[0] = 0
            weight = np.sqrt(np.where(sizes <= MOST_SHARE * regions.size, sizes, 0))
            if not weight.any():
                return None
            mask = regions == rng.choice(len(sizes), p=weight / weight.sum())
            first = view(rng, stack.image[n], mask, shape, changed=self._augmented)
            return (*first, *view(rng, stack.image[n], mask, shape))

        return self._filled(draw)

    def _by_regions(self, rng: np.random.Generator, stacks: tuple[Stack, Stack], kind: str) -> list[_Drawn]:
        """Slices that show one region: near each other in one volume, at about the same height of it in two."""
        support, query = stacks
        shown = support.shown(kind), query.shown(kind)
        common = sorted(shown[0].keys() & shown[1].keys())
        if not common:
            return []
        shape = self._shape(support)

        def draw() -> _Drawn:
            value = int(rng.choice(common))
            slices = shown[0][value], shown[1][value]
            n = int(rng.choice(slices[0]))
            m = _nearby(rng, n, slices[0]) if support is query else _at_height(rng, n, *slices)
            masks = _region(support, kind, n, value), _region(query, kind, m, value)
            first = view(rng, support.image[n], masks[0], shape, changed=self._augmented)
            return (*first, *view(rng, query.image[m], masks[1], shape, changed=self._augmented))

        return self._filled(draw)

    def _filled(self, draw: Callable[[], _Drawn | None]) -> list[_Drawn]:
        """A whole sample; episodes whose class was moved out of sight are drawn again, a few times."""
        found: list[_Drawn] = []
        for _ in range(_TRIES * self.batch):
            drawn = draw()
            if drawn is not None and drawn[1].any() and drawn[3].any():
                found.append(drawn)
            if len(found) == self.batch:
                return found
        return []

    def _shape(self, stack: Stack) -> tuple[int, int]:
        planes = stack.image.shape[1:]
        a, b = (max(MULTIPLE, round(n * self.side / max(planes) / MULTIPLE) * MULTIPLE) for n in planes)
        return a, b


def view(
    rng: np.random.Generator, image: Field, mask: Mask, shape: tuple[int, int], *, changed: bool = True
) -> tuple[Field, Field]:
    """A slice and a mask on another grid, resampled once; turned, bent and changed in brightness unless told not to.

    Parameters
    ----------
    rng
        Where the randomness comes from.
    image, mask : arrays, shape (A, B)
        Brightness, 0 to 1, and where the class lies.
    shape
        Of the result; the slice fills it, and goes on beyond its border as in a mirror.
    changed
        Whether anything is random.

    Returns
    -------
    two float32 arrays of the shape
    """
    size, source = np.array([*shape, 1]), (*image.shape, 1)
    matrix, centre, elasticity = np.diag([*(np.array(source) / size)]), (np.array(source) - 1) / 2, 0.0
    if changed:
        angle, shear = np.radians(rng.uniform(-_DEGREES, _DEGREES)), rng.uniform(-_SHEAR, _SHEAR)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        zoom = np.exp(rng.uniform(*np.log(_ZOOM)))
        matrix[:2, :2] = matrix[:2, :2] @ turn @ np.array([[1, shear], [0, 1]]) / zoom
        centre[:2] += rng.uniform(-_SHIFT, _SHIFT, 2) * source[:2]
        elasticity = rng.uniform(0, _ELASTICITY)
    # Depth counts like a side, so that a bend is as wide as a share of the slice.
    deep = np.array([1.0, 1.0, max(shape)])
    steps = np.array([*(size[:2] / source[:2]), 1.0])
    places = warp.random_places(rng, (*shape, 1), deep, matrix, centre, steps, elasticity)
    warp.reflect(places, source)
    moved = warp.look_up_linear(image[..., None], places)[..., 0]
    truth = warp.look_up_linear(mask[..., None].astype(np.float32), places)[..., 0] > 0.5
    if changed:
        moved = instrument.gamma(moved, rng.uniform(*_GAMMA))
        moved = moved + np.float32(rng.uniform(0, _NOISE)) * rng.standard_normal(moved.shape, dtype=np.float32)
        moved = np.clip(moved, 0, 1)
    return moved, truth.astype(np.float32)


def _region(stack: Stack, kind: str, n: int, value: int) -> Mask:
    regions: Labels = stack.labels if kind == "labels" else stack.supervoxels
    return np.asarray(regions[n] == value)


def _file(entry: Entry) -> str:
    return "" if entry.image is None else entry.image.name


def _one(rng: np.random.Generator, entries: Sequence[Entry]) -> Entry:
    """A volume of a random group, so that large groups do not crowd out small ones."""
    groups = sorted({e.group for e in entries})
    group = groups[int(rng.integers(len(groups)))]
    members = [e for e in entries if e.group == group]
    return members[int(rng.integers(len(members)))]


def _nearby(rng: np.random.Generator, n: int, slices: Sequence[int]) -> int:
    """Another slice at most three away, or else the nearest one."""
    others = [m for m in slices if m != n]
    near = [m for m in others if abs(m - n) <= _APART] or [min(others, key=lambda m: abs(m - n))]
    return int(rng.choice(near))


def _at_height(rng: np.random.Generator, n: int, own: Sequence[int], others: Sequence[int]) -> int:
    """The slice of another volume at about the same share of the structure's range."""
    share = (n - own[0]) / max(1, own[-1] - own[0]) + rng.uniform(-_DRIFT, _DRIFT)
    wanted = others[0] + share * (others[-1] - others[0])
    return int(min(others, key=lambda m: abs(m - wanted)))
