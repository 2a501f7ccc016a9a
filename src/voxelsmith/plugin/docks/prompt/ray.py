"""Picking in 3-D rendering: which voxel a click means, when it names a line of them.

Owns the rule. Where the line meets the preview, a click that says "not the object" means the first voxel of it, and one
that says "object" the first voxel behind it, so that the object grows there. Where it meets none, a click means the
brightest voxel, which is what a maximum intensity projection shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import PromptError
from voxelsmith.core.prompts import Grid, Index


def voxels_on_ray(start: npt.ArrayLike, end: npt.ArrayLike, grid: Grid) -> npt.NDArray[np.intp]:
    """Voxels inside an image on the line from ``start`` to ``end``, in voxel indices, nearest first, shape (N, 3)."""
    a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    steps = 1 + int(np.ceil(2 * np.abs(b - a).max()))
    line = a + np.linspace(0, 1, steps)[:, None] * (b - a)
    voxels = np.floor(line + 0.5).astype(np.intp)
    voxels = voxels[((voxels >= 0) & (voxels < np.array(grid))).all(axis=1)]
    moved = np.ones(len(voxels), dtype=bool)
    moved[1:] = (np.diff(voxels, axis=0) != 0).any(axis=1)
    return voxels[moved]


def pick(
    image: npt.NDArray[Any], preview: npt.NDArray[Any], start: npt.ArrayLike, end: npt.ArrayLike, positive: bool
) -> Index:
    """The voxel that a click in 3-D means.

    Parameters
    ----------
    image : array, shape (I, J, K)
        What is rendered.
    preview : array, shape (I, J, K)
        The present mask; non-zero is inside.
    start, end : array_like, shape (3,)
        Where the line of sight enters and leaves the image, in voxel indices.
    positive
        Whether the click says "object".

    Raises
    ------
    PromptError
        If the line misses the image.
    """
    voxels = voxels_on_ray(start, end, (image.shape[0], image.shape[1], image.shape[2]))
    if not len(voxels):
        raise PromptError("The click missed the image; click on what is rendered of it.")
    along = tuple(voxels.T)
    inside = np.flatnonzero(np.asarray(preview[along]))
    if inside.size:
        at = int(inside[0])
        if positive:
            behind = np.flatnonzero(np.asarray(preview[along])[at:] == 0)
            at = at + int(behind[0]) if behind.size else len(voxels) - 1
    else:
        values = np.asarray(image[along], dtype=np.float64)
        at = int(np.argmax(np.where(np.isnan(values), -np.inf, values)))
    i, j, k = voxels[at].tolist()
    return i, j, k
