"""Place check: whether the one annotated volume has its objects where the query has them.

Owns the test that is left where images look alike as a whole and a single one is annotated: organs lie where they lie
in others, tumours do not. Some slices of the query are answered with places and without. Each answer serves as the
annotation by which the example is segmented back, from looks alone, as in reverse classification accuracy (Valindria et
al., IEEE Transactions on Medical Imaging 36, 2017). Places are dropped where the answer without them gives the
example's annotation back clearly better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from voxelsmith.core.support import SupportExample
from voxelsmith.segment.common_grid import Sliced
from voxelsmith.segment.prototype_bank import Bank

if TYPE_CHECKING:
    from torch import Tensor

_SLICES = 12
# Places are dropped for so much more Dice: on painted hippocampi the two may come within 0.01, on gliomas within 0.1.
_CLEARLY = 0.05
_TINY = 1e-6


class PlaceCheck:
    """Answers with places against answers without them, on some slices.

    Parameters
    ----------
    target
        The query on the common grid.
    """

    def __init__(self, target: Sliced) -> None:
        self._target = target
        count = target.image.grid[target.axis]
        self.slices = np.unique(((np.arange(_SLICES) + 0.5) * count / _SLICES).astype(int)).tolist()
        """Which slices to compare, evenly spaced."""
        self._explained, self._weight = np.zeros(2), 0.0

    def compare(self, bank: Bank, n: int, features: Tensor) -> None:
        """Answer a slice both ways.

        Parameters
        ----------
        bank
            With all prototypes and their places.
        n
            Which slice.
        features : float tensor, shape (1, C, *plane)
            From :func:`~voxelsmith.segment.prototype_bank.read_slices`.
        """
        answers, explained = bank.both_ways(self._target, n, features)
        weight = sum(np.count_nonzero(answer.argmax(0)) for answer in answers)
        self._explained += weight * np.array(explained)
        self._weight += weight

    @property
    def scores(self) -> tuple[float, float]:
        """How well answers with places and without explain the example: mean Dice, weighed by what they label."""
        placed, by_looks = self._explained / max(self._weight, _TINY)
        return float(placed), float(by_looks)

    @property
    def holds(self) -> bool:
        """Whether answers without places do not explain the example clearly better."""
        placed, by_looks = self.scores
        return by_looks <= placed + _CLEARLY

    @property
    def told(self) -> str:
        """What was decided and why, in a sentence."""
        placed, by_looks = self.scores
        if self.holds:
            return (
                "Places counted: from what was found with them the annotation comes back about as well as without "
                f"them, or better (Dice {placed:.2f} against {by_looks:.2f})."
            )
        return (
            "Places did not count, as the objects seem to lie elsewhere than in the example: from what was found by "
            f"looks alone the annotation comes back better (Dice {by_looks:.2f} against {placed:.2f})."
        )


def one_image(examples: Sequence[SupportExample]) -> bool:
    """Whether all examples show the same image, so that they cannot tell whether places differ."""
    return len({example.image_fingerprint for example in examples}) == 1
