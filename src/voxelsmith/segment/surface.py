"""Surface: settle a coarse result at full resolution, only where it matters.

Owns the second, narrow random walk. Voxels near the surface of the coarse answer are solved again on the image's own
grid, where their edges are sharp; all others keep the side they are on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import cg

FloatArray: TypeAlias = npt.NDArray[np.float32]


def settle_surface(
    mask: npt.NDArray[np.bool_],
    band: npt.NDArray[np.intp],
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
    own = level_of(image[at].astype(np.float32))
    degree = np.full(n, hold, dtype=np.float32)
    right = hold * probability
    rows, columns, values = [], [], []
    finest = min((h for h, m in zip(spacing, shape, strict=True) if m > 1), default=1.0)
    for axis in range(3):
        if shape[axis] == 1:
            continue
        stride = int(np.prod(shape[axis + 1 :]))
        for step in (-1, 1):
            there = np.flatnonzero(at[axis] > 0 if step < 0 else at[axis] < shape[axis] - 1)
            flat = band[there] + step * stride
            neighbour = np.unravel_index(flat, shape)
            difference = own[there] - level_of(image[neighbour].astype(np.float32))
            weight = ((finest / spacing[axis]) ** 2 * (np.exp(-contrast * difference**2) + 1e-3)).astype(np.float32)
            degree[there] += weight
            found = np.minimum(np.searchsorted(band, flat), n - 1)
            free = band[found] == flat
            rows.append(there[free])
            columns.append(found[free])
            values.append(-weight[free])
            right[there[~free]] += weight[~free] * mask[tuple(x[~free] for x in neighbour)]
    rows.append(np.arange(n))
    columns.append(np.arange(n))
    values.append(degree)
    matrix = sparse.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(n, n)
    ).tocsr()
    jacobi = sparse.diags([1 / degree], [0], format="csr", dtype=np.float32)
    solution, _ = cg(matrix, right, x0=probability, rtol=1e-2, maxiter=60, M=jacobi)
    mask[at] = solution > 0.5
