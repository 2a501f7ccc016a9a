"""Views: what SegVol's training shows of volumes, as its engine will show them.

Owns the volumes, read and normalised as for the engine, and how views of them are drawn: half are a whole volume at the
size of the network, half a window at full resolution, two thirds of which are centred on an object. Both take the
nearest voxels, as the engine does, and only then flips and changes of brightness follow. The published training takes
means over voxels where it shrinks a volume, and pads small ones before; its inference does not, and what is learned
here is to serve inference.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from voxelsmith.core.errors import InputError
from voxelsmith.core.prompts import Box
from voxelsmith.segment.pseudo_masks import pseudo_masks
from voxelsmith.segment.segvol.preprocess import prepare
from voxelsmith.segment.segvol.resize import nearest_exact
from voxelsmith.segment.zoom import FloatArray, Region
from voxelsmith.train.entry import Entry
from voxelsmith.train.sample import Grid, Labels, Mask

_WHOLE, _ON_OBJECT = 1 / 2, 2 / 3
_FLIP, _RECOLOUR, _CHANGE = 0.2, 0.1, 0.1
_CANDIDATES = 50
_TRIES = 50
_PSEUDO_VOXELS = 600_000
_KEPT_VOXELS = 250_000_000

Places = tuple[npt.NDArray[np.intp], ...]
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class SegVolView:
    """A view of a volume with an object in it.

    Parameters
    ----------
    image : array of float32, shape (D, H, W)
        About 0..1.
    target : array of bool, shape (D, H, W)
        The object, not empty.
    word
        What it is called; empty if it has no name.
    regions : array of integers, shape (D, H, W)
        Pseudo-masks 1, 2, ...; 0 for none.
    """

    image: FloatArray
    target: Mask
    word: str
    regions: Labels


class SegVolVolume:
    """A volume of the split as the engine takes it, kept in memory.

    Parameters
    ----------
    entry
        With image and labels.

    Raises
    ------
    FormatError
        If a file cannot be read.
    GeometryError
        If image and labels lie on different grids.
    InputError
        If the image is constant, or labels are no labels.
    """

    def __init__(self, entry: Entry) -> None:
        volume, labels = entry.read_image(), entry.read_labels()
        if labels is None:
            raise InputError(f"{entry.name} has no labels to learn from; list it with labels or leave it out.")
        volume.require_same_grid(labels)
        prepared = prepare(volume)
        own = prepared.axes.view(np.asarray(labels.array))[prepared.box.slices]
        self.crop, self.spacing = prepared.crop, prepared.spacing
        self.labels: Labels = np.ascontiguousarray(own.astype(np.min_scalar_type(int(own.max()))))
        self.values = sorted(set[int]().union(*(np.unique(plane).tolist() for plane in self.labels)) - {0})
        self._words = dict(entry.names)

    @property
    def shape(self) -> Grid:
        """Voxels along d, h and w."""
        d, h, w = self.crop.shape
        return d, h, w

    @cached_property
    def _regions(self) -> Labels:
        """Pseudo-masks on a coarse grid, because they are coarse by nature."""
        d, h, w = self.shape
        whole = Box((0, 0, 0), (d - 1, h - 1, w - 1))
        region = Region.over(whole, self.spacing, _PSEUDO_VOXELS)
        return pseudo_masks(region.shrink(self.crop), region.spacing)

    def whole(self, view: Grid) -> Places:
        """Where the voxels of a view of the whole volume come from."""
        return tuple(nearest_exact(n, wanted) for n, wanted in zip(self.shape, view, strict=True))

    def window(self, view: Grid, centre: npt.ArrayLike) -> Places:
        """Where those of a window come from; beyond the border, if the volume is smaller than the view."""
        places = []
        for n, wanted, at in zip(self.shape, view, np.asarray(centre).tolist(), strict=True):
            start = min(max(at - wanted // 2, 0), n - wanted) if n > wanted else -((wanted - n) // 2)
            places.append(np.arange(start, start + wanted))
        return tuple(places)

    def centre(self, rng: np.random.Generator, value: int) -> npt.NDArray[np.intp]:
        """A voxel of an object, or of the background for 0."""
        if not value:
            candidates = rng.integers(0, self.shape, (_CANDIDATES, 3))
            chosen: npt.NDArray[np.intp] = candidates[int((self.labels[tuple(candidates.T)] == 0).argmax())]
            return chosen
        at = np.flatnonzero(self.labels == value)
        return np.array(np.unravel_index(at[rng.integers(len(at))], self.shape), dtype=np.intp)

    def look(self, rng: np.random.Generator, places: Places, wanted: int) -> SegVolView | None:
        """A view of these voxels, of the wanted object if it is there, else of another one; None if there is none."""
        labels = _gathered(self.labels, places)
        here = set(np.unique(labels).tolist()) - {0}
        if not here:
            return None
        value = wanted if wanted in here else int(rng.choice(sorted(here)))
        coarse = tuple(
            np.where((at >= 0) & (at < n), at * m // n, -1)
            for at, n, m in zip(places, self.shape, self._regions.shape, strict=True)
        )
        return SegVolView(
            _gathered(self.crop, places), labels == value, self._words.get(value, ""), _gathered(self._regions, coarse)
        )


class SegVolViews(Dataset[SegVolView]):
    """Endless views; view ``i`` depends on the volumes, the seed and ``i`` alone.

    Parameters
    ----------
    listed
        Volumes with image and labels; the others are passed over.
    view
        Voxels (D, H, W) of a view.
    seed
        Decides the views.

    Raises
    ------
    InputError
        If there is no volume with image and labels.
    """

    def __init__(self, listed: Iterable[Entry], view: Grid, seed: int = 0) -> None:
        self.entries = [e for e in listed if e.image is not None and e.labels is not None]
        if not self.entries:
            raise InputError(
                "SegVol learns from volumes with image and labels, but none is listed; add labels to some of them."
            )
        self._view, self._seed = view, seed
        self._read: dict[Entry, SegVolVolume] = {}

    def __getitem__(self, index: int) -> SegVolView:
        """The view; volume, object, place and changes are all random. InputError if the labels hold nothing."""
        rng = np.random.default_rng((self._seed, index))
        for _ in range(_TRIES):
            entry = self.entries[int(rng.integers(len(self.entries)))]
            found = self.view(rng, entry, whole=bool(rng.random() < _WHOLE))
            if found is not None:
                return _changed(rng, found)
        raise InputError(
            f"In {_TRIES} tries no object was found on what is brighter than the background; look at the labels of the "
            "volumes to train on."
        )

    def view(self, rng: np.random.Generator, entry: Entry, *, whole: bool) -> SegVolView | None:
        """A view as the engine would show it, of the whole volume or a window of it; None if no object is in it.

        Raises
        ------
        FormatError, GeometryError, InputError
            As :class:`SegVolVolume` does.
        """
        volume = self._volume(entry)
        if not volume.values:
            return None
        value = int(rng.choice(volume.values))
        if whole:
            return volume.look(rng, volume.whole(self._view), value)
        around = value if rng.random() < _ON_OBJECT else 0
        seen = volume.look(rng, volume.window(self._view, volume.centre(rng, around)), value)
        return seen or volume.look(rng, volume.window(self._view, volume.centre(rng, value)), value)

    def _volume(self, entry: Entry) -> SegVolVolume:
        # The volume used last is the last one in the dictionary, and the last one to be forgotten.
        volume = self._read.pop(entry, None) or SegVolVolume(entry)
        self._read[entry] = volume
        while len(self._read) > 1 and sum(v.crop.size for v in self._read.values()) > _KEPT_VOXELS:
            del self._read[next(iter(self._read))]
        return volume


def _gathered(array: npt.NDArray[_Scalar], places: Places) -> npt.NDArray[_Scalar]:
    """The voxels of an array at places along each axis; 0 beyond its borders."""
    found: npt.NDArray[_Scalar] = array[
        np.ix_(*(np.clip(at, 0, n - 1) for at, n in zip(places, array.shape, strict=True)))
    ]
    for axis, (at, n) in enumerate(zip(places, array.shape, strict=True)):
        np.moveaxis(found, axis, 0)[(at < 0) | (at >= n)] = 0
    return found


def _changed(rng: np.random.Generator, view: SegVolView) -> SegVolView:
    """Flipped and recoloured, at random and mostly not."""
    flipped = tuple(axis for axis in range(3) if rng.random() < _FLIP)
    image, target, regions = (np.flip(a, flipped) for a in (view.image, view.target, view.regions))
    if rng.random() < _RECOLOUR:
        image = image * np.float32(1 + rng.uniform(-_CHANGE, _CHANGE))
    if rng.random() < _RECOLOUR:
        image = image + np.float32(rng.uniform(-_CHANGE, _CHANGE))
    return SegVolView(
        np.ascontiguousarray(image), np.ascontiguousarray(target), view.word, np.ascontiguousarray(regions)
    )
