"""The pixel classifier: gradient-boosted trees from features, position and interpolated shape to classes.

Owns which painted voxels are learned from (where one kind abounds a part of it, which the answers make up for), and how
the answers of two models are averaged: one sees the image and the position alone, the other the interpolated shape too.
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


@dataclass(frozen=True)
class ClassifierSettings:
    """How the trees are grown; the defaults are tuned.

    Parameters
    ----------
    voxels
        At most so many painted voxels are learned from, shared between the classes.
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

    voxels: int = 20_000
    trees: int = 60
    leaves: int = 15
    rate: float = 0.1
    share: float = 0.3
    ridge: float = 1.0
    seed: int = 0


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
        most = self._settings.voxels // len(kinds)
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
        self._stands_for = stands_for[kinds]
        self._inputs = [np.concatenate(image)]
        if prior.can_hold_out:
            self._inputs.append(np.concatenate([self._inputs[0], np.concatenate(shape)], axis=1))
        return len(self._inputs)

    def grow(self, model: int) -> None:
        """Fit one of the models that :meth:`learn` counted."""
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
            self._models.append(trees.fit(self._inputs[model], self._kinds))

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
        channels, rows = prior.distance.shape[:2]
        x = _inputs(features, row, rows, pixels)
        out = np.zeros((len(x), 1 + channels), dtype=np.float32)
        for trees in self._models:
            with _one_thread():
                likely = trees.predict_proba(x) * self._stands_for
            out[:, trees.classes_] += likely / likely.sum(axis=1, keepdims=True)
            x = np.concatenate([x, prior.feature(row, pixels, held_out=False)], axis=1)
        out = np.maximum(out / len(self._models), np.float32(_LEAST))
        return np.asarray(out / out.sum(axis=1, keepdims=True), dtype=np.float32)


def _one_thread() -> AbstractContextManager[object]:
    """One thread for the trees: threads that share so little work wait for each other where others need the cores."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="openmp")
    return limits


def _inputs(features: HalfArray, row: int, rows: int, pixels: npt.NDArray[np.bool_]) -> FloatArray:
    """Features and position, 0 to 1 along each axis, of some pixels of a row; shape (number of pixels, F + 3)."""
    at = np.nonzero(pixels)
    place = [
        np.full(len(at[0]), row / max(rows - 1, 1)),
        *(x / max(n - 1, 1) for x, n in zip(at, pixels.shape, strict=True)),
    ]
    return np.concatenate([features[:, pixels], np.stack(place)]).T.astype(np.float32)
