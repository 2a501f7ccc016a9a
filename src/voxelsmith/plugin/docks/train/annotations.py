"""Annotations: which slices of which layers the user declared to be annotated.

Owns the explicit set. A slice that is in it and holds no paint was reviewed and is empty; one that is not in it says
nothing, painted or not. Layers are known by themselves, not by their names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Annotated:
    """The annotated slices of one pair of layers.

    Parameters
    ----------
    image, labels : napari layers
    axis
        Array axis along which slices are counted.
    slices
        Ascending.
    """

    image: Any
    labels: Any
    axis: int
    slices: tuple[int, ...]


class Annotations:
    """The annotated slices of all layers, in the order in which pairs of layers came in."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Any, Any, int, set[int]]] = []

    def __iter__(self) -> Any:
        return iter([Annotated(image, labels, axis, tuple(sorted(s))) for image, labels, axis, s in self._pairs if s])

    def __len__(self) -> int:
        return sum(len(slices) for *_, slices in self._pairs)

    def add(self, image: Any, labels: Any, axis: int, slices: Iterable[int]) -> None:
        """Count slices as annotated."""
        self._slices(image, labels, axis).update(slices)

    def remove(self, image: Any, labels: Any, axis: int, slices: Iterable[int]) -> None:
        """Count slices as not looked at."""
        self._slices(image, labels, axis).difference_update(slices)

    def of(self, image: Any, axis: int) -> set[int]:
        """Annotated slices of an image along an axis, in any labels."""
        return {s for one, _, a, slices in self._pairs if one is image and a == axis for s in slices}

    def axis_of(self, image: Any) -> int | None:
        """The axis along which most slices of an image are annotated; None if none is."""
        counted = [(len(slices), axis) for one, _, axis, slices in self._pairs if one is image and slices]
        return max(counted)[1] if counted else None

    def keep(self, layers: Collection[Any]) -> None:
        """Forget layers that are not among these."""
        self._pairs = [pair for pair in self._pairs if pair[0] in layers and pair[1] in layers]

    def _slices(self, image: Any, labels: Any, axis: int) -> set[int]:
        for one, other, a, slices in self._pairs:
            if (one is image, other is labels, a == axis) == (True, True, True):
                return slices
        fresh: set[int] = set()
        self._pairs.append((image, labels, axis, fresh))
        return fresh
