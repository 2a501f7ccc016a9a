"""Subjects: volumes of one kind, laid over each other, so that pairs of them can be cut out alike.

Owns the common world of a group, which is that of its first volume, and the affine maps that lead from there to every
other one: of images the map that the registration engine finds, of label maps the one that brings the centres of
equal structures nearest to each other. Owns the grid on which pairs of the group are cut out, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import run_job
from voxelsmith.core.volume import Volume
from voxelsmith.register.affine import align
from voxelsmith.register.learned import working_spacing
from voxelsmith.register.preparation import prepare
from voxelsmith.register.request import AffineSettings
from voxelsmith.train import warp
from voxelsmith.train.anatomy import FREESURFER, PLAIN, LabelScheme, renumbered
from voxelsmith.train.entry import Entry
from voxelsmith.train.sample import Field, Grid, Labels, Mask, Vector

_SCHEMES = {"freesurfer": FREESURFER, "plain": PLAIN}
_KEPT_VOXELS = 250_000_000
# Grids have multiples of this many voxels, and at least two of them: the network halves them three times.
_STEP = 8
_MARGIN = 1.04
_HIGHEST = 32_767
# Every so many voxels are counted for the centre of a structure.
_STRIDE = 2
# By which share of its size the centre of a structure may be off.
_UNSURE = 0.5
# Images are averaged over blocks when pairs have voxels larger than theirs by this factor.
_COARSER = 1.5


@dataclass(frozen=True, eq=False)
class Subject:
    """One volume of a group.

    Parameters
    ----------
    entry
        Where it comes from.
    image : array of float32, shape (I, J, K)
        Intensities of about 0 to 1; zeros if images are made of the labels.
    labels : array of integers, shape (i, j, k)
        Structures; zeros if none are known.
    place, labels_place
        From the common world, millimetres, to voxels of ``image`` and of ``labels``.
    scheme
        What the labels mean if images are made of them.
    """

    entry: Entry
    image: Field
    labels: Labels
    place: Affine
    labels_place: Affine
    scheme: LabelScheme = PLAIN

    def image_at(self, places: Field) -> Field:
        """The image at places in voxels of it, shape (3, ...), linearly; 0 beyond its border."""
        inner, outside = _clipped(places, self.image.shape)
        found = warp.look_up_linear(self.image, inner)
        found[outside] = 0
        return found

    def labels_at(self, places: Field) -> Labels:
        """The labels nearest to places in voxels of the image, shape (3, ...); 0 beyond their border."""
        onward = (self.labels_place @ self.place.inverse()).matrix.astype(np.float32)
        there = np.einsum("ab,bijk->aijk", onward[:3, :3], places) + onward[:3, 3].reshape(3, 1, 1, 1)
        inner, outside = _clipped(there, self.labels.shape)
        found = warp.look_up_nearest(self.labels, inner)
        found[outside] = 0
        return found


class Group:
    """Volumes that can be paired with each other.

    Parameters
    ----------
    entries
        The volumes; the first one decides the common world and the grid of the pairs.
    synthetic
        Whether images are made of the labels; otherwise the images count, and labels as far as there are any.
    """

    def __init__(self, entries: Sequence[Entry], *, synthetic: bool) -> None:
        self.entries, self.synthetic = tuple(entries), synthetic
        self._maps: dict[Entry, Affine] = {}
        self._read: dict[Entry, Subject] = {}

    def subject(self, entry: Entry) -> Subject:
        """One of the volumes, read, with its place in the common world.

        Raises
        ------
        FormatError, GeometryError, InputError
            If it cannot be read, its labels lie on another grid or are no labels, or it cannot be laid over the first.
        """
        # The volume used last is the last one in the dictionary, and the last one to be forgotten.
        subject = self._read.pop(entry, None) or (self._map(entry) if self.synthetic else self._scan(entry))
        self._read[entry] = subject
        while len(self._read) > 1 and sum(s.labels.size for s in self._read.values()) > _KEPT_VOXELS:
            del self._read[next(iter(self._read))]
        return subject

    @cached_property
    def grid(self) -> Grid:
        """Number of voxels of a pair along right, anterior and superior."""
        i, j, k = (max(2, round(size / (self.spacing * _STEP))) * _STEP for size in self._box[1].tolist())
        return i, j, k

    @cached_property
    def spacing(self) -> float:
        """Voxel size of a pair in millimetres, the same along all axes."""
        return working_spacing(self._box[1], self._first.spacing)

    @property
    def centre(self) -> Vector:
        """The middle of what pairs show, in the common world."""
        return self._box[0]

    @cached_property
    def _first(self) -> Volume:
        return _label_map(self.entries[0]) if self.synthetic else self.entries[0].read_image()

    @cached_property
    def _centres(self) -> tuple[Vector, Vector]:
        return _centres(self._first, _SCHEMES[self.entries[0].anatomy])

    @cached_property
    def _box(self) -> tuple[Vector, Vector]:
        """Middle and size, along right, anterior and superior, of what the first volume shows."""
        first = self._first
        ends = np.array([[0] * 3, first.grid], dtype=np.float64)
        if self.synthetic:
            scheme = _SCHEMES[self.entries[0].anatomy]
            shown = ~np.isin(np.asarray(first.array), [0, *scheme.unannotated])
            sides = [np.flatnonzero(shown.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
            ends = np.array([[side[0] for side in sides], [side[-1] + 1 for side in sides]], dtype=np.float64)
        size = np.empty(3)
        size[list(first.affine.closest_axes)] = (ends[1] - ends[0]) * first.spacing
        return first.affine.apply(ends.mean(axis=0) - 0.5), size * (_MARGIN if self.synthetic else 1.0)

    def _map(self, entry: Entry) -> Subject:
        volume, scheme = _label_map(entry), _SCHEMES[entry.anatomy]
        if entry not in self._maps:
            self._maps[entry] = _between(self._centres, _centres(volume, scheme), entry)
        place = volume.affine.inverse() @ self._maps[entry]
        labels = np.asarray(volume.array)
        return Subject(entry, np.broadcast_to(np.float32(0), labels.shape), labels, place, place, scheme)

    def _scan(self, entry: Entry) -> Subject:
        volume, labels = entry.read_image(), entry.read_labels()
        if labels is not None:
            volume.require_same_grid(labels)
        image = prepare(volume)
        if entry not in self._maps:
            found = np.eye(4)
            if entry != self.entries[0]:
                # A validation asks for subjects where gradients are off; the search needs its own.
                with torch.enable_grad():
                    found = run_job(align(prepare(self._first), image, AffineSettings())).matrix
            self._maps[entry] = Affine(found)
        if self.spacing > _COARSER * volume.spacing.min():
            image = image.coarser(self.spacing)
        place = self._maps[entry]
        return Subject(
            entry,
            image.values,
            np.zeros(volume.grid, np.uint8) if labels is None else np.asarray(labels.array),
            image.affine.inverse() @ place,
            volume.affine.inverse() @ place,
        )


def _clipped(places: Field, grid: Sequence[int]) -> tuple[Field, Mask]:
    """Places moved into a volume, and which of them lay beyond it."""
    outside = np.zeros(places.shape[1:], dtype=bool)
    inner = places.copy()
    for place, count in zip(inner, grid, strict=True):
        outside |= (place < -0.5) | (place > count - 0.5)
        np.clip(place, 0, count - 1, out=place)
    return inner, outside


def _label_map(entry: Entry) -> Volume:
    """The labels of an entry in a small type; InputError if there are none, or some are above 32 767."""
    volume = entry.read_labels()
    if volume is None:
        raise InputError(f"{entry.name} has no labels to make images from.")
    labels = np.asarray(volume.array)
    highest = int(labels.max())
    if highest > _HIGHEST:
        raise InputError(f"Images are made of labels up to {_HIGHEST}, but {entry.name} has {highest}; renumber them.")
    return Volume(labels.astype(np.min_scalar_type(highest)), volume.affine, entry.name)


def _centres(volume: Volume, scheme: LabelScheme) -> tuple[Vector, Vector]:
    """For every number: the centre of its annotated structure in millimetres, and its size in mm^3."""
    labels = np.asarray(volume.array)[::_STRIDE, ::_STRIDE, ::_STRIDE]
    numbers = renumbered(np.arange(int(labels.max()) + 1), scheme.aliases)
    numbers[np.isin(numbers, list(scheme.unannotated))] = 0
    flat = numbers[labels].ravel()
    counts = np.bincount(flat).astype(np.float64)
    counts[0] = 0
    index = np.empty((len(counts), 3))
    for axis, count in enumerate(labels.shape):
        at = np.arange(count).reshape([-1 if own == axis else 1 for own in range(3)])
        sums = np.bincount(flat, np.broadcast_to(_STRIDE * at, labels.shape).ravel())
        index[:, axis] = sums / np.maximum(counts, 1)
    return volume.affine.apply(index), counts * _STRIDE**3 * volume.affine.voxel_volume


def _between(first: tuple[Vector, Vector], other: tuple[Vector, Vector], entry: Entry) -> Affine:
    """The affine map that brings centres of structures of the first volume nearest to those of another one."""
    count = min(len(first[1]), len(other[1]))
    size = np.cbrt(np.minimum(first[1][:count], other[1][:count]))
    common = size > 0
    if not common.any():
        raise InputError(
            f"{entry.name} has no annotated structure in common with the first volume of its group; give it a group of "
            "its own, or number its labels alike."
        )
    a, b, w = first[0][:count][common], other[0][:count][common], size[common] / size.sum()
    middle_a, middle_b = w @ a, w @ b
    a, b = a - middle_a, b - middle_b
    spread = (a * w[:, None]).T @ a
    # Along directions in which the centres hardly differ the map is a shift.
    ridge = w @ (_UNSURE * size[common]) ** 2 / common.sum() * np.eye(3)
    linear = np.linalg.solve(spread + ridge, (a * w[:, None]).T @ b + ridge).T
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, middle_b - linear @ middle_a
    return Affine(matrix)
