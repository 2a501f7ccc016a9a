"""Between LPS, the world of ITK's transforms, and RAS, ours.

Owns the change of displacements and of world-to-world matrices; that of index-to-world matrices is
:func:`voxelsmith.core.affine.lps_to_ras`. Each change is its own inverse.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import FloatArray

_SIGNS = np.array([-1, -1, 1], np.float32)


def flip_vectors(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Displacements of shape (..., 3) from LPS to RAS, or back, in a new array of the same type."""
    flipped: npt.NDArray[np.floating] = vectors * _SIGNS.astype(vectors.dtype)
    return flipped


def flip_matrix(matrix: FloatArray) -> FloatArray:
    """A 4x4 matrix that takes LPS to LPS as one that takes RAS to RAS, or back."""
    signs = np.append(_SIGNS, 1).astype(np.float64)
    return matrix * signs * signs[:, np.newaxis]
