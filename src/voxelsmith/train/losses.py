"""What the networks are trained to make small.

Owns overlap and cross-entropy, for whole and for partial annotation, anisotropic total variation, and the doors to
MONAI's losses of centre lines and boundaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from voxelsmith.segment.plan import UNKNOWN

# Added to both sides of the Dice quotient, in voxels: an empty prediction of an empty target is perfect, and the
# gradient of a target of a few voxels stays tame.
SMOOTHING = 1.0

IGNORED = UNKNOWN
"""Class index of voxels about which the annotation says nothing."""


def dice_loss(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """One minus the soft Dice coefficient, averaged over the samples and channels of a batch.

    The sums run over the volume of each channel of each sample, in float32:
    1 - (2 sum(p t) + s) / (sum(p) + sum(t) + s)
    for probabilities p, target t and the :data:`SMOOTHING` s.

    Parameters
    ----------
    logits
        Shape (N, C, i, j, k); the sigmoid is taken here.
    target
        Truth of the same shape: 0 or 1, boolean, or between for soft truth.
    valid
        Voxels that count, 1 or True, in a shape that broadcasts to that of the logits; None for all.

    Returns
    -------
    Tensor
        Scalar, 0 to 1.

    Raises
    ------
    ValueError
        If logits and target differ in shape.
    """
    _require_same_shape(logits, target)
    probability, truth = logits.float().sigmoid(), target.float()
    if valid is not None:
        weight = valid.float().expand_as(truth)
        probability, truth = probability * weight, truth * weight
    volume = tuple(range(2, logits.ndim))
    overlap = (probability * truth).sum(volume)
    total = probability.sum(volume) + truth.sum(volume)
    return (1 - (2 * overlap + SMOOTHING) / (total + SMOOTHING)).mean()


def segvol_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Soft Dice loss as SegVol was trained with it, averaged over the samples of a batch.

    Nothing is added to the numerator: 1 - 2 sum(p t) / (sum(p) + sum(t) + 1). So an empty target costs 1 whatever is
    answered, and pulls at nothing. The published code squeezes its tensors first, by which the Dice of a batch of one
    becomes the mean of those of its slices; here a sample is a volume always.

    Parameters
    ----------
    logits
        Shape (N, ...); the sigmoid is taken here.
    target
        Truth of the same shape, 0 or 1.

    Returns
    -------
    Tensor
        Scalar, 0 to 1.

    Raises
    ------
    ValueError
        If logits and target differ in shape.
    """
    _require_same_shape(logits, target)
    probability, truth = logits.float().sigmoid().flatten(1), target.float().flatten(1)
    overlap, total = (probability * truth).sum(1), probability.sum(1) + truth.sum(1)
    return (1 - 2 * overlap / (total + 1)).mean()


def dice_bce(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Soft Dice loss plus binary cross-entropy, the mean over the voxels that count; see :func:`dice_loss`.

    Where no voxel counts, the cross-entropy is 0.
    """
    _require_same_shape(logits, target)
    entropy = functional.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
    if valid is None:
        return dice_loss(logits, target) + entropy.mean()
    weight = valid.float().expand_as(entropy)
    return dice_loss(logits, target, valid) + (entropy * weight).sum() / weight.sum().clamp(min=1)


def total_variation(
    probability: Tensor,
    spacing: Sequence[float] | None = None,
    *,
    rounding: float = 0.0,
    guide: Tensor | None = None,
    edge: float = 0.0,
) -> Tensor:
    """Anisotropic total variation of probability maps, in its mean form.

    For each channel the sum over the spatial axes a of w_a mean |p(x + a) - p(x)|, where each mean runs over the pairs
    of neighbours along that axis; summed over the channels, as in TV-Unet (Saeedizadeh et al., 2021), which knows one
    channel and two axes. w_a is the smallest spacing over the spacing along a, so that thick slices are tied less.

    Parameters
    ----------
    probability
        Shape (N, C, *grid), 0 to 1: the foreground channels.
    spacing
        Voxel size along each axis of the grid, in any unit; None for voxels of equal sides.
    rounding
        Differences below it count quadratically (Huber's norm, less half of ``rounding`` for the others), which
        steadies the gradient near 0; 0 for the plain norm.
    guide
        Image, shape (N, 1, *grid). With it, a difference counts exp(-edge |image difference|) as much, so that borders
        settle on edges of the image.
    edge
        How fast that falls.

    Returns
    -------
    Tensor
        Scalar, 0 or more; an axis of one voxel adds nothing.
    """
    axes = range(2, probability.ndim)
    sizes = [1.0] * len(axes) if spacing is None else [float(s) for s in spacing]
    total = probability.new_zeros(())
    for axis, size in zip(axes, sizes, strict=True):
        if probability.shape[axis] < 2:
            continue
        difference = probability.diff(dim=axis).abs()
        if rounding > 0:
            difference = torch.where(
                difference < rounding, difference.square() / (2 * rounding), difference - rounding / 2
            )
        if guide is not None and edge > 0:
            difference = difference * (-edge * guide.diff(dim=axis).abs()).exp()
        total = total + min(sizes) / size * difference.mean() * probability.shape[1]
    return total


def partial_overlap(probability: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of the foreground channels, over the voxels that are annotated.

    Averaged over the channels, each over the whole batch, so that a sample without a class does no harm.

    Parameters
    ----------
    probability
        Shape (N, C, *grid), channel 0 the background.
    target
        Class indices, shape (N, *grid), :data:`IGNORED` where nothing is known.
    """
    truth, known = one_hot(target, probability.shape[1])
    sums = (0, *range(2, probability.ndim))
    overlap = (probability * truth).sum(sums)[1:]
    total = (probability * known).sum(sums)[1:] + truth.sum(sums)[1:]
    return (1 - (2 * overlap + SMOOTHING) / (total + SMOOTHING)).mean()


def partial_entropy(logits: Tensor, target: Tensor, *, binary: bool = False) -> Tensor:
    """Cross-entropy over the annotated voxels; 0 where there is none.

    Parameters
    ----------
    logits
        Shape (N, C, *grid).
    target
        Class indices, shape (N, *grid), :data:`IGNORED` where nothing is known.
    binary
        Take each channel by itself, the background too, as TV-Unet does; otherwise the channels compete.
    """
    if not binary:
        known = (target != IGNORED).sum().clamp(min=1)
        return functional.cross_entropy(logits, target, ignore_index=IGNORED, reduction="sum") / known
    truth, known = one_hot(target, logits.shape[1])
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (entropy * known).sum() / (known.sum() * logits.shape[1]).clamp(min=1)


def centre_line_loss(probability: Tensor, target: Tensor, iterations: int = 3) -> Tensor:
    """Soft clDice loss of the foreground channels (Shit et al., CVPR 2021), as MONAI has it; for tubes.

    ``iterations`` is about the largest radius in voxels; shapes as for :func:`partial_overlap`. Voxels without
    annotation belong to no class.
    """
    from monai.losses.cldice import SoftclDiceLoss

    truth, known = one_hot(target, probability.shape[1])
    loss: Any = SoftclDiceLoss(iter_=iterations, include_background=False)
    found: Tensor = loss(probability * known, truth)
    return found


def boundary_loss(probability: Tensor, target: Tensor) -> Tensor:
    """Boundary loss of the foreground channels (Kervadec et al., MIDL 2019), as MONAI has it; for small lesions.

    May be below 0. Shapes as for :func:`partial_overlap`; voxels without annotation count for nothing.
    """
    from monai.losses.boundary_loss import BoundaryLoss

    truth, known = one_hot(target, probability.shape[1])
    loss: Any = BoundaryLoss(include_background=False)
    found: Tensor = loss(probability * known, truth)
    return found


def one_hot(target: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Class indices (N, *grid) as float32 maps (N, channels, *grid), and where something is known (N, 1, *grid).

    Where nothing is known, all channels are 0.
    """
    known = (target != IGNORED).unsqueeze(1)
    maps = functional.one_hot(target.clamp(min=0), channels).movedim(-1, 1) * known
    return maps.float(), known.float()


def _require_same_shape(logits: Tensor, target: Tensor) -> None:
    if logits.shape != target.shape:
        raise ValueError(f"Logits {tuple(logits.shape)} and target {tuple(target.shape)} must have one shape.")
