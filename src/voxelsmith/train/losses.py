"""What the networks are trained to make small."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

# Added to both sides of the Dice quotient, in voxels: an empty prediction of an empty target is perfect, and the
# gradient of a target of a few voxels stays tame.
SMOOTHING = 1.0


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


def _require_same_shape(logits: Tensor, target: Tensor) -> None:
    if logits.shape != target.shape:
        raise ValueError(f"Logits {tuple(logits.shape)} and target {tuple(target.shape)} must have one shape.")
