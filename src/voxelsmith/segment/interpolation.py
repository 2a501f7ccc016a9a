"""Shape interpolation: the slices between painted ones, from the painted shapes alone.

Owns signed distances in painted slices and their blend between them (Raya and Udupa, Shape-based interpolation of
multidimensional objects, IEEE Transactions on Medical Imaging 1990). It needs no image, takes milliseconds, and serves
as the first answer, as the prior of the same-volume engine, and as the baseline that the engine must beat. Arrays here
have the annotated axis first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.segment.zoom import FloatArray


def signed_distance(mask: npt.NDArray[np.bool_], spacing: Sequence[float]) -> FloatArray:
    """Distance to the outline of a mask, positive inside.

    Parameters
    ----------
    mask
        Bool array with any number of axes.
    spacing
        Pixel size along each axis, in millimetres.

    Returns
    -------
    float32 array of the mask's shape
        Millimetres, from the centre of a pixel to the outline half a pixel beyond the nearest one of the other side; an
        empty mask has minus the diagonal of the array everywhere, a full one plus the diagonal.
    """
    diagonal = float(np.linalg.norm(np.multiply(mask.shape, spacing)))
    if not mask.any() or mask.all():
        return np.full(mask.shape, diagonal if mask.any() else -diagonal, dtype=np.float32)
    half = min(spacing) / 2
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    signed: FloatArray = np.where(mask, inside - half, half - outside).astype(np.float32)
    return signed


def interpolate(distances: Mapping[int, FloatArray], slices: Sequence[int], thickness: float) -> FloatArray:
    """Signed distances in any slices, from those in the painted ones.

    Between two painted slices the distances are blended linearly. Beyond the outermost ones the shape shrinks by one
    millimetre for each millimetre away, as a ball does at its equator or sooner. Towards an empty slice it shrinks so
    that it is gone there.

    Parameters
    ----------
    distances : slice number to array, shape (A, B)
        From :func:`signed_distance`; at least one.
    slices
        Which slices are wanted.
    thickness
        Distance of neighbouring slices in millimetres.

    Returns
    -------
    float32 array, shape (len(slices), A, B)
        Millimetres, positive inside.
    """
    painted = sorted(distances)
    out = np.empty((len(slices), *distances[painted[0]].shape), dtype=np.float32)
    for row, at in enumerate(slices):
        above = bisect_left(painted, at)
        if above in (0, len(painted)):
            nearest = painted[min(above, len(painted) - 1)]
            out[row] = distances[nearest] - np.float32(abs(at - nearest) * thickness)
            continue
        low, high = painted[above - 1], painted[above]
        share = np.float32((at - low) / (high - low))
        first, last = _both(distances[low], distances[high])
        np.multiply(last, share, out=out[row])
        out[row] += (1 - share) * first
    return out


def _both(first: FloatArray, last: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Two neighbours; where one is empty, the other one shrunk to nothing stands in for it."""
    deepest, farthest = float(first.max()), float(last.max())
    if deepest > 0 > farthest:
        return first, first - np.float32(deepest)
    if farthest > 0 > deepest:
        return last - np.float32(farthest), last
    return first, last
