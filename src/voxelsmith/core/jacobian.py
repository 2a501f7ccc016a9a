"""The Jacobian determinant of a deformation: by which factor it changes volumes, and where it folds.

Owns its definition and the numbers that tables quote of it. The determinant is that of p -> p + u(p), with central
differences, one-sided at the border. It is the same in voxels and in millimetres, whatever the affine, so displacements
are in voxels here. Publications leave out two voxels at the border; so do callers, by :func:`inside`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import GeometryError

_LEAST, _GREATEST = 1e-9, 1e9


def jacobian_determinant(displacement: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """Determinants.

    Parameters
    ----------
    displacement : array, shape (3, I, J, K)
        Shift along each array axis, in voxels. Along an axis of one voxel nothing changes.

    Returns
    -------
    array, shape (I, J, K)
        Of the type of the displacement. 1 keeps volumes, above grows them, 0 and below folds.

    Raises
    ------
    GeometryError
        When the shape is another.
    """
    if displacement.ndim != 4 or len(displacement) != 3:
        raise GeometryError(f"A displacement has shape (3, I, J, K), got {displacement.shape}.")
    u, v, w = (_slopes(displacement, component) for component in range(3))
    across = v[1] * w[2] - v[2] * w[1], v[2] * w[0] - v[0] * w[2], v[0] * w[1] - v[1] * w[0]
    determinant: npt.NDArray[np.floating[Any]] = u[0] * across[0] + u[1] * across[1] + u[2] * across[2]
    return determinant


def inside(determinant: npt.NDArray[np.floating[Any]], border: int = 2) -> npt.NDArray[np.floating[Any]]:
    """Determinants without those of the outermost voxels, shape (I - 2 border, ...)."""
    return determinant[tuple(slice(border, count - border) for count in determinant.shape)]


def folding_share(determinant: npt.NDArray[np.floating[Any]]) -> float:
    """Share of voxels where the deformation folds (determinant not above 0), 0 to 1."""
    return float(np.mean(determinant <= 0))


def sdlogj(determinant: npt.NDArray[np.floating[Any]]) -> float:
    """Standard deviation of the logarithm of the determinant, folds as 1e-9: how uneven a deformation is."""
    return float(np.std(np.log(np.clip(determinant, _LEAST, _GREATEST))))


def sdlogj_learn2reg(determinant: npt.NDArray[np.floating[Any]]) -> float:
    """As :func:`sdlogj`, of the determinant plus 3: what the Learn2Reg challenge reports, four times less or more."""
    return sdlogj(determinant + 3)


def _slopes(displacement: npt.NDArray[Any], component: int) -> list[npt.NDArray[Any]]:
    """How one component of p + u(p) changes along the three axes."""
    u = displacement[component]
    slopes = [np.gradient(u, axis=axis) if count > 1 else np.zeros_like(u) for axis, count in enumerate(u.shape)]
    slopes[component] = slopes[component] + 1
    return slopes
