"""Penalties: what else a deformation should do than make images alike.

Owns the roughness of displacements, and the overlap of labels that are moved along.
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
    scalar tensor
    """
    return torch.stack([step.square().mean() for step in _steps(displacement)]).sum() / 3


def total_variation(displacement: Tensor) -> Tensor:
    """Mean absolute difference between neighbouring vectors, the mean over the three axes; see :func:`diffusion`."""
    return torch.stack([step.abs().mean() for step in _steps(displacement)]).sum() / 3


def soft_dice(warped: Tensor, fixed: Tensor) -> Tensor:
    """Soft Dice coefficients of masks, 2 sum(w f) / (sum(w^2) + sum(f^2)), 0 to 1; of two that are empty, 0.

    Parameters
    ----------
    warped, fixed
        One channel a label, shape (B, C, I, J, K), values in 0..1.

    Returns
    -------
    tensor, shape (B, C)
    """
    volume = (2, 3, 4)
    warped, fixed = _precise(warped), _precise(fixed)
    overlap = (warped * fixed).sum(volume)
    return 2 * overlap / (warped.square().sum(volume) + fixed.square().sum(volume) + 1e-5)


def dice_loss(warped: Tensor, fixed: Tensor) -> Tensor:
    """One minus the mean of :func:`soft_dice` over samples and labels; leave the background out of the channels."""
    return 1 - soft_dice(warped, fixed).mean()


def _steps(displacement: Tensor) -> list[Tensor]:
    field = _precise(displacement)
    return [field.diff(dim=axis) if field.shape[axis] > 1 else field.new_zeros(1) for axis in (2, 3, 4)]


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
