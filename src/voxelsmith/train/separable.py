"""Linear operations that act on one axis at a time, as small matrices.

Owns the trick that makes synthetic data cheap: upsampling, blurring and loss of resolution along an axis of n voxels
are a matrix with n rows, and a product of a volume with such a matrix takes about a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxelsmith.train.sample import Field


def apply_axes(array: Field, matrices: Sequence[Field | None]) -> Field:
    """Multiply a volume by one matrix an axis.

    Parameters
    ----------
    array
        float32, shape (A, B, C).
    matrices
        Three arrays of float32, shapes (I, A), (J, B), (K, C)
        None leaves an axis alone.

    Returns
    -------
    array of float32, shape (I, J, K)
    """
    first, second, third = matrices
    if third is not None:
        array = array @ third.T
    if second is not None:
        array = np.matmul(second, array)
    if first is not None:
        array = (first @ array.reshape(array.shape[0], -1)).reshape(-1, *array.shape[1:])
    return array


def spline_matrix(count: int, step: float, phase: float) -> Field:
    """Cubic B-splines with a knot every ``step`` voxels, evaluated at ``count`` voxels.

    Each row has unit length, so that white noise on the knots gives noise of unit variance everywhere.

    Parameters
    ----------
    count
        Number of voxels; the result has so many rows and as many columns as knots are needed.
    step
        Distance between knots in voxels, at least 1.
    phase
        Where in the first interval the first voxel lies, from 0 to 1.
    """
    at = np.arange(count) / step + phase + 1
    knots = np.arange(int(at[-1]) + 3)
    distance = np.abs(at[:, None] - knots)
    inner = 2 / 3 - distance**2 * (1 - distance / 2)
    outer = np.maximum(2 - distance, 0) ** 3 / 6
    weights = np.where(distance < 1, inner, outer)
    splines: Field = (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)
    return splines


def blur_matrix(count: int, sigma: float) -> Field:
    """A Gaussian of ``sigma`` voxels; rows add up to 1 at the border too."""
    distance = np.subtract.outer(np.arange(count), np.arange(count))
    weights = np.exp(-0.5 * (distance / max(sigma, 1e-3)) ** 2)
    blur: Field = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return blur


def coarse_matrix(count: int, factor: float) -> Field:
    """Average over slabs of ``factor`` voxels, then interpolate linearly between the slabs' centres.

    What is left of an axis that was scanned with thick slices and resampled to thin ones. ``factor`` is at least 1.
    """
    slabs = max(2, round(count / factor))
    centres = (np.arange(slabs) + 0.5) * count / slabs - 0.5
    at = np.arange(count)
    average = np.clip(count / slabs / 2 + 0.5 - np.abs(at - centres[:, None]), 0, 1)
    average /= average.sum(axis=1, keepdims=True)
    nearness = np.maximum(1 - np.abs(np.clip(at, centres[0], centres[-1])[:, None] - centres) * slabs / count, 0)
    coarse: Field = (nearness @ average).astype(np.float32)
    return coarse
