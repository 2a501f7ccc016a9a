"""From probabilities to regions: what is cut off, filled and dropped.

Owns the threshold, the nesting of the probabilities, and what is known of gliomas: small pieces that seem to enhance
are core (low-grade gliomas often have none; Isensee et al., arXiv 1809.10483), specks far from the tumour are nothing,
and a tumour has no holes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.connectivity import fill_cavities, keep_components
from voxelsmith.core.prompts import Box
from voxelsmith.core.regions import DepthMap, depth_of

_THRESHOLD = 0.5
_LEAST_SHARE = 0.1


def nested(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probabilities of WT, TC and ET, (3, I, J, K), none larger than that of the region around it."""
    out: npt.NDArray[np.float32] = np.minimum.accumulate(probabilities, axis=0)
    return out


def depth_from(
    probabilities: npt.NDArray[Any], voxel_mm3: float, least_whole_mm3: float, least_enhancing_mm3: float
) -> DepthMap:
    """Depths 0 to 3 of nested probabilities.

    Parameters
    ----------
    probabilities : float array, shape (3, I, J, K)
        Of WT, TC and ET, nested.
    voxel_mm3
        Volume of a voxel.
    least_whole_mm3, least_enhancing_mm3
        Smaller pieces of WT are dropped, and so are those with less than a tenth of the largest one; smaller pieces of
        ET become core.
    """
    masks = probabilities > _THRESHOLD
    out = np.zeros(masks.shape[1:], np.uint8)
    if not masks[0].any():
        return out
    part = Box.around(masks[0]).slices
    whole, core, enhancing = masks[(slice(None), *part)]
    whole = fill_cavities(whole)
    largest = int(np.count_nonzero(keep_components(whole, most=1)))
    least = max(_voxels(least_whole_mm3, voxel_mm3), int(np.ceil(_LEAST_SHARE * largest)))
    whole = keep_components(whole, least_voxels=least)
    core = fill_cavities(core) & whole
    enhancing = keep_components(enhancing & whole, least_voxels=_voxels(least_enhancing_mm3, voxel_mm3))
    out[part] = depth_of(np.stack([whole, core, enhancing]))
    return out


def _voxels(least_mm3: float, voxel_mm3: float) -> int:
    return max(1, int(np.ceil(least_mm3 / voxel_mm3)))
