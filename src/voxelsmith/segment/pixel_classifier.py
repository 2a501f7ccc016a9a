"""The pixel classifier: gradient-boosted trees from features, position and interpolated shape to classes.

Owns which painted voxels are learned from (where one kind abounds a part of it, which the answers make up for), how
the answers of two models are averaged (one sees the image and the position alone, the other the interpolated shape
too), and what the first one says of a painted slice that it has not seen.
The trees are scikit-learn's histogram gradient boosting (Ke et al., LightGBM, NeurIPS 2017).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.segment.features import HalfArray
from voxelsmith.segment.prior import Prior
from voxelsmith.segment.zoom import FloatArray

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

_LEARN_REACH = 1.5
_LEAST = 0.01
# Voxels to learn from however many classes there are.
_MANY_KINDS = 20_000


@dataclass(frozen=True)
class ClassifierSettings:
    """How the trees are grown; the defaults are tuned.

    Parameters
    ----------
    voxels
        At most so many painted voxels are learned from, shared between background and class; with more classes fewer.
    trees
        Rounds of boosting.
    leaves
        Leaves of a tree.
    rate
        Learning rate.
    share
        Share of the features that a split may choose from.
    ridge
        L2 penalty on the leaves.
    seed
        Of the choice of voxels and features.
    """

    voxels: int = 60_000
    trees: int = 60
    leaves: int = 15
    rate: float = 0.1
    share: float = 0.3
    ridge: float = 1.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What is said of the learned voxels of one slice by trees that have not seen it.

    Parameters
    ----------
    row
        The slice.
    pixels : bool array, shape (A, B)
        Which voxels.
    seen : float32 array, shape (number of pixels, 1 + C)
        Probabilities, background first.
    target : integer array, shape (number of pixels,)
        0 for background, 1 + c for class c.
    stands_for : float array, shape (number of pixels,)
        For how many voxels each one stands.
    """

    row: int
    pixels: npt.NDArray[np.bool_]
    seen: FloatArray
    target: npt.NDArray[np.integer[Any]]
    stands_for: FloatArray


class PixelClassifier:
    """Learns from painted voxels, then says how likely others belong to each class."""

    def __init__(self, settings: ClassifierSettings) -> None:
        self._settings = settings
        self._models: list[HistGradientBoostingClassifier] = []

    def learn(
        self,
        features: HalfArray,
        target: npt.NDArray[np.integer[Any]],
        known: npt.NDArray[np.bool_],
        prior: Prior,
    ) -> int:
        """Choose the voxels to learn from.

        Parameters
        ----------
        features
            Float16 array, shape (F, N, A, B).
        target
            Integer array, shape (N, A, B): 0 for background, 1 + c for class c.
        known
            Bool array, shape (N, A, B): which voxels may be learned from.
        prior
            Of the C classes.

        Returns
        -------
        int
            How many models there are to :meth:`grow`.

        Raises
        ------
        InputError
            If all known voxels are of one kind.
        """
        rows: list[int] = np.flatnonzero(known.any(axis=(1, 2))).tolist()
        near = np.zeros_like(known)
        for row in rows:
            near[row] = known[row] & prior.near(row, _LEARN_REACH)
        kinds, counts = np.unique(target[near], return_counts=True)
        if len(kinds) < 2:
            raise InputError(
                "Learning needs painted voxels of a class and of the background beside it, but all are of one kind; "
                "review a whole slice, or paint one more class."
            )
        # Trees of many kinds take as many times longer.
        voxels = self._settings.voxels
        most = min(voxels, max(2 * voxels // len(kinds), _MANY_KINDS)) // len(kinds)
        rng = np.random.default_rng(self._settings.seed)
        chosen = np.zeros_like(known)
        stands_for = np.ones(int(kinds[-1]) + 1, dtype=np.float32)
        for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
            candidates = np.flatnonzero(near & (target == kind))
            if count > most:
                candidates = rng.choice(candidates, most, replace=False)
                stands_for[kind] = count / most
            chosen.ravel()[candidates] = True
        image = [_inputs(features[:, row], row, len(known), chosen[row]) for row in rows]
        shape = [prior.feature(row, chosen[row], held_out=True) for row in rows]
        self._kinds = target[rows][chosen[rows]]
        self._rows = np.repeat(rows, [int(chosen[row].sum()) for row in rows])
        self._chosen, self._channels = chosen, prior.distance.shape[0]
        self._stands_for = stands_for
        self._inputs = [np.concatenate(image)]
        self._inputs[0][:, len(features)] = _spread_out(self._rows, rng) / max(len(known) - 1, 1)
        if prior.can_hold_out:
            self._inputs.append(np.concatenate([self._inputs[0], np.concatenate(shape)], axis=1))
        return len(self._inputs)

    def grow(self, model: int) -> None:
        """Fit one of the models that :meth:`learn` counted."""
        self._models.append(self._grown(self._inputs[model], self._kinds))

    @property
    def kinds(self) -> int:
        """How many kinds of voxels were learned from, the background among them; time grows with it."""
        return int(np.count_nonzero(np.bincount(self._kinds)))

    def rows_to_leave_out(self, most: int) -> list[int]:
        """Some slices, evenly spaced, without each of which all kinds are still known."""
        kinds = np.unique(self._kinds)
        rows = [row for row in np.unique(self._rows) if len(np.unique(self._kinds[self._rows != row])) == len(kinds)]
        count = min(most, len(rows))
        return [int(rows[n]) for n in ((np.arange(count) + 0.5) * len(rows) / max(count, 1)).astype(int)]

    def leave_out(self, row: int) -> LeftOut:
        """Learn from all slices but one, from the image and the position alone, and say what is in that one."""
        here = self._rows == row
        trees = self._grown(self._inputs[0][~here], self._kinds[~here])
        seen = _certain_of_nothing(self._answer(trees, self._inputs[0][here]))
        kinds = self._kinds[here]
        return LeftOut(row, self._chosen[row], seen, kinds, self._stands_for[kinds])

    def _grown(self, inputs: FloatArray, kinds: npt.NDArray[np.integer[Any]]) -> HistGradientBoostingClassifier:
        from sklearn.ensemble import HistGradientBoostingClassifier

        s = self._settings
        trees = HistGradientBoostingClassifier(
            max_iter=s.trees,
            max_leaf_nodes=s.leaves,
            learning_rate=s.rate,
            max_features=s.share,
            l2_regularization=s.ridge,
            early_stopping=False,
            random_state=s.seed,
        )
        with _one_thread():
            return trees.fit(inputs, kinds)

    def _answer(self, trees: HistGradientBoostingClassifier, inputs: FloatArray) -> FloatArray:
        """Probabilities as they would be had all painted voxels been learned from; shape (number of pixels, 1 + C)."""
        out = np.zeros((len(inputs), 1 + self._channels), dtype=np.float32)
        with _one_thread():
            likely = trees.predict_proba(inputs) * self._stands_for[trees.classes_]
        out[:, trees.classes_] = likely / likely.sum(axis=1, keepdims=True)
        return out

    def predict(self, features: HalfArray, row: int, prior: Prior, pixels: npt.NDArray[np.bool_]) -> FloatArray:
        """Probabilities of some pixels of a row.

        Parameters
        ----------
        features
            Of this row: float16 array, shape (F, A, B).
        row
            Which one.
        prior
            The one that was learned with.
        pixels
            Bool array, shape (A, B): where; at least one.

        Returns
        -------
        float32 array, shape (number of pixels, 1 + C)
            Background first; none is 0, and each pixel sums up to 1.
        """
        x = _inputs(features, row, prior.distance.shape[1], pixels)
        answers = [self._answer(self._models[0], x)]
        for trees in self._models[1:]:
            answers.append(self._answer(trees, np.concatenate([x, prior.feature(row, pixels, held_out=False)], axis=1)))
        return _certain_of_nothing(np.mean(answers, axis=0))


def _certain_of_nothing(likely: FloatArray) -> FloatArray:
    """Probabilities none of which is 0."""
    out = np.maximum(likely, np.float32(_LEAST))
    return np.asarray(out / out.sum(axis=1, keepdims=True), dtype=np.float32)


def _one_thread() -> AbstractContextManager[object]:
    """One thread for the trees: threads that share so little work wait for each other where others need the cores."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="openmp")
    return limits


def _spread_out(rows: npt.NDArray[np.intp], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Places along the slices, drawn evenly from between the painted slices on both sides of each one's own.

    What is painted in a slice is likely so around it; else trees would know no places but those of painted slices.
    """
    painted, own = np.unique(rows, return_inverse=True)
    if len(painted) < 2:
        return rows.astype(np.float64)
    gaps = np.diff(painted)
    before, after = np.concatenate([gaps[:1], gaps])[own], np.concatenate([gaps, gaps[-1:]])[own]
    side = rng.random((2, len(rows)))
    return np.asarray(rows + np.where(side[0] < 0.5, -before, after) * side[1])


def _inputs(features: HalfArray, row: int, rows: int, pixels: npt.NDArray[np.bool_]) -> FloatArray:
    """Features and position, 0 to 1 along each axis, of some pixels of a row; shape (number of pixels, F + 3)."""
    at = np.nonzero(pixels)
    place = [
        np.full(len(at[0]), row / max(rows - 1, 1)),
        *(x / max(n - 1, 1) for x, n in zip(at, pixels.shape, strict=True)),
    ]
    return np.concatenate([features[:, pixels], np.stack(place)]).T.astype(np.float32)
