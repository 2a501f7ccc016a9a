"""Pseudo-masks: regions of an unlabelled volume that serve as training targets.

Owns the segmentation of Felzenszwalb and Huttenlocher (Efficient graph-based image segmentation, IJCV 2004) in 3-D and
the cleaning that makes masks of its regions. Voxels are joined to their face neighbours: wider neighbourhoods take
longer and, as measured on CT, join more of what should stay apart.

The weight of an edge is a slope: the difference of the smoothed values, divided by the distance in units of the finest
voxel size. The same smooth change of brightness then weighs the same along every axis; by the plain difference, thick
slices would look like boundaries wherever brightness drifts, and regions would be as flat as a slice.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.segment.zoom import as_float32

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
LabelArray = npt.NDArray[np.int32]

# Chosen on an abdominal CT (see benchmarks/pseudo_masks.py): for brightness from 0 to 1, and in finest voxel sizes.
DEFAULT_SCALE = 0.003
DEFAULT_SIGMA = 0.5
# Percentiles of brightness that become 0 and 1, so that metal or a hot pixel does not set the scale.
_BLACK, _WHITE = 1.0, 99.0
# Beyond this, differences no longer fit in single precision.
_LARGEST = 1e30


def felzenszwalb(
    image: npt.ArrayLike, spacing: npt.ArrayLike, *, scale: float, sigma_mm: float | None = None, min_size: int = 1
) -> LabelArray:
    """Divide a volume into regions whose inner differences are small beside those at their boundaries.

    Two regions are merged if the lightest edge between them is no heavier than the heaviest that either was merged
    along, plus ``scale`` by the number of its voxels. What stays below ``min_size`` then joins its most similar
    neighbour.

    Parameters
    ----------
    image : array, shape (I, J, K)
        Values in any unit; what is not finite counts as the darkest.
    spacing
        Voxel size along i, j and k in millimetres.
    scale
        Preference for large regions, in units of the image per finest voxel size; 0 merges equal values only.
    sigma_mm
        Standard deviation of the Gaussian that smooths the image first, in millimetres; None takes half of the finest
        voxel size.
    min_size
        Least number of voxels of a region.

    Returns
    -------
    int32 array, shape (I, J, K)
        Regions 0, 1, ... in the order of their first voxels.

    Raises
    ------
    InputError
        If the image is not 3-D, is empty or has no finite voxel, or a parameter is out of range.
    GeometryError
        If the spacing is not positive.
    """
    from voxelsmith.segment.merging import merge

    values, size = _finite(image), _voxel_size(spacing)
    # An axis of one voxel has no neighbours: its spacing sets no scale, and there is nothing to smooth along it.
    finest = min((h for h, n in zip(size, values.shape, strict=True) if n > 1), default=1.0)
    sigma = DEFAULT_SIGMA * finest if sigma_mm is None else sigma_mm
    if not all(math.isfinite(x) and x >= 0 for x in (scale, sigma, min_size)):
        raise InputError(
            f"scale, sigma_mm and min_size are finite and not negative, got {scale}, {sigma_mm} and {min_size}."
        )
    smooth = ndimage.gaussian_filter(
        values, [sigma / h if n > 1 else 0.0 for h, n in zip(size, values.shape, strict=True)], mode="nearest"
    )
    return merge(_slopes(smooth, [h / finest for h in size]), values.shape, scale, min_size)


def pseudo_masks(
    image: npt.ArrayLike,
    spacing: npt.ArrayLike,
    *,
    scale: float | None = None,
    sigma_mm: float | None = None,
    least_share: float = 0.001,
) -> LabelArray:
    """Masks of the regions of a volume, cleaned as training targets.

    The image is brought to the range from 0 to 1 by its percentiles and divided by :func:`felzenszwalb`, with half of
    ``least_share`` as the least size. Each region is then opened and closed by a cross; what is too small before or
    after that is background.

    Parameters
    ----------
    image, spacing, sigma_mm
        As for :func:`felzenszwalb`.
    scale
        Preference for large regions, where the brightness of the image spans 0 to 1; None takes the tuned default.
    least_share
        Share of the volume's voxels, 0 to 1, below which a region or a separate part of one is background.

    Returns
    -------
    int32 array, shape (I, J, K)
        0 background; 1, 2, ... masks without a gap.

    Raises
    ------
    InputError, GeometryError
        As :func:`felzenszwalb` does.
    """
    if not 0 <= least_share <= 1:
        raise InputError(f"least_share is a share of the volume, from 0 to 1, got {least_share}.")
    values = _normalised(_finite(image))
    least = max(1, math.ceil(least_share * values.size))
    chosen = DEFAULT_SCALE if scale is None else scale
    regions = felzenszwalb(values, spacing, scale=chosen, sigma_mm=sigma_mm, min_size=math.ceil(least / 2))
    return clean(regions, least)


def clean(regions: LabelArray, least: int) -> LabelArray:
    """Make masks of regions: drop the small, open and close the rest, drop the small parts of each.

    The volume's border is no boundary: a region that reaches it is taken to go on beyond, so nothing is stripped there.
    A closing takes only voxels of dropped regions; a contested one goes to the region that comes first.

    Parameters
    ----------
    regions : int array, shape (I, J, K)
        Regions 0, 1, ...
    least
        Least number of voxels of a region, and of each of its parts joined by faces.

    Returns
    -------
    int32 array, shape (I, J, K)
        0 background; 1, 2, ... masks without a gap, in the order of the regions.
    """
    large = np.bincount(regions.ravel()) >= least
    labels = np.where(large[regions], regions + 1, 0)
    masks = np.zeros(regions.shape, dtype=np.int32)
    count = 0
    for value, found in enumerate(ndimage.find_objects(labels), start=1):
        if found is None:
            continue
        # Two voxels more, so that a closing meets the border of the crop only where that is the border of the volume.
        box = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in found)
        own = labels[box] == value
        free = (labels[box] == 0) & (masks[box] == 0)
        mask = _without_specks(_opened_and_closed(own) & (own | free), least)
        if mask.any():
            count += 1
            masks[box][mask] = count
    return masks


def _opened_and_closed(mask: BoolArray) -> BoolArray:
    opened = ndimage.binary_dilation(ndimage.binary_erosion(mask, border_value=1))
    closed: BoolArray = ndimage.binary_erosion(ndimage.binary_dilation(opened), border_value=1)
    return closed


def _without_specks(mask: BoolArray, least: int) -> BoolArray:
    parts, _ = ndimage.label(mask)
    large = np.bincount(parts.ravel()) >= least
    large[0] = False
    kept: BoolArray = large[parts]
    return kept


def _finite(image: npt.ArrayLike) -> FloatArray:
    """The image in single precision, with its darkest value in place of NaN, infinity and what is close to it."""
    values = as_float32(image)
    if values.ndim != 3 or values.size == 0:
        raise InputError(f"Regions need an image with axes (i, j, k) and at least one voxel, got shape {values.shape}.")
    good = np.abs(values) < _LARGEST
    if good.all():
        return values
    if not good.any():
        raise InputError("The image has no finite voxel, so there are no regions in it; check how it was read.")
    return np.where(good, values, values[good].min())


def _normalised(values: FloatArray) -> FloatArray:
    low, high = np.percentile(values, (_BLACK, _WHITE))
    if low == high:
        low, high = values.min(), values.max()
    if low == high:
        return np.zeros_like(values)
    return np.interp(values, (low, high), (0.0, 1.0)).astype(np.float32)


def _voxel_size(spacing: npt.ArrayLike) -> list[float]:
    size = np.asarray(spacing, dtype=np.float64)
    if size.shape != (3,) or not (np.isfinite(size).all() and (size > 0).all()):
        raise GeometryError(
            f"A voxel size is three positive numbers of millimetres, got {size.tolist()}; repair the file's header."
        )
    return [float(h) for h in size]


def _slopes(image: FloatArray, steps: list[float]) -> FloatArray:
    """Weights of the edges from each voxel to the next along each axis, infinite at the far faces: (3, I, J, K)."""
    weights = np.full((3, *image.shape), np.inf, dtype=np.float32)
    for axis, step in enumerate(steps):
        inner = np.moveaxis(weights[axis], axis, 0)[:-1]
        inner[:] = np.moveaxis(np.abs(np.diff(image, axis=axis)), axis, 0) / np.float32(step)
    return weights
