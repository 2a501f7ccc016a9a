"""How well two masks agree: overlap and surface distance.

Owns the definitions that every table of the project uses. Conventions for empty masks: when both are empty they agree
(overlaps 1, distances 0); when exactly one is, overlaps are 0 and distances infinite. Precision of an empty prediction
and sensitivity of an empty reference are 1 if the other mask is empty too, otherwise 0.

Surface voxels are mask voxels with a face neighbour outside the mask (outside the image counts as outside). HD95 is the
larger of the two directed 95th percentiles, as MONAI and DeepMind's surface-distance define it; the mean surface
distance pools both directions (ASSD). Both use the voxel size, so they are right on anisotropic grids.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.errors import GeometryError
from voxelsmith.core.prompts import Box
from voxelsmith.core.volume import LabelVolume

Mask: TypeAlias = npt.NDArray[Any]


def _counts(reference: Mask, prediction: Mask) -> tuple[int, int, int]:
    """Voxels in both, in the reference, in the prediction."""
    if reference.shape != prediction.shape:
        raise GeometryError(f"Masks to compare have one shape, got {reference.shape} and {prediction.shape}.")
    a, b = np.asarray(reference, dtype=bool), np.asarray(prediction, dtype=bool)
    return int(np.count_nonzero(a & b)), int(np.count_nonzero(a)), int(np.count_nonzero(b))


def dice(reference: Mask, prediction: Mask) -> float:
    """Dice coefficient, 2|A and B| / (|A| + |B|), 0 to 1."""
    both, a, b = _counts(reference, prediction)
    return 2 * both / (a + b) if a + b else 1.0


def iou(reference: Mask, prediction: Mask) -> float:
    """Intersection over union (Jaccard index), 0 to 1."""
    both, a, b = _counts(reference, prediction)
    return both / (a + b - both) if a + b else 1.0


def precision(reference: Mask, prediction: Mask) -> float:
    """Share of the prediction that is right (positive predictive value), 0 to 1."""
    both, a, b = _counts(reference, prediction)
    return both / b if b else float(a == 0)


def sensitivity(reference: Mask, prediction: Mask) -> float:
    """Share of the reference that was found (recall), 0 to 1."""
    both, a, b = _counts(reference, prediction)
    return both / a if a else float(b == 0)


def _surface(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    eroded: npt.NDArray[np.bool_] = ndimage.binary_erosion(mask)
    return mask & ~eroded


def surface_distances(
    reference: Mask, prediction: Mask, spacing: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Distances between the surfaces of two non-empty masks, in millimetres.

    Parameters
    ----------
    reference, prediction : array, shape (I, J, K)
        Masks; non-zero is inside.
    spacing
        Voxel size along i, j and k in millimetres.

    Returns
    -------
    to_reference, to_prediction : 1-D float arrays
        For each surface voxel of the prediction the distance to the reference's surface, and the reverse.
    """
    box = Box.around(reference).union(Box.around(prediction)).slices
    # One voxel of background all round, so that the border of the image counts as outside.
    a, b = (_surface(np.pad(np.asarray(m[box], dtype=bool), 1)) for m in (reference, prediction))
    size = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (3,)).tolist()
    to_reference = ndimage.distance_transform_edt(~a, sampling=size)[b]
    to_prediction = ndimage.distance_transform_edt(~b, sampling=size)[a]
    return to_reference, to_prediction


def _empty_distance(reference: Mask, prediction: Mask) -> float | None:
    _, a, b = _counts(reference, prediction)
    return None if a and b else (0.0 if a == b else float("inf"))


def hd95(reference: Mask, prediction: Mask, spacing: npt.ArrayLike = 1.0) -> float:
    """95th percentile of the Hausdorff distance in millimetres (the larger of the two directions)."""
    if (empty := _empty_distance(reference, prediction)) is not None:
        return empty
    return max(float(np.percentile(d, 95)) for d in surface_distances(reference, prediction, spacing))


def mean_surface_distance(reference: Mask, prediction: Mask, spacing: npt.ArrayLike = 1.0) -> float:
    """Average symmetric surface distance (ASSD) in millimetres."""
    if (empty := _empty_distance(reference, prediction)) is not None:
        return empty
    return float(np.concatenate(surface_distances(reference, prediction, spacing)).mean())


def compare(reference: Mask, prediction: Mask, spacing: npt.ArrayLike = 1.0) -> dict[str, float]:
    """Every metric of this module for one pair of masks, with both volumes in millilitres."""
    voxel_ml = float(np.prod(np.broadcast_to(np.asarray(spacing, dtype=np.float64), (3,)))) / 1000
    _, a, b = _counts(reference, prediction)
    empty = _empty_distance(reference, prediction)
    if empty is None:
        forth, back = surface_distances(reference, prediction, spacing)
        far = max(float(np.percentile(forth, 95)), float(np.percentile(back, 95)))
        mean = float(np.concatenate([forth, back]).mean())
    else:
        far = mean = empty
    return {
        "dice": dice(reference, prediction),
        "iou": iou(reference, prediction),
        "precision": precision(reference, prediction),
        "sensitivity": sensitivity(reference, prediction),
        "hd95_mm": far,
        "mean_surface_distance_mm": mean,
        "reference_ml": a * voxel_ml,
        "prediction_ml": b * voxel_ml,
    }


def compare_labels(reference: LabelVolume, prediction: LabelVolume) -> dict[int, dict[str, float]]:
    """:func:`compare` for every label that occurs in either volume; GeometryError unless they share a grid."""
    reference.require_same_grid(prediction)
    values = sorted(set(reference.values()) | set(prediction.values()))
    return {v: compare(reference.mask(v), prediction.mask(v), reference.spacing) for v in values}
