"""Surface: settle a coarse result at full resolution, only where it matters.

Owns the second, narrow random walk. Voxels near the surface of the coarse answer are solved again on the image's own
grid, where their edges are sharp; all others keep the side they are on.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import cg

from voxelsmith.segment.random_walk import WEAKEST
from voxelsmith.segment.zoom import as_float32

FloatArray: TypeAlias = npt.NDArray[np.float32]


def settle_surface(
    mask: npt.NDArray[np.bool_],
    band: npt.NDArray[np.signedinteger[Any]],
    probability: FloatArray,
    image: npt.NDArray[Any],
    level_of: Callable[[FloatArray], FloatArray],
    spacing: npt.NDArray[np.float64],
    *,
    contrast: float,
    hold: float,
) -> None:
    """Solve the band at full resolution and write the answer into the mask.

    Parameters
    ----------
    mask : bool array, shape (I, J, K)
        The coarse answer; changed in place within the band.
    band : integer array, shape (N,)
        Flat indices (C order) of the voxels to solve, ascending.
    probability : array, shape (N,)
        The coarse answer there, shifted so that 0.5 is the surface.
    image : array, shape (I, J, K)
        Voxel values.
    level_of
        Turns voxel values into brightness of about 0 to 1.
    spacing
        Voxel size in millimetres.
    contrast, hold
        As in :mod:`voxelsmith.segment.random_walk`.
    """
    n = len(band)
    if not n:
        return
    shape = mask.shape
    at = np.unravel_index(band, shape)
    own = level_of(as_float32(image[at]))
    right = (hold * probability).astype(np.float32)
    # Seven entries a row, the last on the diagonal; a neighbour outside the band stays an entry of weight zero.
    columns = np.repeat(np.arange(n, dtype=np.int32)[:, None], 7, axis=1)
    values = np.zeros((n, 7), dtype=np.float32)
    values[:, 6] = hold
    finest = min((h for h, m in zip(spacing, shape, strict=True) if m > 1), default=1.0)
    for entry, (axis, step) in enumerate(product(range(3), (-1, 1))):
        there = np.flatnonzero(at[axis] > 0 if step < 0 else at[axis] < shape[axis] - 1)
        flat = band[there] + step * int(np.prod(shape[axis + 1 :]))
        neighbour = np.unravel_index(flat, shape)
        difference = own[there] - level_of(as_float32(image[neighbour]))
        conductance = np.exp(-contrast * difference**2) + WEAKEST
        weight = ((finest / spacing[axis]) ** 2 * conductance).astype(np.float32)
        values[there, 6] += weight
        found = np.minimum(np.searchsorted(band, flat), n - 1)
        free = band[found] == flat
        columns[there[free], entry] = found[free]
        values[there[free], entry] = -weight[free]
        right[there[~free]] += weight[~free] * mask[tuple(x[~free] for x in neighbour)]
    diagonal = values[:, 6].copy()
    rows = np.arange(0, 7 * n + 1, 7, dtype=np.int32)
    matrix = sparse.csr_array((values.ravel(), columns.ravel(), rows), shape=(n, n))
    jacobi = sparse.diags_array(1 / diagonal, format="csr")
    solution, _ = cg(matrix, right, x0=probability, rtol=1e-2, maxiter=60, M=jacobi)
    mask[at] = solution > 0.5
