"""Prompts: what a user points at.

Owns points, boxes, scribbles, an earlier mask and text, all in voxel indices ``(i, j, k)`` of the stored array, and
:class:`PromptSet`, which keeps them object by object with undo and redo over any number of steps. States are immutable,
so that a step back costs nothing and a running computation keeps the state that it was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import PromptError

Index: TypeAlias = tuple[int, int, int]
Grid: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True)
class Point:
    """A click: a position in voxel indices (voxel centres are whole numbers) that is inside or outside the object."""

    index: tuple[float, float, float]
    positive: bool = True

    def __post_init__(self) -> None:
        if len(self.index) != 3 or not np.isfinite(self.index).all():
            raise PromptError(f"A point has three finite voxel indices i, j, k, got {self.index}.")
        object.__setattr__(self, "index", tuple(float(x) for x in self.index))

    @property
    def voxel(self) -> Index:
        """The voxel that contains the point."""
        i, j, k = (int(np.floor(x + 0.5)) for x in self.index)
        return i, j, k


@dataclass(frozen=True)
class Box:
    """A box around the object; both corners are voxel indices that belong to it."""

    lo: Index
    hi: Index

    def __post_init__(self) -> None:
        for name in ("lo", "hi"):
            corner = tuple(int(x) for x in getattr(self, name))
            if len(corner) != 3:
                raise PromptError(f"A box corner has three voxel indices i, j, k, got {corner}.")
            object.__setattr__(self, name, corner)
        if any(a > b for a, b in zip(self.lo, self.hi, strict=True)):
            raise PromptError(
                f"The box is empty: its first corner {self.lo} lies beyond its last corner {self.hi}; give the smaller "
                "index first on every axis (both corners are included)."
            )

    @classmethod
    def around(cls, mask: npt.NDArray[Any], margin: int = 0) -> Box:
        """The tightest box around the non-zero voxels of ``mask``, grown by ``margin`` voxels inside the array."""
        lo, hi = [], []
        for axis in range(3):
            hits = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
            if not hits.size:
                raise PromptError("A box around a mask needs a mask with at least one voxel; this one is empty.")
            lo.append(max(0, int(hits[0]) - margin))
            hi.append(min(mask.shape[axis] - 1, int(hits[-1]) + margin))
        return cls((lo[0], lo[1], lo[2]), (hi[0], hi[1], hi[2]))

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index expression that cuts the box out of an array."""
        a, b, c = (slice(x, y + 1) for x, y in zip(self.lo, self.hi, strict=True))
        return a, b, c

    @property
    def shape(self) -> Grid:
        """Number of voxels along each axis."""
        a, b, c = (y - x + 1 for x, y in zip(self.lo, self.hi, strict=True))
        return a, b, c

    def union(self, other: Box) -> Box:
        """The smallest box that holds both."""
        lo = np.minimum(self.lo, other.lo).tolist()
        hi = np.maximum(self.hi, other.hi).tolist()
        return Box(tuple(lo), tuple(hi))

    def grown(self, margin: npt.ArrayLike) -> Box:
        """The box with ``margin`` voxels more on every side (one number, or one an axis)."""
        m = np.broadcast_to(np.ceil(margin).astype(int), (3,))
        return Box(tuple((np.array(self.lo) - m).tolist()), tuple((np.array(self.hi) + m).tolist()))

    def clipped(self, grid: Grid) -> Box:
        """The part inside an image of this many voxels; PromptError if there is none."""
        lo = np.maximum(self.lo, 0).tolist()
        hi = np.minimum(self.hi, np.array(grid) - 1).tolist()
        if any(a > b for a, b in zip(lo, hi, strict=True)):
            raise PromptError(f"The box {self.lo}..{self.hi} lies outside the image of {grid} voxels.")
        return Box(tuple(lo), tuple(hi))

    def contains(self, index: npt.ArrayLike) -> bool:
        """Whether a voxel index lies in the box."""
        x = np.asarray(index)
        return bool((x >= self.lo).all() and (x <= self.hi).all())


@dataclass(frozen=True, eq=False)
class Scribble:
    """Voxels painted as object or as background; ``voxels`` is an integer array of shape (N, 3)."""

    voxels: npt.NDArray[np.intp]
    positive: bool = True

    def __post_init__(self) -> None:
        v = np.array(self.voxels, dtype=np.intp)
        if v.ndim != 2 or v.shape[1] != 3 or not len(v):
            raise PromptError(f"A scribble is a list of voxel indices of shape (N, 3) with N > 0, got shape {v.shape}.")
        v.flags.writeable = False
        object.__setattr__(self, "voxels", v)


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """An earlier mask to start from: a boolean array of the image's grid, or a crop of it that begins at ``offset``."""

    mask: npt.NDArray[np.bool_]
    offset: Index = (0, 0, 0)

    @classmethod
    def cropped(cls, mask: npt.NDArray[Any]) -> MaskPrompt:
        """Keep only the box around the non-zero voxels of a mask on the whole grid."""
        box = Box.around(mask)
        return cls(np.array(mask[box.slices] != 0), box.lo)

    def __post_init__(self) -> None:
        m = np.array(self.mask, dtype=bool)
        if m.ndim != 3 or not m.any():
            raise PromptError("A mask to start from is a 3-D array with at least one voxel set; this one is empty.")
        m.flags.writeable = False
        object.__setattr__(self, "mask", m)

    @property
    def box(self) -> Box:
        """Where the crop lies in the image."""
        i, j, k = (o + n - 1 for o, n in zip(self.offset, self.mask.shape, strict=True))
        return Box(self.offset, (i, j, k))


@dataclass(frozen=True)
class TextPrompt:
    """A word or phrase that names the object."""

    text: str

    def __post_init__(self) -> None:
        if not any(map(str.isalpha, self.text)):
            raise PromptError(f"A text prompt needs at least one word, got {self.text!r}; type a name such as liver.")


Prompt: TypeAlias = Point | Box | Scribble | MaskPrompt | TextPrompt


@dataclass(frozen=True, eq=False)
class ObjectPrompts:
    """All prompts of one object, oldest first."""

    prompts: tuple[Prompt, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.prompts)

    @property
    def points(self) -> tuple[Point, ...]:
        return tuple(p for p in self.prompts if isinstance(p, Point))

    @property
    def boxes(self) -> tuple[Box, ...]:
        return tuple(p for p in self.prompts if isinstance(p, Box))

    @property
    def scribbles(self) -> tuple[Scribble, ...]:
        return tuple(p for p in self.prompts if isinstance(p, Scribble))

    @property
    def mask(self) -> MaskPrompt | None:
        """The latest mask to start from."""
        return next((p for p in reversed(self.prompts) if isinstance(p, MaskPrompt)), None)

    @property
    def texts(self) -> tuple[TextPrompt, ...]:
        return tuple(p for p in self.prompts if isinstance(p, TextPrompt))

    def seeds(self, positive: bool) -> npt.NDArray[np.intp]:
        """Voxels clicked or painted as object (or as background), shape (N, 3)."""
        clicked = [p.voxel for p in self.points if p.positive == positive]
        painted = [s.voxels for s in self.scribbles if s.positive == positive]
        return np.concatenate([np.array(clicked, dtype=np.intp).reshape(-1, 3), *painted])

    def check(self, grid: Grid) -> None:
        """Raise PromptError if a prompt lies outside an image of this many voxels."""
        for p in self.points:
            if not all(0 <= x < n for x, n in zip(p.voxel, grid, strict=True)):
                raise PromptError(f"The point {p.index} lies outside the image of {grid} voxels; click inside it.")
        for b in self.boxes:
            b.clipped(grid)
        for s in self.scribbles:
            if (s.voxels < 0).any() or (s.voxels >= grid).any():
                raise PromptError(f"A scribble leaves the image of {grid} voxels.")
        if self.mask is not None and not all(
            o >= 0 and o + n <= g for o, n, g in zip(self.mask.offset, self.mask.mask.shape, grid, strict=True)
        ):
            raise PromptError(
                f"The mask to start from has shape {self.mask.mask.shape} at {self.mask.offset}, which does not fit "
                f"the image of {grid} voxels; resample it onto the image first."
            )


class PromptSet:
    """Prompts of any number of objects, with undo and redo.

    Objects are numbered from 1. Every change is one step; a change after an undo drops the undone steps.
    """

    def __init__(self) -> None:
        self._states: list[Mapping[int, ObjectPrompts]] = [MappingProxyType({})]
        self._at = 0

    @property
    def objects(self) -> Mapping[int, ObjectPrompts]:
        """The present state: object number to its prompts; objects without prompts are absent."""
        return self._states[self._at]

    @property
    def states(self) -> tuple[Mapping[int, ObjectPrompts], ...]:
        """Every state that undo and redo can reach, oldest first."""
        return tuple(self._states)

    def __getitem__(self, obj: int) -> ObjectPrompts:
        return self.objects.get(obj, ObjectPrompts())

    def add(self, prompt: Prompt | Iterable[Prompt], obj: int = 1) -> None:
        """Add a prompt, or several as one step, to an object."""
        new = tuple(prompt) if isinstance(prompt, Iterable) else (prompt,)
        self.replace(obj, self[obj].prompts + new)

    def replace(self, obj: int, prompts: Iterable[Prompt]) -> None:
        """Set all prompts of an object as one step."""
        if obj < 1:
            raise PromptError(f"Objects are numbered from 1, got {obj}.")
        state = dict(self.objects)
        state.pop(obj, None)
        if kept := tuple(prompts):
            state[obj] = ObjectPrompts(kept)
        self._push(state)

    def clear(self, obj: int | None = None) -> None:
        """Remove the prompts of one object, or of all, as one step; does nothing when there are none."""
        if obj is None and self.objects:
            self._push({})
        elif obj in self.objects:
            self._push({k: v for k, v in self.objects.items() if k != obj})

    def _push(self, state: Mapping[int, ObjectPrompts]) -> None:
        self._states[self._at + 1 :] = [MappingProxyType(dict(state))]
        self._at += 1

    @property
    def can_undo(self) -> bool:
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        return self._at + 1 < len(self._states)

    def undo(self) -> bool:
        """Step back; False when there is nothing to undo."""
        moved = self.can_undo
        self._at -= moved
        return moved

    def redo(self) -> bool:
        """Step forward again; False when there is nothing to redo."""
        moved = self.can_redo
        self._at += moved
        return moved
