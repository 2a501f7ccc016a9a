"""Rival: an example's labels as they lie, and whether they explain the support better than prototypes do.

Owns the way that is left where places tell little: images are mostly cut around what is looked for, so the labels of
the example that looks most like the query are laid onto it, centre on centre. Which way is taken is decided without
labels of the query, by reverse classification accuracy (Valindria et al., IEEE Transactions on Medical Imaging 36,
2017): each answer serves as the annotation by which the support is segmented back, from looks alone, and the one that
gives the support's own annotation back better wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.support import SupportExample
from voxelsmith.segment.common_grid import Sliced
from voxelsmith.segment.encoders import unit_range
from voxelsmith.segment.zoom import FloatArray

_TINY = 1e-6


class Rival:
    """Labels of the most alike example, centre on centre, against the answer of prototypes, slice by slice.

    Parameters
    ----------
    target
        The query on the common grid.
    sources
        Examples on the common grid, at least one, each annotated as a whole.
    values
        Label values of the classes, ascending.
    """

    def __init__(self, target: Sliced, sources: Sequence[Sliced], values: Sequence[int]) -> None:
        query = unit_range(target.image)
        alike = [_alike(query, _centred(unit_range(s.image), s, target, order=1)) for s in sources]
        self.number = int(np.argmax(alike))
        best = sources[self.number]
        labels = _centred(np.asarray(best.labels), best, target, order=0)
        self._labels = np.moveaxis(labels, target.axis, 0)
        self._values = tuple(values)
        count = len(self._labels)
        # Columns: prototypes, this one.
        self._explained, self._weight = np.zeros((count, 2)), np.zeros(count)

    def plane(self, n: int) -> FloatArray:
        """Its answer for a slice as probabilities of background and classes, shape (1 + C, *plane)."""
        return np.stack([self._labels[n] == value for value in (0, *self._values)]).astype(np.float32)

    def compare(self, n: int, answer: FloatArray, explained: tuple[float, float]) -> None:
        """Take note of a slice.

        Parameters
        ----------
        n
            Which one.
        answer : float array, shape (1 + C, *plane)
            What prototypes say of it.
        explained
            How well the support's annotation comes back from the answer of prototypes, and from :meth:`plane`: Dice.
        """
        self._explained[n] = explained
        self._weight[n] = np.count_nonzero(answer.argmax(0)) + np.count_nonzero(self._labels[n])

    @property
    def scores(self) -> tuple[float, float]:
        """How well prototypes and the labels as they lie explain the support: mean Dice, weighed by what they label."""
        own, theirs = (self._weight @ self._explained) / max(float(self._weight.sum()), _TINY)
        return float(own), float(theirs)

    @property
    def wins(self) -> bool:
        """Whether the labels as they lie explain the support better."""
        own, theirs = self.scores
        return theirs > own

    @property
    def confidence(self) -> FloatArray:
        """For each slice how well its labels explain the support, 0 to 1."""
        return self._explained[:, 1].astype(np.float32)

    @property
    def told(self) -> str:
        """What was decided and why, in a sentence."""
        own, theirs = self.scores
        if self.wins:
            return (
                f"The labels of example {self.number + 1} were taken over as they lie, centre on centre: from them the "
                f"annotation comes back better than from what prototypes found (Dice {theirs:.2f} against {own:.2f})."
            )
        return (
            "Prototypes were preferred to the labels of the most alike example as they lie: from what they found the "
            f"annotation comes back better (Dice {own:.2f} against {theirs:.2f})."
        )


def whole(examples: Sequence[SupportExample]) -> bool:
    """Whether labels of all examples can be laid onto the query: those that are annotated as a whole."""
    return all(example.axis is None and example.ignored is None for example in examples)


def _centred(array: npt.NDArray[Any], source: Sliced, target: Sliced, order: int) -> npt.NDArray[Any]:
    """An array on a source's grid, on the target's with the centres on each other; 0 beyond its ends."""
    ratio = target.image.spacing / source.image.spacing
    ours, theirs = ((np.array(s.image.grid) - 1) / 2 for s in (target, source))
    laid: npt.NDArray[Any] = ndimage.affine_transform(
        array, ratio, theirs - ratio * ours, output_shape=target.image.grid, order=order, mode="constant"
    )
    return laid


def _alike(one: FloatArray, other: npt.NDArray[Any]) -> float:
    """Correlation; -1 if one of them is constant."""
    if not (np.ptp(one) and np.ptp(other)):
        return -1.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
