"""MIND-SSC: what an image looks like around each voxel, whatever its modality.

Owns the self-similarity context descriptor (Heinrich et al., MICCAI 2013). The six neighbours of a voxel are compared
with each other, not with the voxel itself: twelve pairs of neighbours that lie across an edge.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from voxelsmith.register.box import box_count, box_sum

_SIDES = [(axis, sign) for axis in range(3) for sign in (-1, 1)]
PAIRS = [(a, b) for a, b in combinations(_SIDES, 2) if a[0] != b[0]]
"""The twelve pairs of neighbours, each as (axis, sign), in the order of the channels."""

# How far the local noise estimate may lie from its mean over the image, as a factor.
_FAR = 1e3


def mind_ssc(image: Tensor, *, radius: int = 1, dilation: int = 2) -> Tensor:
    """Descriptors.

    Parameters
    ----------
    image
        Shape (B, C, I, J, K), float; it goes on as at its border.
    radius
        Patches that are compared are cubes of 2 radius + 1 voxels, smaller at the border.
    dilation
        How far the neighbours are, in voxels.

    Returns
    -------
    tensor, shape (B, 12 C, I, J, K)
        Of each channel the :data:`PAIRS`: 1 for the pair that is most alike, towards 0 for others; 1 for all where the
        image is constant.
    """
    b, c, *grid = image.shape
    flat = image.reshape(b * c, 1, *grid)
    wide = functional.pad(flat, [dilation] * 6, mode="replicate")
    window = 2 * radius + 1
    shifted = {side: _shifted(wide, side, dilation, grid) for side in _SIDES}
    squares = torch.cat([(shifted[one] - shifted[other]) ** 2 for one, other in PAIRS], dim=1)
    distances = box_sum(squares, window) / box_count(grid, window, flat)
    noise = distances.mean(dim=1, keepdim=True)
    typical = noise.mean(dim=(2, 3, 4), keepdim=True)
    noise = torch.minimum(torch.maximum(noise, typical / _FAR), typical * _FAR)
    least = distances.amin(dim=1, keepdim=True)
    descriptors = torch.exp((least - distances) / noise.clamp(min=torch.finfo(image.dtype).eps ** 2))
    return descriptors.reshape(b, c * len(PAIRS), *grid)


def _shifted(wide: Tensor, side: tuple[int, int], dilation: int, grid: list[int]) -> Tensor:
    """The image, taken from its neighbour on a side."""
    for axis, count in enumerate(grid):
        start = dilation + (side[1] * dilation if axis == side[0] else 0)
        wide = wide.narrow(2 + axis, start, count)
    return wide
