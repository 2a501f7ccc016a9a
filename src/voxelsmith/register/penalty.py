"""Penalties: what else a deformation should do than make images alike.

Owns the roughness of displacements.
"""

from __future__ import annotations

import torch
from torch import Tensor


def diffusion(displacement: Tensor) -> Tensor:
    """Mean squared difference between neighbouring vectors, the mean over the three axes.

    Parameters
    ----------
    displacement
        Shape (B, 3, I, J, K), in voxels; an axis of one voxel has no neighbours and adds nothing.

    Returns
    -------
    scalar tensor, in float32, or float64 for a displacement of that type
    """
    field = displacement if displacement.dtype == torch.float64 else displacement.float()
    steps = [field.diff(dim=axis).square().mean() for axis in (2, 3, 4) if field.shape[axis] > 1]
    return sum(steps, field.new_zeros(())) / 3
