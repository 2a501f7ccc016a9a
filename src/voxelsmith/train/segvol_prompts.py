"""Prompts for SegVol's training: boxes and points that are drawn from masks of a view.

Owns how a mask is marked, as the published training does it, and which pseudo-masks a box means. Voxels are those
(d, h, w) of the view. Points are not filled up to a fixed number with ignored ones: the engine gives none either.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from voxelsmith.core.prompts import Box
from voxelsmith.segment.zoom import FloatArray
from voxelsmith.train.sample import Labels, Mask

MOST_POINTS = 10
"""Most points of each sign beside the first one."""
LEAST_PSEUDO_POINTS = 4
"""Fewest points inside a pseudo-mask beside the first one."""

_WITHIN = 0.9

Marks: TypeAlias = dict[str, FloatArray]
"""What goes into the network by its name: points (N, 3) and labels (N,), box (6,), text (width,)."""


def box_around(mask: Mask) -> Marks:
    """The exact box of a mask, both corners inclusive."""
    box = Box.around(mask)
    return {"box": np.array([*box.lo, *box.hi], dtype=np.float32)}


def points_on(rng: np.random.Generator, mask: Mask, inside: int, outside: int) -> Marks:
    """One point inside a mask, up to ``inside`` more, and up to ``outside`` points around it, each in a voxel apart."""
    found = [_drawn(rng, mask, 1 + inside), _drawn(rng, ~mask, outside)]
    labels = np.repeat(np.array([1, 0], dtype=np.float32), [len(voxels) for voxels in found])
    return {"points": np.concatenate(found), "labels": labels}


def marked(rng: np.random.Generator, mask: Mask, least: int = 0) -> Marks:
    """The box of a mask, and points, ``least`` to ten inside beside the first and none to ten outside."""
    inside, outside = int(rng.integers(least, MOST_POINTS + 1)), int(rng.integers(MOST_POINTS + 1))
    return box_around(mask) | points_on(rng, mask, inside, outside)


def within_box(regions: Labels, mask: Mask) -> Mask:
    """What the box of a mask means among regions 1, 2, ...: the mask, and regions of which nine tenths lie in the box.

    Parameters
    ----------
    regions : array of integers, shape (D, H, W)
        0 is none.
    mask
        One of the regions.
    """
    lo, hi = box_around(mask)["box"].astype(int).reshape(2, 3)
    whole = np.bincount(regions.ravel())
    part = np.bincount(regions[tuple(map(slice, lo, hi + 1))].ravel(), minlength=len(whole))
    meant = (part > _WITHIN * whole) & (whole > 0)
    meant[0] = False
    return mask | meant[regions]


def _drawn(rng: np.random.Generator, mask: Mask, count: int) -> FloatArray:
    at = np.flatnonzero(mask)
    chosen = rng.choice(at, min(count, len(at)), replace=False)
    return np.stack(np.unravel_index(chosen, mask.shape), axis=-1).astype(np.float32)
