"""Painted: what the examples of one volume say about it, brought together on the box that matters.

Owns how annotated slices of one volume are merged, class by class and with the last word for the later example; which
voxels are known; which slices are complete enough to interpolate shapes between; and how far around them to look.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.core.prompts import Box
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import Volume, smallest_label_dtype

_MARGIN_MM = 10.0
_MARGIN_SHARE = 0.15
_MARGIN_PIXELS = 3


@dataclass(frozen=True, eq=False)
class Painted:
    """The annotation of one volume, with the annotated axis first.

    Parameters
    ----------
    axis
        Array axis of the volume along which slices are counted.
    box
        The part of the volume that the arrays cover, in the volume's own axes.
    values
        Label values of the classes that examples looked for, ascending.
    labels : integer array, shape (N, A, B)
        Label value of each painted voxel.
    known : bool array, shape (N, A, B)
        Where the annotation says which class a voxel belongs to, or that it is background.
    excluded : bool array, shape (C, N, A, B), or None
        Where it says that a voxel is not of a class but leaves the other classes open; None if it does so nowhere.
    complete
        For each class, the slices (rows of the arrays) in which all of it was painted.
    image
        Fingerprint of the volume.
    examples
        Content hashes of the examples that were merged.
    """

    axis: int
    box: Box
    values: tuple[int, ...]
    labels: npt.NDArray[Any]
    known: npt.NDArray[np.bool_]
    excluded: npt.NDArray[np.bool_] | None
    complete: tuple[tuple[int, ...], ...]
    image: str
    examples: tuple[str, ...]

    @property
    def first(self) -> int:
        """Number, in the volume, of the slice in row 0."""
        return self.box.lo[self.axis]

    @property
    def finished(self) -> npt.NDArray[np.bool_]:
        """For each row, whether nothing is left to propose in it."""
        return np.asarray(self.known.all(axis=(1, 2)))

    def to_volume(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A view of an array of this layout, in the volume's own order of axes."""
        return np.moveaxis(array, 0, self.axis)


def paint(image: Volume, support: SupportSet, axis: int | None = None, span: tuple[int, int] | None = None) -> Painted:
    """Merge the examples that were painted on a volume.

    Parameters
    ----------
    image
        The volume.
    support
        Those of its examples that are in use and on this very image count.
    axis
        Along which slices are counted; by default the axis with the most annotated slices.
    span
        First and last slice to look at; by default as far as the shapes reach beyond the outermost painted slices.

    Raises
    ------
    InputError
        If no example in use is of this image, nothing is painted, or the axis or the span does not exist.
    """
    support.require_foreground()
    examples = _of_this_image(image, support)
    axis = _main_axis(examples) if axis is None else axis
    if axis not in (0, 1, 2):
        raise InputError(f"Slices are counted along array axis 0, 1 or 2, got {axis}.")
    box = _box(image, examples, axis, span)
    # Of a class that no example looked for nothing can be said, not even where it is not.
    values = tuple(sorted(frozenset().union(*(e.classes for e in examples))))
    shape = (box.shape[axis], *np.delete(box.shape, axis).tolist())
    # What the examples say of each class: that a voxel belongs to it, that it does not, or nothing.
    yes, no = np.zeros((2, len(values), *shape), dtype=bool)
    complete: list[set[int]] = [set() for _ in values]
    for example in examples:
        said = np.zeros(image.grid, dtype=bool)
        said[example.index] = True
        if example.ignored is not None:
            said &= ~example.ignored
        here, told = (np.moveaxis(a[box.slices], axis, 0) for a in (example.labels.array, said))
        rows = np.flatnonzero(told.any(axis=(1, 2)))
        here, told = here[rows], told[rows]
        whole = set(rows[told.all(axis=(1, 2))].tolist())
        for channel, value in enumerate(values):
            is_class = told & (here == value)
            is_not = told & ~is_class if value in example.classes else told & (here > 0) & ~is_class
            yes[channel, rows] = (yes[channel, rows] | is_class) & ~is_not
            no[channel, rows] = (no[channel, rows] | is_not) & ~is_class
            complete[channel] |= whole if value in example.classes else set()
    known = np.asarray(yes.any(axis=0) | no.all(axis=0))
    labels = np.zeros(shape, dtype=smallest_label_dtype(max(values)))
    for channel, value in enumerate(values):
        labels[yes[channel]] = value
    return Painted(
        axis,
        box,
        values,
        labels,
        known,
        no if (no.any(axis=0) & ~known).any() else None,
        tuple(tuple(sorted(rows)) for rows in complete),
        examples[0].image_fingerprint,
        tuple(e.content_hash for e in examples),
    )


def _of_this_image(image: Volume, support: SupportSet) -> list[SupportExample]:
    candidates = [e for e in support.enabled if e.image.same_grid(image)]
    if any(e.image is not image for e in candidates):
        own = image.fingerprint()
        candidates = [e for e in candidates if e.image is image or e.image_fingerprint == own]
    if not any(e.has_foreground for e in candidates):
        raise InputError(
            f"Slices painted on {image.name!r} itself are needed, but none of the {len(support.enabled)} examples in "
            "use has something painted on it; paint a slice of it, or choose an engine that works across volumes."
        )
    return candidates


def _main_axis(examples: Sequence[SupportExample]) -> int:
    counts = Counter({2: 0})
    for example in examples:
        if example.axis is not None and example.slices is not None:
            counts[example.axis] += len(example.slices)
    return max(counts, key=lambda a: counts[a])


def _box(image: Volume, examples: Sequence[SupportExample], axis: int, span: tuple[int, int] | None) -> Box:
    """Everything painted with a margin across the slices, and along them what is to be looked at."""
    found = [_foreground(e) for e in examples if e.has_foreground]
    box = found[0]
    for other in found[1:]:
        box = box.union(other)
    margin = np.maximum(_MARGIN_MM / image.spacing, _MARGIN_SHARE * np.array(box.shape) + _MARGIN_PIXELS)
    seen = [s for e in examples if e.axis == axis and e.slices for s in e.slices] or [box.lo[axis], box.hi[axis]]
    across = [image.spacing[a] * box.shape[a] for a in range(3) if a != axis]
    # Where a reviewed-empty slice lies outside, it is the end.
    beyond = int(np.ceil(min(across) / 2 / image.spacing[axis]))
    low, high = min(seen), max(seen)
    first = low if low < box.lo[axis] else box.lo[axis] - beyond
    last = high if high > box.hi[axis] else box.hi[axis] + beyond
    if span is not None:
        if not 0 <= span[0] <= span[1] < image.grid[axis]:
            raise InputError(
                f"The slices to look at go from 0 to {image.grid[axis] - 1} along axis {axis}, got {span}."
            )
        first, last = min(span[0], low), max(span[1], high)
    grown = box.grown(margin)
    lo, hi = list(grown.lo), list(grown.hi)
    lo[axis], hi[axis] = first, last
    return Box((lo[0], lo[1], lo[2]), (hi[0], hi[1], hi[2])).clipped(image.grid)


def _foreground(example: SupportExample) -> Box:
    """The box around what is painted in an example."""
    box = Box.around(example.labels.array[example.index])
    if example.axis is None or example.slices is None:
        return box
    lo, hi = list(box.lo), list(box.hi)
    lo[example.axis] = example.slices[lo[example.axis]]
    hi[example.axis] = example.slices[hi[example.axis]]
    return Box((lo[0], lo[1], lo[2]), (hi[0], hi[1], hi[2]))
