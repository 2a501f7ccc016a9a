"""Prototypes: classify each position of a feature map by its likeness to what was annotated in other maps.

Owns the parameter-free head of prototype networks, for 2-D and 3-D features alike: masked average pooling at mask
resolution (PANet, Wang et al., ICCV 2019), local prototypes with their fall-back to the global one and a soft maximum
over them (ALPNet, Ouyang et al., ECCV 2020), a cap by farthest-point choice, cosine likeness times 20 and one softmax
over all classes and background, and a soft position prior: prototypes know where they come from. The learned threshold
of ADNet (Hansen et al., MedIA 2022) is an alternative to a background model. Alignment of the support with the answer
(PAR) is there as a loss and as a label-free score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

SCALE = 20.0
"""By which cosines are multiplied before the softmax."""

PURITY = 0.95
"""Share of a cell that a class must fill for the cell to become one of its local prototypes."""

MOST = 600
"""Prototypes kept of each class."""

_EPS = 1e-5
# The score of a class without prototypes: below all others, but finite, so that maps of it can be interpolated.
_ABSENT = -1e30
_POSITIONS_AT_ONCE = 8192
_MODES = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True, eq=False)
class Prototypes:
    """The prototypes of one class.

    Parameters
    ----------
    vectors : float tensor, shape (P, C)
        Mean features; P is 0 for a class that was nowhere annotated.
    places : float tensor, shape (P, D), or None
        Where each comes from, in the units of the position prior; None if that does not matter.
    """

    vectors: Tensor
    places: Tensor | None = None

    def __len__(self) -> int:
        return len(self.vectors)


def resized(features: Tensor, grid: Sequence[int]) -> Tensor:
    """Features (B, C, *map) interpolated linearly onto another map, in 2-D or 3-D."""
    if tuple(features.shape[2:]) == tuple(grid):
        return features
    return functional.interpolate(features, size=tuple(grid), mode=_MODES[len(grid)], align_corners=False)


def masked_average(features: Tensor, masks: Tensor) -> Tensor:
    """Masked average pooling: features are brought to the masks' resolution, not the masks to the features'.

    Parameters
    ----------
    features : float tensor, shape (B, C, *map)
        Feature maps, 2-D or 3-D.
    masks : float or bool tensor, shape (B, *grid)
        Weights, 0 to 1, on a grid of their own.

    Returns
    -------
    float tensor, shape (B, C)
        Zero where a mask is empty.
    """
    weights = masks.to(features.dtype).unsqueeze(1)
    fine = resized(features, masks.shape[1:])
    axes = tuple(range(2, fine.ndim))
    pooled: Tensor = (fine * weights).sum(axes) / (weights.sum(axes) + _EPS)
    return pooled


def global_prototype(features: Tensor, masks: Tensor) -> Prototypes:
    """One prototype of a class: the mean over the shots in which it was annotated.

    Parameters
    ----------
    features : float tensor, shape (B, C, *map)
        Features of the shots.
    masks : float or bool tensor, shape (B, *grid)
        The class in each shot.
    """
    present = masks.flatten(1).sum(1) > 0
    if not present.any():
        return Prototypes(features.new_zeros(0, features.shape[1]))
    return Prototypes(masked_average(features[present], masks[present]).mean(0, keepdim=True))


def local_prototypes(
    features: Tensor,
    masks: Tensor,
    window: int | Sequence[int] = 2,
    *,
    with_global: bool = True,
    places: Tensor | None = None,
) -> Prototypes:
    """Adaptive local prototypes: a mean for each cell of the feature maps that the class fills.

    Parameters
    ----------
    features : float tensor, shape (B, C, *map)
        Features of the shots, 2-D or 3-D.
    masks : float or bool tensor, shape (B, *grid)
        The class in each shot.
    window
        Side of a cell in positions of the feature map, one number or one an axis; cut to the map.
    with_global
        Whether the global prototype is added, as for foreground; background goes without. Where no cell is pure
        enough the global one stands in, whatever this says.
    places : float tensor, shape (B, D, *map), optional
        Where each position of the maps lies.

    Returns
    -------
    Prototypes
        The pure cells in the order of the shots, then the global prototype.
    """
    grid = features.shape[2:]
    sides = (window,) * len(grid) if isinstance(window, int) else tuple(window)
    cell = tuple(min(side, size) for side, size in zip(sides, grid, strict=True))
    pool = functional.avg_pool2d if len(grid) == 2 else functional.avg_pool3d
    share = functional.interpolate(masks.to(features.dtype).unsqueeze(1), size=tuple(grid), mode="area")
    pure = (pool(share, cell)[:, 0] > PURITY).flatten()

    def cells(maps: Tensor) -> Tensor:
        return pool(maps, cell).movedim(1, -1).flatten(0, -2)[pure]

    vectors = cells(features)
    there = None if places is None else cells(places)
    if with_global or not len(vectors):
        whole = global_prototype(features, masks)
        vectors = torch.cat([vectors, whole.vectors])
        if places is not None and there is not None:
            there = torch.cat([there, _middle(places, share, len(whole))])
    return Prototypes(vectors, there)


def _middle(places: Tensor, share: Tensor, count: int) -> Tensor:
    """The mean place of a mask, once or (for an empty mask) not at all; shape (count, D)."""
    axes = (0, *range(2, places.ndim))
    return ((places * share).sum(axes) / (share.sum() + _EPS)).expand(count, -1)


def gathered(shots: Sequence[Prototypes], most: int = MOST) -> Prototypes:
    """The prototypes of all shots, not their mean, capped by :func:`farthest_points`; their order does not matter."""
    vectors = torch.cat([shot.vectors for shot in shots])
    known = [shot.places for shot in shots if shot.places is not None]
    places = torch.cat(known) if len(known) == len(shots) else None
    if len(vectors) <= most:
        return Prototypes(vectors, places)
    kept = farthest_points(functional.normalize(vectors, dim=1) if places is None else places, most)
    return Prototypes(vectors[kept], None if places is None else places[kept])


def farthest_points(points: Tensor, most: int) -> Tensor:
    """Indices of points far from each other: the one farthest from the mean first, then always the farthest from all.

    Parameters
    ----------
    points : float tensor, shape (P, D)
        Points.
    most
        How many to keep.

    Returns
    -------
    integer tensor, shape (min(P, most),)

    References
    ----------
    Gonzalez, Theoretical Computer Science 38, 1985.
    """
    if len(points) <= most:
        return torch.arange(len(points), device=points.device)
    kept = torch.empty(most, dtype=torch.long, device=points.device)
    kept[0] = (points - points.mean(0)).square().sum(1).argmax()
    away = points.new_full((len(points),), torch.inf)
    for n in range(1, most):
        away = torch.minimum(away, (points - points[kept[n - 1]]).square().sum(1))
        kept[n] = away.argmax()
    return kept


def likeness(features: Tensor, prototypes: Prototypes, places: Tensor | None = None, spread: float = 1.0) -> Tensor:
    """Score of one class: the soft maximum over its prototypes of cosine times 20.

    With places, each prototype loses half its squared distance over ``spread`` squared: the logarithm of a Gaussian.

    Parameters
    ----------
    features : float tensor, shape (N, C)
        Feature vectors.
    prototypes
        Of the class, at least one.
    places : float tensor, shape (N, D), optional
        Where the vectors lie, in the units of ``prototypes.places``.
    spread
        Standard deviation of the position prior in those units.

    Returns
    -------
    float tensor, shape (N,)
    """
    directions = functional.normalize(prototypes.vectors, dim=1).T
    out = []
    for start in range(0, len(features), _POSITIONS_AT_ONCE):
        part = slice(start, start + _POSITIONS_AT_ONCE)
        scores = SCALE * (functional.normalize(features[part], dim=1) @ directions)
        if places is not None and prototypes.places is not None:
            scores = scores - torch.cdist(places[part], prototypes.places).square() / (2 * spread**2)
        out.append((scores.softmax(1) * scores).sum(1))
    return torch.cat(out) if out else features.new_zeros(0)


def class_scores(
    features: Tensor, classes: Sequence[Prototypes], places: Tensor | None = None, spread: float = 1.0
) -> Tensor:
    """Scores of all classes for one softmax over them; a class without prototypes scores -1e30.

    Parameters
    ----------
    features : float tensor, shape (B, C, *map)
        Query features, 2-D or 3-D.
    classes
        Prototypes of background first, then of each class.
    places : float tensor, shape (B, D, *map), optional
        Where each position lies.
    spread
        As for :func:`likeness`.

    Returns
    -------
    float tensor, shape (B, N, *map)
    """
    flat = features.movedim(1, -1)
    rows = flat.reshape(-1, flat.shape[-1])
    where = None if places is None else places.movedim(1, -1).reshape(-1, places.shape[1])
    columns = [
        likeness(rows, prototypes, where, spread) if len(prototypes) else rows.new_full((len(rows),), _ABSENT)
        for prototypes in classes
    ]
    return torch.stack(columns, -1).reshape(*flat.shape[:-1], len(columns)).movedim(-1, 1)


class AnomalyThreshold(nn.Module):
    """Foreground without a background model: whatever is unlike the prototype beyond a learned threshold is not it.

    Parameters
    ----------
    start
        Threshold before training, on the scale of minus 20 times the cosine.
    """

    def __init__(self, start: float = -10.0) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(start))

    def forward(self, features: Tensor, prototypes: Prototypes) -> Tensor:
        """Probability of the class, shape (B, *map), for features (B, C, *map)."""
        anomaly = -class_scores(features, [prototypes])[:, 0]
        return 1 - torch.sigmoid(0.5 * (anomaly - self.threshold))

    def tightness(self) -> Tensor:
        """Loss term that pushes the threshold down: the threshold over 20."""
        return self.threshold / SCALE


def aligned_scores(
    query_features: Tensor,
    query_labels: Tensor,
    support_features: Tensor,
    classes: int,
    places: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """The support segmented back, with the query's answer as its annotation.

    Parameters
    ----------
    query_features : float tensor, shape (B, C, *map)
        Features of the query.
    query_labels : integer tensor, shape (B, *grid)
        Its answer, 0 for background.
    support_features : float tensor, shape (S, C, *map)
        Features of the support.
    classes
        How many there are, background included.
    places : two float tensors, shapes (B, D, *map) and (S, D, *map), optional
        Where the positions of query and support lie, in standard deviations of the position prior.

    Returns
    -------
    float tensor, shape (S, classes, *map)
        -1e30 for classes that the answer lacks.
    """
    here, there = places or (None, None)
    back = [
        local_prototypes(query_features, query_labels == n, with_global=n > 0, places=here)
        if bool((query_labels == n).any())
        else Prototypes(query_features.new_zeros(0, query_features.shape[1]))
        for n in range(classes)
    ]
    return class_scores(support_features, back, there)


def alignment_loss(
    query_features: Tensor, query_scores: Tensor, support_features: Tensor, support_labels: Tensor
) -> Tensor:
    """Prototype alignment regularisation: cross-entropy of the support segmented back by the query's answer.

    Parameters
    ----------
    query_features, support_features
        As for :func:`aligned_scores`.
    query_scores : float tensor, shape (B, N, *grid)
        Scores of the query, whose likeliest classes are its answer.
    support_labels : integer tensor, shape (S, *grid)
        The annotation.

    Returns
    -------
    float tensor, shape ()
        Positions of classes that the answer lacks do not count; 0 if none counts.
    """
    answer = query_scores.argmax(1)
    scores = aligned_scores(query_features, answer, support_features, query_scores.shape[1])
    fine = resized(scores, support_labels.shape[1:])
    found = torch.stack([(answer == n).any() for n in range(query_scores.shape[1])])
    if not found[support_labels].any():
        return query_features.sum() * 0
    kept = torch.where(found[support_labels], support_labels, -1)
    return functional.cross_entropy(fine, kept, ignore_index=-1)


def self_consistency(
    query_features: Tensor,
    query_labels: Tensor,
    support_features: Tensor,
    support_labels: Tensor,
    classes: int,
    places: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """How well the query's answer gives the annotation back: Dice of each class but background, label-free.

    Arguments as for :func:`aligned_scores`, with ``support_labels`` of shape (S, *grid).

    Returns
    -------
    float tensor, shape (classes - 1,)
        0 to 1; 0 for classes that only one of answer and annotation has, NaN for those that neither has.
    """
    scores = aligned_scores(query_features, query_labels, support_features, classes, places)
    back = resized(scores, support_labels.shape[1:]).argmax(1)
    out = query_features.new_full((classes - 1,), torch.nan)
    for n in range(1, classes):
        one, other = back == n, support_labels == n
        if bool(other.any()) or bool((query_labels == n).any()):
            out[n - 1] = 2 * (one & other).sum() / (one.sum() + other.sum()).clamp(min=1)
    return out
