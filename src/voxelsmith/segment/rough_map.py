"""Rough map: the linear map that lays an annotated volume onto the query, and whether it can be trusted.

Owns the choice between an affine registration, which starts at headers and centres, and the best shift of an exhaustive
search, which finds a slab in a whole body. Correlation favours large overlaps of bone, so the two are compared by MIND
descriptors; an affine map that stretches people beyond their variety, or pushes them out of sight, is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from voxelsmith.core.affine import FloatArray
from voxelsmith.core.errors import GeometryError
from voxelsmith.core.progress import Job
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import Volume
from voxelsmith.register.affine import AffineResult, align
from voxelsmith.register.measures import likeness
from voxelsmith.register.preparation import Prepared, prepare
from voxelsmith.register.request import AffineSettings
from voxelsmith.register.search import difference, search

# People differ in size by less than this factor; a map that stretches more has gone wrong.
_STRETCH = 2.0
# An affine map may lose this share of the overlap that a shift has.
_LOST = 0.5


@dataclass(frozen=True, eq=False)
class RoughMap:
    """Where a volume lies.

    Parameters
    ----------
    matrix : ndarray, shape (4, 4)
        From the query's world to the other volume's, RAS millimetres.
    how
        "affine", or "shift" if that was better.
    alike
        Correlation of the images under it, -1 to 1; NaN if they do not overlap.
    matched
        Whether the images show the same part of the body, as far as can be told without labels.
    mirrored
        Whether the volume would fit better if left and right were exchanged.
    """

    matrix: FloatArray
    how: Literal["affine", "shift"]
    alike: float
    matched: bool
    mirrored: bool = False


def lay(query: Volume, other: Volume) -> Job[RoughMap]:
    """Find the map.

    Parameters
    ----------
    query, other
        3-D images of at least four voxels along each axis.

    Raises
    ------
    InputError
        If an image is constant or has no finite voxel.
    """
    found = search(query, other)
    fixed, moving = prepare(query), prepare(other)
    affine = yield from _affine(fixed, moving)
    matrix, how, mirrored = found.matrix, "shift", False
    if affine is not None:
        shifted, met = difference(fixed, moving, found.matrix)
        unlike, meets = difference(fixed, moving, affine.matrix)
        if unlike <= shifted and meets >= _LOST * met:
            matrix, how, mirrored = affine.matrix, "affine", affine.mirrored
    alike = likeness(fixed, moving, Transform(matrix), "correlation")
    return RoughMap(matrix, "affine" if how == "affine" else "shift", alike, found.matched, mirrored)


def _affine(fixed: Prepared, moving: Prepared) -> Job[AffineResult | None]:
    """An affine map; None if there is none, or it makes the volume much larger or smaller."""
    try:
        found = yield from align(fixed, moving, AffineSettings())
    except GeometryError:
        return None
    stretch = np.linalg.svd(found.matrix[:3, :3], compute_uv=False)
    return found if max(stretch.max(), 1 / stretch.min()) <= _STRETCH else None
