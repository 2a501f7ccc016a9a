"""Translation: what the prompt layers hold, as prompts of core.

Owns the merge of the two: a prompt that is still there stays the same object at the same place, what is gone is left
out, and what is new comes last. That order is the order in which the user said things, which engines may use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.prompts import Box, Point, Prompt, Scribble

OBJECT, BACKGROUND = 1, 2
"""Values of the scribble layer."""


def merge(
    old: Sequence[Prompt], points: Iterable[Point], box: Box | None, ink: npt.NDArray[np.uint8]
) -> tuple[Prompt, ...]:
    """The prompts of an object after the user changed a layer.

    Parameters
    ----------
    old
        Its prompts before; masks and texts, which have no layer, are kept.
    points, box
        What the layers hold now.
    ink : uint8 array, shape (I, J, K), C order
        Scribbles: 0 nothing, 1 object, 2 background.
    """
    waiting = list(points)
    unmarked = _marks(ink)
    kept: list[Prompt] = []
    for prompt in old:
        if isinstance(prompt, Point):
            if prompt in waiting:
                waiting.remove(prompt)
                kept.append(prompt)
        elif isinstance(prompt, Box):
            if prompt == box:
                box = None
                kept.append(prompt)
        elif isinstance(prompt, Scribble):
            rest = _what_is_left(prompt, ink)
            if rest is not None:
                unmarked[rest.positive] = np.setdiff1d(unmarked[rest.positive], _flat(rest.voxels, ink.shape))
                kept.append(rest)
        else:
            kept.append(prompt)
    strokes = [_scribble(flat, ink.shape, positive) for positive, flat in unmarked.items() if flat.size]
    return (*kept, *waiting, *([] if box is None else [box]), *strokes)


def same(a: Sequence[Prompt], b: Sequence[Prompt]) -> bool:
    """Whether two lists hold the very same prompts."""
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))


def paint(ink: npt.NDArray[np.uint8], prompts: Iterable[Prompt]) -> None:
    """Make the scribble array show exactly the scribbles of these prompts."""
    ink.fill(0)
    for prompt in prompts:
        if isinstance(prompt, Scribble):
            ink[tuple(prompt.voxels.T)] = OBJECT if prompt.positive else BACKGROUND


def _marks(ink: npt.NDArray[np.uint8]) -> dict[bool, npt.NDArray[np.intp]]:
    painted = np.flatnonzero(ink)
    values = ink.reshape(-1)[painted]
    return {True: painted[values == OBJECT], False: painted[values == BACKGROUND]}


def _what_is_left(scribble: Scribble, ink: npt.NDArray[np.uint8]) -> Scribble | None:
    there = ink[tuple(scribble.voxels.T)] == (OBJECT if scribble.positive else BACKGROUND)
    if there.all():
        return scribble
    return Scribble(scribble.voxels[there], scribble.positive) if there.any() else None


def _flat(voxels: npt.NDArray[np.intp], shape: tuple[int, ...]) -> Any:
    return np.ravel_multi_index(tuple(voxels.T), shape)


def _scribble(flat: npt.NDArray[np.intp], shape: tuple[int, ...], positive: bool) -> Scribble:
    return Scribble(np.stack(np.unravel_index(flat, shape), axis=1), positive)
