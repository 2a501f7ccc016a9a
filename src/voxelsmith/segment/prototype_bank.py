"""Prototype bank: what a support set teaches, and the answer that follows for a slice of the query.

Owns the prototypes of all annotated slices with their places, the scale on which features are compared (the support's
own mean and spread, channel by channel, in the directions in which prototypes differ most), and the choice of the
prototypes that a query slice is compared with: those whose place lies near it. Slices lie along axis ``axis`` of the
common grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from voxelsmith.segment.common_grid import Sliced
from voxelsmith.segment.features import Encoder
from voxelsmith.segment.placement import Placement
from voxelsmith.segment.zoom import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from voxelsmith.models.prototype import Prototypes

# Prototypes farther along the slice axis than this many spreads are not compared.
_REACH = 2.5
# Query slices within this many spreads of each other are compared with the same prototypes.
_SHARED = 0.5
_CHECKED_PIXELS = 4096
# A class ends about here if some of so many annotated slices around have it and others do not.
_AROUND = 3
# What probabilities promise there is worth so much, as answer and annotation do contradict each other.
_WORTH = 0.5
_READ_AT_ONCE = 8
# Directions of feature space that are compared; cosines in the rest are mostly noise, and cost time.
_DIRECTIONS = 64
_TINY = 1e-6


@dataclass(frozen=True)
class BankSettings:
    """How prototypes are made and compared.

    Parameters
    ----------
    kind
        "local", or "global" for one prototype a class.
    spread_mm
        Standard deviation of the position prior; None if places do not count.
    per_slice
        Most prototypes that one class keeps of one annotated slice.
    most
        Most prototypes of one class that a query slice is compared with.
    window
        Side of a local prototype's cell, in pixels of the common grid.
    """

    kind: Literal["local", "global"] = "local"
    spread_mm: float | None = None
    per_slice: int = 150
    most: int = 600
    window: int = 2


@dataclass(frozen=True, eq=False)
class _Checked:
    """An annotated slice, coarsely, to be segmented back."""

    features: Tensor
    labels: Tensor
    places: Tensor
    along: float


class Bank:
    """Prototypes of all classes, and how they answer.

    Parameters
    ----------
    values
        Label values of the classes, ascending.
    axis
        Along which axis slices are counted.
    settings
        The rest.
    """

    def __init__(self, values: Sequence[int], axis: int, settings: BankSettings) -> None:
        self.values, self.axis, self.settings = tuple(values), axis, settings
        self._shots: list[list[Prototypes]] = [[] for _ in range(len(values) + 1)]
        self._checked: list[_Checked] = []
        self._moments: list[Tensor] = []
        self._seen: list[Tensor] = []
        self._classes: list[Prototypes] = []
        self._by_looks: list[Prototypes] | None = None
        self._compared: tuple[float, list[Prototypes]] | None = None
        self._centre: Tensor
        self._width: Tensor
        self._basis: Tensor

    def learn(
        self, source: Sliced, placement: Placement, encoder: Encoder, *, with_background: bool = True
    ) -> Iterator[None]:
        """Take in the annotated slices of an example, one at each step.

        Parameters
        ----------
        source
            The example on the common grid.
        placement
            Where it lies in the query; if places do not count, it only tells which slice is checked against which.
        encoder
            What describes its pixels.
        with_background
            Whether pixels without label are background of all classes.
        """
        import torch

        for n, features in read_slices(source, encoder, source.annotated):
            known = torch.from_numpy(source.plane(source.known, n).copy())[None]
            labels = torch.from_numpy(source.plane(source.labels, n).astype(np.int64))[None]
            placed = self._places(source, n, placement)
            places = placed if self.settings.spread_mm else self._places(source, n, None)
            rows = features[0].flatten(1)[:, known.flatten()]
            self._moments.append(_moments(rows))
            for c, value in enumerate((0, *self.values)):
                mask = (labels == value) & known
                if bool(mask.any()) and (c or with_background):
                    self._shots[c].append(self._prototypes(features, mask, places, foreground=c > 0))
            self._checked.append(self._coarse(features, labels, places, float(placed[:, self.axis].mean())))
            yield

    def _places(self, source: Sliced, n: int, placement: Placement | None) -> Tensor:
        """Where the pixels of a slice lie, shape (1, 3, *plane), in spreads (or millimetres if places do not count).

        Without a placement, in the volume itself.
        """
        import torch

        grid = [*source.image.grid]
        grid[source.axis] = 1
        index = np.stack(np.meshgrid(*(np.arange(m, dtype=np.float64) for m in grid), indexing="ij"), axis=-1)
        index[..., source.axis] = n
        at = index * source.image.spacing if placement is None else placement.to_query(index)
        plane = np.take(at, 0, axis=source.axis) / (self.settings.spread_mm or 1.0)
        return torch.from_numpy(np.moveaxis(plane, -1, 0).astype(np.float32))[None]

    def _prototypes(self, features: Tensor, mask: Tensor, places: Tensor, *, foreground: bool) -> Prototypes:
        from voxelsmith.models.prototype import gathered, global_prototype, local_prototypes

        if self.settings.kind == "global":
            return global_prototype(features, mask)
        found = local_prototypes(features, mask, self.settings.window, with_global=foreground, places=places)
        return gathered([found], self.settings.per_slice)

    def _coarse(self, features: Tensor, labels: Tensor, places: Tensor, along: float) -> _Checked:
        from torch.nn.functional import interpolate

        factor = max(1.0, float(np.sqrt(labels[0].numel() / _CHECKED_PIXELS)))
        size = [max(1, round(n / factor)) for n in labels.shape[1:]]
        small = interpolate(labels[:, None].float(), size=size, mode="nearest")[:, 0].long()
        classes = small.new_zeros(small.shape)
        for c, value in enumerate(self.values, start=1):
            classes[small == value] = c
        maps, where = (interpolate(x, size=size, mode="area") for x in (features, places))
        return _Checked(maps.half(), classes, where, along)

    def finish(self) -> None:
        """Bring all prototypes to the common scale; after it the bank answers."""
        import torch

        from voxelsmith.models.prototype import Prototypes

        self._centre, self._width = _mean_and_width(self._moments)
        empty = self._centre.new_zeros(0, len(self._centre))
        classes = [torch.cat([s.vectors for s in shots]) if shots else empty for shots in self._shots]
        self._basis = _directions((torch.cat(classes) - self._centre) / self._width)
        for shots, found in zip(self._shots, classes, strict=True):
            vectors = (found - self._centre) / self._width @ self._basis
            if self.settings.kind == "global":
                self._classes.append(Prototypes(vectors.mean(0, keepdim=True) if len(vectors) else vectors))
            else:
                where = [s.places for s in shots if s.places is not None]
                self._classes.append(Prototypes(vectors, torch.cat(where) if where else None))
        self._moments.clear()
        self._shots.clear()

    def _scaled(self, features: Tensor) -> Tensor:
        """Features (1, C, *plane) on the scale of the support, channel by channel."""
        return (features - self._centre[:, None, None]) / self._width[:, None, None]

    def _turned(self, scaled: Tensor) -> Tensor:
        """Scaled features in the directions that are compared."""
        return (scaled.movedim(1, -1) @ self._basis).movedim(-1, 1)

    def answer(self, target: Sliced, n: int, features: Tensor, *, by_looks: bool = False) -> tuple[FloatArray, float]:
        """Probabilities of one query slice, shape (classes + 1, *plane), and how consistent they are, 0 to 1.

        Parameters
        ----------
        target
            The query on the common grid.
        n
            Which slice.
        features : float tensor, shape (1, C, *plane)
            From :func:`read_slices`.
        by_looks
            Whether places do not count here, whatever the settings say.
        """
        scaled = self._scaled(features)
        self._seen.append(_moments(scaled[0].flatten(1)))
        turned, places = self._turned(scaled), self._places(target, n, None)
        placed = self.settings.spread_mm is not None and not by_looks
        probabilities, found = self._probabilities(turned, places, placed=placed)
        sure = self._consistency(turned, probabilities, places, placed=placed) if found else 1.0
        return probabilities[0].numpy(), sure

    def both_ways(self, target: Sliced, n: int, features: Tensor) -> tuple[list[FloatArray], list[float]]:
        """Answers with places and by looks alone, and how well the annotation comes back from each, by looks alone.

        Only annotated slices with labels are segmented back, as objects may lie in other slices of the query.

        Parameters
        ----------
        target, n, features
            As for :meth:`answer`.
        """
        turned, places = self._turned(self._scaled(features)), self._places(target, n, None)
        answers = [self._probabilities(turned, places, placed=placed)[0] for placed in (True, False)]
        back = [self._consistency(turned, answer, places, placed=False, labelled=True) for answer in answers]
        return [answer[0].numpy() for answer in answers], back

    def explains(self, target: Sliced, n: int, features: Tensor, answers: Sequence[FloatArray]) -> list[float]:
        """How well the annotation comes back from answers for one query slice, by looks alone; Dice, 0 to 1 each.

        Parameters
        ----------
        target, n, features
            As for :meth:`answer`.
        answers : float arrays, shape (1 + C, *plane)
            Probabilities.
        """
        import torch

        turned, places = self._turned(self._scaled(features)), self._places(target, n, None)
        return [self._consistency(turned, torch.from_numpy(a)[None], places, placed=False) for a in answers]

    def _probabilities(self, features: Tensor, places: Tensor, *, placed: bool) -> tuple[Tensor, bool]:
        """Of background and classes, shape (1, 1 + C, *plane); and whether there was any class to compare with."""
        from voxelsmith.models.prototype import class_scores

        near = self._near(float(places[:, self.axis].mean())) if placed else self._all()
        if any(len(p) for p in near[1:]):
            return class_scores(features, near, places if placed else None).softmax(1), True
        nothing = features.new_zeros(1, len(near), *features.shape[2:])
        nothing[:, 0] = 1
        return nothing, False

    def _all(self) -> list[Prototypes]:
        """Prototypes from everywhere: evenly over the volume if places never count, else the most diverse looks."""
        from voxelsmith.models.prototype import Prototypes, gathered

        if self._by_looks is None:
            even = self.settings.spread_mm is None
            parts = [p if even else Prototypes(p.vectors) for p in self._classes]
            self._by_looks = [gathered([p], self.settings.most) for p in parts]
        return self._by_looks

    def _near(self, along: float) -> list[Prototypes]:
        """The prototypes around a place along the slice axis, the same for slices close together.

        Parameters
        ----------
        along
            Place along the slice axis, in spreads.
        """
        from voxelsmith.models.prototype import Prototypes, gathered

        centre = round(along / _SHARED) * _SHARED
        if self._compared is not None and self._compared[0] == centre:
            return self._compared[1]
        out = []
        for p in self._classes:
            if p.places is not None:
                close = (p.places[:, self.axis] - centre).abs() <= _REACH
                p = Prototypes(p.vectors[close], p.places[close])
            out.append(gathered([p], self.settings.most))
        self._compared = centre, out
        return out

    def _consistency(
        self, features: Tensor, probabilities: Tensor, places: Tensor, *, placed: bool, labelled: bool = False
    ) -> float:
        """Mean Dice of the nearest annotated slice segmented back by the answer; 1 if neither has anything.

        ``placed`` says whether places count, beside looks; ``labelled``, whether slices without labels are passed over.

        Where a class ends, one of the two may have it and the other not; then it is half of what the probabilities
        promise.
        """
        from torch.nn.functional import interpolate

        from voxelsmith.models.prototype import self_consistency

        along = float(places[:, self.axis].mean())
        checked = [c for c in self._checked if not labelled or bool(c.labels.any())] or self._checked
        around = sorted(checked, key=lambda one: abs(one.along - along))[:_AROUND]
        support = around[0]
        coarse = support.labels.numel() < probabilities[0, 0].numel()
        size = tuple(support.labels.shape[1:] if coarse else features.shape[2:])
        small, where, likely = (interpolate(x, size=size, mode="area") for x in (features, places, probabilities))
        theirs = self._turned(self._scaled(support.features.float()))
        pair = (where, support.places) if placed else None
        found = self_consistency(small, likely.argmax(1), theirs, support.labels, len(self.values) + 1, pair)
        for c in range(1, len(self.values) + 1):
            if float(found[c - 1]) == 0 and len({bool((one.labels == c).any()) for one in around}) == 2:
                found[c - 1] = _WORTH * _promised(likely[:, c], likely.argmax(1) == c)
        counted = found[~found.isnan()]
        return float(counted.mean()) if len(counted) else 1.0

    def foreignness(self) -> float:
        """How unlike the query's features are to the support's: mean over the channels, 0 for the same distributions.

        Of each channel, the distance of the means in standard deviations, and the logarithm of their ratio.
        """
        mean, width = _mean_and_width(self._seen)
        return float((mean.abs() + width.log().abs()).mean())


def _promised(likely: Tensor, mask: Tensor) -> Tensor:
    """The Dice coefficient that probabilities promise for a mask; for an empty one, how unlikely the likeliest is."""
    if not bool(mask.any()):
        return 1 - likely.max()
    return 2 * likely[mask].sum() / (likely.sum() + mask.sum())


def _directions(vectors: Tensor) -> Tensor:
    """The directions in which vectors (N, C) extend most, at most 64 of them, as columns of length 1."""
    import torch

    directions: Tensor = torch.linalg.eigh(vectors.T @ vectors).eigenvectors[:, -_DIRECTIONS:]
    return directions


def _moments(rows: Tensor) -> Tensor:
    """Count, sum and sum of squares of features (C, N) channel by channel, shape (3, C)."""
    import torch

    return torch.stack([torch.full_like(rows[:, 0], rows.shape[1]), rows.sum(1), rows.square().sum(1)])


def _mean_and_width(moments: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel from the moments of its parts."""
    import torch

    count, total, squares = torch.stack(list(moments)).sum(0)
    mean = total / count
    return mean, (squares / count - mean.square()).clamp(min=0).sqrt() + _TINY


def read_slices(source: Sliced, encoder: Encoder, wanted: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Slices with their features, float32 of shape (1, C, *plane), a few read at a time."""
    import torch

    from voxelsmith.models.prototype import resized

    plane = np.delete(source.image.grid, source.axis).tolist()
    for start in range(0, len(wanted), _READ_AT_ONCE):
        part = list(wanted[start : start + _READ_AT_ONCE])
        found = encoder.features(source.image, part, source.axis)
        for row, n in enumerate(part):
            yield n, resized(torch.from_numpy(found[:, row].astype(np.float32))[None], plane)
