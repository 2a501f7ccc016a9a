"""Support: the few annotated examples that a few-shot engine learns from.

Owns :class:`SupportExample`, an image with its labels and what of them is meant as annotation, and
:class:`SupportSet`, named classes with colours and examples of them. Both are immutable: a change makes a new set, so
that a running computation keeps the set it was given and a step back costs nothing. Examples are told apart by a hash
of their content.
"""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.core.volume import LabelVolume, Volume, smallest_label_dtype

Colour: TypeAlias = tuple[float, float, float]
_GOLDEN_RATIO = 0.618034


@dataclass(frozen=True)
class SupportClass:
    """One class: its label value, its name and its colour.

    Parameters
    ----------
    value
        Label value, from 1.
    name
        What the user calls it; default "class N".
    colour
        Red, green and blue, 0 to 1; by default one of a series that stays apart.
    """

    value: int
    name: str = ""
    colour: Colour | None = None

    def __post_init__(self) -> None:
        if self.value < 1:
            raise InputError(f"Classes have label values from 1, as 0 is background, got {self.value}.")
        object.__setattr__(self, "name", self.name.strip() or f"class {self.value}")
        colour = self.colour or colorsys.hsv_to_rgb(self.value * _GOLDEN_RATIO % 1, 0.75, 0.95)
        if len(colour) != 3 or not all(0 <= c <= 1 for c in colour):
            raise InputError(f"A colour is red, green and blue from 0 to 1, got {colour}.")
        object.__setattr__(self, "colour", tuple(float(c) for c in colour))


@dataclass(frozen=True, eq=False)
class SupportExample:
    """An image and what was annotated in it.

    Parameters
    ----------
    image
        A 3-D image; its array must not change while the example is in use.
    labels
        Labels on the image's grid. A copy of what is annotated is kept, so a label layer may go on changing.
    axis
        The array axis along which ``slices`` are counted, 0 to 2; None if all slices are annotated.
    slices
        The annotated slices, those that were reviewed and left empty among them; None for all.
    classes
        The label values that were looked for. In the annotated slices a voxel without label belongs to none of these;
        whether it belongs to another class is unknown. By default the values that occur in the labels.
    ignored : bool array, shape (I, J, K), or None
        Voxels of the annotated slices about which nothing is said.
    enabled
        Whether engines use it.
    provenance
        Where it comes from, one phrase.

    Raises
    ------
    GeometryError
        If the labels do not lie on the image's grid.
    InputError
        If the image is not 3-D, a slice does not exist, or labels have values that are not among the classes.
    """

    image: Volume
    labels: LabelVolume
    axis: int | None = None
    slices: tuple[int, ...] | None = None
    classes: frozenset[int] = frozenset()
    ignored: npt.NDArray[np.bool_] | None = None
    enabled: bool = True
    provenance: str = ""

    def __post_init__(self) -> None:
        if self.image.array.ndim != 3 or self.labels.array.ndim != 3:
            raise InputError(
                f"An example is one 3-D image with 3-D labels, got {self.image.array.ndim} and "
                f"{self.labels.array.ndim} axes; select one frame first."
            )
        self.image.require_same_grid(self.labels)
        self._check_slices()
        kept, ignored = self._annotated_part()
        found = frozenset(int(v) for v in np.unique(kept) if v != 0)
        classes = frozenset(int(c) for c in self.classes) or found
        if min(found | classes, default=1) < 1:
            raise InputError(f"Classes have label values from 1, got {min(found | classes)}; renumber the labels.")
        if stray := found - classes:
            raise InputError(
                f"The labels have the values {sorted(stray)}, which are not among the annotated classes "
                f"{sorted(classes)}; add the classes or erase the labels."
            )
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "labels", replace(self.labels, array=kept))
        object.__setattr__(self, "ignored", ignored)

    def _check_slices(self) -> None:
        if (self.axis is None) != (self.slices is None):
            raise InputError("Annotated slices need the axis along which they are counted, and an axis needs slices.")
        if self.axis is None or self.slices is None:
            return
        if self.axis not in (0, 1, 2):
            raise InputError(f"Slices are counted along array axis 0, 1 or 2, got {self.axis}.")
        slices = tuple(sorted({int(s) for s in self.slices}))
        count = self.image.grid[self.axis]
        if not slices or slices[0] < 0 or slices[-1] >= count:
            raise InputError(
                f"Annotated slices along axis {self.axis} are some of 0 to {count - 1}, got {list(slices)}; give at "
                "least one that exists."
            )
        object.__setattr__(self, "slices", slices)

    def _annotated_part(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
        """Read-only copies of labels and ignored voxels, 0 outside the annotated slices."""
        array = np.asarray(self.labels.array)
        ignored = None if self.ignored is None else np.asarray(self.ignored, dtype=bool)
        if ignored is not None and ignored.shape != self.image.grid:
            raise InputError(f"Ignored voxels are a mask of shape {self.image.grid}, got {ignored.shape}.")
        if ignored is not None and not ignored[self.index].any():
            ignored = None
        part = array[self.index]
        low, high = int(part.min()), int(part.max())
        dtype: np.dtype[Any] = array.dtype if low < 0 else smallest_label_dtype(high)
        # Pages of a fresh array cost nothing until they are written, and in this order a slice touches few of them.
        order: Literal["C", "F"] = "F" if self.axis == 2 else "C"
        kept = np.zeros(self.image.grid, dtype, order=order)
        kept[self.index] = part
        if ignored is not None:
            unknown = np.zeros(self.image.grid, dtype=bool, order=order)
            unknown[self.index] = ignored[self.index]
            kept[unknown] = 0
            unknown.flags.writeable = False
            ignored = unknown
        kept.flags.writeable = False
        return kept, ignored

    @property
    def index(self) -> tuple[Any, ...]:
        """Index expression that takes the annotated slices out of an array of the grid's shape."""
        if self.axis is None or self.slices is None:
            return (slice(None),)
        return (*(slice(None),) * self.axis, list(self.slices))

    @property
    def has_foreground(self) -> bool:
        """Whether any voxel has a label."""
        return bool(self.labels.array[self.index].any())

    @cached_property
    def image_fingerprint(self) -> str:
        """:meth:`Volume.fingerprint` of the image, computed once."""
        return self.image.fingerprint()

    @cached_property
    def content_hash(self) -> str:
        """Equal only for the same image with the same annotation; where it came from does not count."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.image_fingerprint.encode())
        digest.update(f"{self.axis}{self.slices}{sorted(self.classes)}".encode())
        digest.update(np.ascontiguousarray(self.labels.array[self.index], dtype=np.uint32).data)
        if self.ignored is not None:
            digest.update(np.packbits(self.ignored[self.index]).data)
        return digest.hexdigest()

    def switched(self, enabled: bool) -> SupportExample:
        """The same example, used by engines or not."""
        return self._sharing_hashes(replace(self, enabled=enabled))

    def _sharing_hashes(self, other: SupportExample) -> SupportExample:
        for name in ("image_fingerprint", "content_hash"):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other


@dataclass(frozen=True, eq=False)
class SupportSet:
    """Named classes and examples of them.

    Parameters
    ----------
    classes
        What is segmented; label values and names occur once.
    examples
        In the order in which they were added; all of them differ.
    """

    classes: tuple[SupportClass, ...] = ()
    examples: tuple[SupportExample, ...] = field(default=())

    def __post_init__(self) -> None:
        for what in ("value", "name"):
            seen = [getattr(c, what) for c in self.classes]
            if len(set(seen)) < len(seen):
                raise InputError(f"Each class has a {what} of its own, got {seen}; change one of them.")
        values = {c.value for c in self.classes}
        for example in self.examples:
            if missing := example.classes - values:
                raise InputError(
                    f"An example has the classes {sorted(missing)}, which the set does not name; add them."
                )
        if len({e.content_hash for e in self.examples}) < len(self.examples):
            raise InputError("This example is already in the support set; change its annotation or leave it out.")

    @property
    def values(self) -> tuple[int, ...]:
        """The label values of the classes, ascending."""
        return tuple(sorted(c.value for c in self.classes))

    @property
    def names(self) -> dict[int, str]:
        """Label value to name."""
        return {c.value: c.name for c in self.classes}

    @property
    def enabled(self) -> tuple[SupportExample, ...]:
        """The examples that engines use."""
        return tuple(e for e in self.examples if e.enabled)

    def __getitem__(self, content_hash: str) -> SupportExample:
        for example in self.examples:
            if example.content_hash == content_hash:
                return example
        raise InputError(f"The support set has no example {content_hash}; it may have been removed.")

    def add(self, example: SupportExample) -> SupportSet:
        """With one more example; classes that it brings get the names that its labels give them.

        Raises
        ------
        InputError
            If the same example is there already.
        """
        known, taken = set(self.values), {c.name for c in self.classes}
        new = []
        for value in sorted(example.classes - known):
            name = example.labels.names.get(value, "")
            new.append(SupportClass(value, "" if name in taken else name))
        return SupportSet((*self.classes, *new), (*self.examples, example))

    def remove(self, content_hash: str) -> SupportSet:
        """Without one example; its classes stay."""
        gone = self[content_hash]
        return replace(self, examples=tuple(e for e in self.examples if e is not gone))

    def substitute(self, content_hash: str, example: SupportExample) -> SupportSet:
        """With another example in the place of one, as after a correction."""
        old, new = self[content_hash], SupportSet(self.classes).add(example).classes
        return SupportSet(new, tuple(example if e is old else e for e in self.examples))

    def switch(self, content_hash: str, enabled: bool) -> SupportSet:
        """With one example used by engines, or not."""
        old = self[content_hash]
        return replace(self, examples=tuple(e.switched(enabled) if e is old else e for e in self.examples))

    def describe(self, value: int, name: str | None = None, colour: Colour | None = None) -> SupportSet:
        """With a class added, or one that is there renamed or recoloured."""
        old = next((c for c in self.classes if c.value == value), None)
        if old is None:
            return replace(self, classes=(*self.classes, SupportClass(value, name or "", colour)))
        new = SupportClass(value, old.name if name is None else name, colour or old.colour)
        return replace(self, classes=tuple(new if c is old else c for c in self.classes))

    def require_foreground(self) -> None:
        """Raise InputError unless an example in use shows something to look for."""
        if not any(e.has_foreground for e in self.enabled):
            raise InputError(
                f"Few-shot needs an example with something painted, but none of the {len(self.enabled)} in use has "
                "any; paint a slice or switch an example on."
            )


def labels_from_masks(
    image: Volume, masks: Mapping[int, npt.NDArray[Any]], names: Mapping[int, str] | None = None
) -> LabelVolume:
    """One label map from one mask a class.

    Parameters
    ----------
    image
        The grid.
    masks : label value to array of shape (I, J, K)
        Non-zero inside.
    names
        Label value to name.

    Raises
    ------
    GeometryError
        If a mask has another shape.
    InputError
        If two masks overlap, or there is none.
    """
    if not masks:
        raise InputError("Labels are made from at least one mask, got none.")
    inside = {value: np.asarray(mask) != 0 for value, mask in masks.items()}
    _require_apart(inside, names or {})
    out = np.zeros(image.grid, dtype=smallest_label_dtype(max(masks)))
    for value, mask in inside.items():
        image.labels(mask)
        out[mask] = value
    return image.labels(out, names=names)


def _require_apart(masks: Mapping[int, npt.NDArray[np.bool_]], names: Mapping[int, str]) -> None:
    for (a, first), (b, second) in combinations(masks.items(), 2):
        if first.shape == second.shape and (shared := int(np.count_nonzero(first & second))):
            raise InputError(
                f"Classes must not overlap, but {names.get(a, f'class {a}')} and {names.get(b, f'class {b}')} share "
                f"{shared} voxels; erase them from one of the two."
            )
