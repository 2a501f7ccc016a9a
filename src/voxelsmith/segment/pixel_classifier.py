"""The pixel classifier: gradient-boosted trees from features, position and interpolated shape to classes.

Owns which painted voxels are learned from (where one kind abounds a part of it, which the answers make up for), how the
answers of two models are averaged (one sees the image and the position alone, the other the interpolated shape too),
and what the first one says of a painted slice that it has not seen. A few kinds are learned together. Of many, each
is learned against what lies around it, and asked for within its reach only, so that time grows with what is painted and
not with the number of classes. The trees are scikit-learn's histogram gradient boosting (Ke et al., LightGBM, NeurIPS
2017); one kind against the rest follows Rifkin and Klautau, Journal of Machine Learning Research 5, 2004.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.segment.features import HalfArray
from voxelsmith.segment.prior import Prior, Voxels
from voxelsmith.segment.zoom import FloatArray

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import ThreadpoolController

_LEARN_REACH = 1.5
_LEAST, _NEVER = 0.01, 1e-12
# More kinds than this are learned one against the rest.
_TOGETHER = 4
# Voxels of a kind, and as many of the rest, however many kinds there are.
_LEAST_VOXELS = 2000
# Voxels of a slice that is left out.
_CHECKED = 6000


@dataclass(frozen=True)
class ClassifierSettings:
    """How the trees are grown; the defaults are tuned.

    Parameters
    ----------
    voxels
        At most so many painted voxels are learned from, shared between background and class; with more classes fewer.
    trees
        Rounds of boosting; half as many where one kind is learned against the rest.
    leaves
        Leaves of a tree.
    rate
        Learning rate; twice that where one kind is learned against the rest.
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
    """What is said of known voxels of one slice by trees that have not seen it.

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


@dataclass(frozen=True, eq=False)
class _Sample:
    """Voxels to learn from: their slices, what they are, and what models may look at.

    ``kinds`` are 0 for the rest and 1 for the one kind where that is what is learned; ``stands_for`` says for how many
    voxels each one of every kind stands, in ascending order.
    """

    rows: npt.NDArray[np.intp]
    kinds: npt.NDArray[np.integer[Any]]
    stands_for: FloatArray
    inputs: tuple[FloatArray, ...]

    def can_spare(self, row: int) -> bool:
        """Whether all kinds are still known without a slice."""
        return len(np.unique(self.kinds[self.rows != row])) == len(self.stands_for)


class PixelClassifier:
    """Learns from painted voxels, then says how likely others belong to each class."""

    def __init__(self, settings: ClassifierSettings) -> None:
        self._settings = settings
        self._samples: dict[int, _Sample] = {}
        self._models: dict[int, list[tuple[int, HistGradientBoostingClassifier]]] = {}

    def learn(
        self,
        features: HalfArray,
        target: npt.NDArray[np.integer[Any]],
        known: npt.NDArray[np.bool_],
        prior: Prior,
        first: int | None = None,
    ) -> tuple[int, int]:
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
        first
            The row that is wanted first, if any.

        Returns
        -------
        int, int
            How many models there are to :meth:`grow`, and after how many of them ``first`` has an answer.

        Raises
        ------
        InputError
            If all known voxels are of one kind.
        """
        rows = np.flatnonzero(known.any(axis=(1, 2)))
        each = np.stack([prior.near_each(row, _LEARN_REACH) for row in rows.tolist()], axis=1)
        self._features, self._prior, self._target, self._painted = features, prior, target, rows
        self._near = np.zeros_like(known)
        self._near[rows] = known[rows] & each.any(axis=0)
        slices, a, b = np.nonzero(self._near)
        at = slices, a, b
        found = target[at]
        self._kinds: list[int] = np.unique(found).tolist()
        if self.kinds < 2:
            raise InputError(
                "Learning needs painted voxels of a class and of the background beside it, but all are of one kind; "
                "review a whole slice, or paint one more class."
            )
        rng = np.random.default_rng(self._settings.seed)
        if self._together:
            most = 2 * self._settings.voxels // self.kinds**2
            self._samples[0] = self._sample(at, found, self._kinds, most, rng)
        else:
            most = max(self._settings.voxels // (2 * self.kinds), _LEAST_VOXELS)
            for kind in self._kinds:
                own = found == kind
                around = np.ones_like(own)
                if kind:
                    beside = each[kind - 1, np.searchsorted(rows, slices), a, b] & ~own
                    around = own | beside if beside.any() else around
                part = slices[around], a[around], b[around]
                self._samples[kind] = self._sample(part, own[around].astype(int), (0, 1), most, rng)
        wanted = self._shown(first) if first is not None else set()
        views = range(1 + prior.can_hold_out)
        # What knows the shapes says most, so it comes first.
        self._order = sorted(
            ((kind, view) for kind in self._samples for view in views), key=lambda m: (m[0] not in wanted, -m[1], m[0])
        )
        return len(self._order), len(wanted)

    def _sample(
        self,
        at: Voxels,
        found: npt.NDArray[np.integer[Any]],
        kinds: Sequence[int],
        most: int,
        rng: np.random.Generator,
    ) -> _Sample:
        """At most so many of the voxels of each kind, and what they look like."""
        all_of = [np.flatnonzero(found == kind) for kind in kinds]
        taken = [some if len(some) <= most else rng.choice(some, most, replace=False) for some in all_of]
        chosen = np.sort(np.concatenate(taken))
        at = at[0][chosen], at[1][chosen], at[2][chosen]
        image = self._inputs(at, _spread_out(at[0], self._painted, rng))
        views = [image]
        if self._prior.can_hold_out:
            views.append(np.concatenate([image, self._prior.feature(at, held_out=True)], axis=1))
        stands_for = np.array([len(a) / len(t) for a, t in zip(all_of, taken, strict=True)], dtype=np.float32)
        return _Sample(at[0], found[chosen], stands_for, tuple(views))

    @property
    def _together(self) -> bool:
        return self.kinds <= _TOGETHER

    def _shown(self, row: int) -> set[int]:
        """The samples whose models a row needs."""
        near = {0, *(1 + np.flatnonzero(self._prior.near_each(row).any(axis=(1, 2)))).tolist()}
        return set(self._samples) if self._together else set(self._samples) & near

    def grow(self, model: int) -> None:
        """Fit one of the models that :meth:`learn` counted; in their order."""
        kind, view = self._order[model]
        sample = self._samples[kind]
        self._models.setdefault(kind, []).append((view, self._grown(sample.inputs[view], sample.kinds)))

    @property
    def kinds(self) -> int:
        """How many kinds of voxels were learned from, the background among them; time grows with it."""
        return len(self._kinds)

    def rows_to_leave_out(self, most: int) -> list[int]:
        """Some slices, evenly spaced, without each of which all kinds are still known."""
        rows = [row for row in self._painted.tolist() if all(s.can_spare(row) for s in self._samples.values())]
        count = min(most, len(rows))
        return [int(rows[n]) for n in ((np.arange(count) + 0.5) * len(rows) / max(count, 1)).astype(int)]

    def leave_out(self, row: int) -> LeftOut:
        """Learn from all slices but one, from the image and the position alone, and say what is in that one."""
        a, b = np.nonzero(self._near[row])
        stands_for = 1.0
        if len(a) > _CHECKED:
            kept = np.sort(np.random.default_rng(self._settings.seed).choice(len(a), _CHECKED, replace=False))
            stands_for = len(a) / _CHECKED
            a, b = a[kept], b[kept]
        at = np.full(len(a), row), a, b
        inputs = self._inputs(at, at[0])

        def said(kind: int, asked: npt.NDArray[np.bool_]) -> FloatArray:
            sample = self._samples[kind]
            other = sample.rows != row
            trees = self._grown(sample.inputs[0][other], sample.kinds[other])
            return self._answer(trees, sample, inputs[asked])

        pixels = np.zeros(self._near.shape[1:], dtype=bool)
        pixels[a, b] = True
        seen = self._joined(self._prior.near_each(row, _LEARN_REACH)[:, a, b], list(self._samples), said)
        return LeftOut(row, pixels, seen, self._target[at], np.full(len(a), stands_for, dtype=np.float32))

    def predict(self, rows: Sequence[int], pixels: npt.NDArray[np.bool_]) -> FloatArray:
        """Probabilities of some pixels of some rows, from the models that are grown.

        Parameters
        ----------
        rows
            Which ones.
        pixels
            Bool array, shape (len(rows), A, B): where; at least one.

        Returns
        -------
        float32 array, shape (number of pixels, 1 + C)
            Background first; none is 0, and each pixel sums up to 1.
        """
        n, a, b = np.nonzero(pixels)
        at = np.asarray(rows)[n], a, b
        views = [self._inputs(at, at[0])]
        if self._prior.can_hold_out:
            views.append(np.concatenate([views[0], self._prior.feature(at, held_out=False)], axis=1))
        near = np.stack([self._prior.near_each(row) for row in rows], axis=1)[:, n, a, b]

        def said(kind: int, asked: npt.NDArray[np.bool_]) -> FloatArray:
            every = asked.all()
            answers = [
                self._answer(trees, self._samples[kind], views[view] if every else views[view][asked])
                for view, trees in self._models[kind]
            ]
            return np.asarray(np.mean(answers, axis=0))

        return self._joined(near, list(self._models), said)

    def _inputs(self, at: Voxels, rows: npt.NDArray[np.floating[Any]] | npt.NDArray[np.intp]) -> FloatArray:
        """Features of voxels, and their places with rows of their own, 0 to 1 along each axis; shape (n, F + 3)."""
        place = [x / max(n - 1, 1) for x, n in zip((rows, *at[1:]), self._near.shape, strict=True)]
        return np.concatenate([self._features[:, at[0], at[1], at[2]], np.stack(place)]).T.astype(np.float32)

    def _grown(self, inputs: FloatArray, kinds: npt.NDArray[np.integer[Any]]) -> HistGradientBoostingClassifier:
        from sklearn.ensemble import HistGradientBoostingClassifier

        s, several = self._settings, 1 if self._together else 2
        trees = HistGradientBoostingClassifier(
            max_iter=max(1, s.trees // several),
            max_leaf_nodes=s.leaves,
            learning_rate=s.rate * several,
            max_features=s.share,
            l2_regularization=s.ridge,
            early_stopping=False,
            random_state=s.seed,
        )
        with self._one_thread():
            return trees.fit(inputs, kinds)

    def _one_thread(self) -> AbstractContextManager[object]:
        """One thread: several that share so little work wait for each other where others need the cores."""
        limits: AbstractContextManager[object] = self._threads.limit(limits=1, user_api="openmp")
        return limits

    @cached_property
    def _threads(self) -> ThreadpoolController:
        """What holds the threads of the trees; first asked for when scikit-learn is loaded. Making it takes a while."""
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController()

    def _answer(self, trees: HistGradientBoostingClassifier, sample: _Sample, inputs: FloatArray) -> FloatArray:
        """Probabilities as they would be had all painted voxels been learned from; shape (n, kinds of the sample)."""
        with self._one_thread():
            likely = trees.predict_proba(inputs) * sample.stands_for
        return np.asarray(likely / likely.sum(axis=1, keepdims=True))

    def _joined(
        self,
        near: npt.NDArray[np.bool_],
        samples: Sequence[int],
        said: Callable[[int, npt.NDArray[np.bool_]], FloatArray],
    ) -> FloatArray:
        """From what is said of each kind to probabilities of all; shape (n, 1 + C).

        Parameters
        ----------
        near : bool array, shape (C, n)
            Which voxels are within the reach of each class.
        samples
            Those whose models are asked.
        said
            Takes one of them, and a bool array of shape (n,) with the voxels to ask for; answers as :meth:`_answer`.
        """
        allowed = np.concatenate([np.ones((1, near.shape[1]), dtype=bool), near])
        if self._together:
            allowed[:] = True
        out = np.zeros(allowed.shape)
        for kind in samples:
            asked = allowed[kind]
            if asked.any():
                answer = said(kind, asked).T
                if self._together:
                    out[self._kinds] = answer
                else:
                    out[kind, asked] = answer[1]
        out /= np.maximum(out.sum(axis=0), _NEVER)
        out = np.where(allowed, np.maximum(out, _LEAST), _NEVER)
        return np.asarray((out / out.sum(axis=0)).T, dtype=np.float32)


def _spread_out(
    rows: npt.NDArray[np.intp], painted: npt.NDArray[np.intp], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Places along the slices, drawn evenly from between the painted slices on both sides of each one's own.

    What is painted in a slice is likely so around it; else trees would know no places but those of painted slices.
    """
    if len(painted) < 2:
        return rows.astype(np.float64)
    own, gaps = np.searchsorted(painted, rows), np.diff(painted)
    before, after = np.concatenate([gaps[:1], gaps])[own], np.concatenate([gaps, gaps[-1:]])[own]
    side = rng.random((2, len(rows)))
    return np.asarray(rows + np.where(side[0] < 0.5, -before, after) * side[1])
