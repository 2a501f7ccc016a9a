"""The canvas of the same-volume engine: from painted slices to a working grid, and from probabilities to labels.

Owns the working grid, on which pixels are averaged and slices kept, the product of what the classifier and the shape
prior say, and the way back: smoothing, the image's own voxels, what is painted, and only parts that hang together with
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.affine import Affine
from voxelsmith.core.volume import Volume
from voxelsmith.segment.painted import Painted
from voxelsmith.segment.prior import Prior
from voxelsmith.segment.zoom import FloatArray, Region

_FAR_PIXELS = 3


@dataclass(frozen=True)
class CanvasSettings:
    """The working grid and the shape prior; the defaults are tuned.

    Parameters
    ----------
    working_voxels
        Pixels are averaged until the region has no more voxels than this; slices stay.
    prior_width
        Distance from the interpolated outline, in working pixels, at which its odds are e to one in a painted slice.
    prior_fading
        How much wider that becomes for each millimetre from the nearest painted slice, in millimetres; the usual value,
        see :func:`~voxelsmith.segment.trust.best_fading`.
    lean
        What is taken from the log-odds of the background: the Dice coefficient is highest where a voxel counts that is
        somewhat likelier background (Lipton, Elkan and Naryanaswamy, ECML PKDD 2014).
    smoothing
        Standard deviation of the blur of the probabilities, in working pixels.
    """

    working_voxels: int = 1_000_000
    prior_width: float = 1.0
    prior_fading: float = 1.0
    lean: float = 0.3
    smoothing: float = 0.4


@dataclass(frozen=True, eq=False)
class SlicePreview:
    """An early answer for one slice.

    Parameters
    ----------
    axis, index
        Which slice of the volume.
    labels : integer array
        The whole slice: the shape of the image without ``axis``.
    refined
        False if it is interpolated from shapes alone.
    """

    axis: int
    index: int
    labels: npt.NDArray[np.unsignedinteger[Any]]
    refined: bool


class Canvas:
    """What is known and what is proposed, on a working grid with the slices first.

    Parameters
    ----------
    image
        The volume.
    painted
        What is known of it.
    settings
        Size of the working grid, and how the shape prior counts.

    Attributes
    ----------
    crop : Volume
        The image on the working grid, in its own order of axes.
    target : integer array, shape (N, A, B)
        0 for background, 1 + c for class c, where it is known.
    known : bool array, shape (N, A, B)
        What may be learned from: what was painted, and where a painted slice leaves only classes open whose shapes are
        far away.
    prior : Prior
    """

    def __init__(self, image: Volume, painted: Painted, settings: CanvasSettings) -> None:
        self.painted = painted
        self._image, self._smoothing = image, settings.smoothing
        self._region = region = _region(painted, image, settings.working_voxels)
        self.crop = Volume(region.shrink(np.asarray(image.array)), Affine.from_spacing(region.spacing), image.name)
        fine, coarse = painted.known.shape, _slices_first(region.grid, painted.axis)
        centres = [((np.arange(c) + 0.5) * f / c).astype(np.intp) for f, c in zip(fine, coarse, strict=True)]
        self._nearest = [((np.arange(f) + 0.5) * c / f).astype(np.intp) for f, c in zip(fine, coarse, strict=True)]
        labels, self.known = painted.labels[np.ix_(*centres)], painted.known[np.ix_(*centres)]
        self.target = np.where(labels > 0, 1 + np.searchsorted(painted.values, labels), 0)
        self._spacing = _slices_first(region.spacing, painted.axis)
        width, fading, lean = settings.prior_width, settings.prior_fading, settings.lean
        self.prior = Prior(labels, painted.values, painted.complete, self._spacing, width, fading, lean)
        if painted.excluded is not None:
            at = np.ix_(np.arange(len(painted.values)), *centres)
            self.known |= self._surely_background(painted.excluded[at])
        # Where nothing is settled, the background is certain.
        self._likely = np.zeros((len(painted.values), *self.target.shape), dtype=np.float32)

    def _surely_background(self, excluded: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        far = self.prior.distance < -_FAR_PIXELS * min(self._spacing[1:])
        far &= self.prior.known[:, None, None, None]
        return np.asarray(excluded.any(axis=0) & (excluded | far).all(axis=0) & (self.target == 0))

    def row_in_view(self, view: int | None) -> int | None:
        """The row that shows a slice of the volume, if one does."""
        row = -1 if view is None else view - self.painted.first
        return row if 0 <= row < len(self.known) else None

    def open_rows(self, first: int | None) -> list[int]:
        """The rows in which something is left to propose, those nearest to ``first`` at the start."""
        rows: list[int] = np.flatnonzero(~self.painted.finished).tolist()
        return rows if first is None else sorted(rows, key=lambda row: abs(row - first))

    def settle(self, row: int, pixels: npt.NDArray[np.bool_], seen: FloatArray) -> None:
        """Weigh what the classifier says of some pixels of a row, shape (pixels, 1 + C), with the shape prior."""
        odds = np.log(seen) + self.prior.log_odds(row, pixels)
        odds = np.exp(odds - odds.max(axis=1, keepdims=True))
        self._likely[:, row, pixels] = (odds[:, 1:] / odds.sum(axis=1, keepdims=True)).T

    def preview(self, row: int, refined: bool) -> SlicePreview:
        """The labels of one row at the image's own pixels; unless refined, those of the interpolated shapes."""
        coarse = _most_likely(self._likely[:, row]) if refined else self.prior.interpolated(row)
        painted = self.painted
        cut = tuple(s for a, s in enumerate(painted.box.slices) if a != painted.axis)
        whole = np.zeros(np.delete(self._image.grid, painted.axis), dtype=painted.labels.dtype)
        labels = self._as_values(coarse)[np.ix_(*self._nearest[1:])]
        whole[cut] = np.where(painted.known[row], painted.labels[row], labels)
        return SlicePreview(painted.axis, row + painted.first, whole, refined)

    def labels_and_probabilities(self) -> tuple[npt.NDArray[np.unsignedinteger[Any]], npt.NDArray[np.float16]]:
        """Label values, shape (N, A, B), and probabilities, shape (C, N, A, B), at the image's own voxels."""
        painted = self.painted
        probabilities = np.empty((len(painted.values), *painted.known.shape), dtype=np.float16)
        width = self._smoothing * min(self._spacing) / np.array(self._spacing)
        for channel, value in enumerate(painted.values):
            fine = self.at_full_resolution(ndimage.gaussian_filter(self._likely[channel], width, mode="nearest"))
            if painted.excluded is not None:
                fine = np.where(painted.excluded[channel], 0, fine)
            probabilities[channel] = np.where(painted.known, painted.labels == value, fine)
        labels = self._as_values(_most_likely(probabilities))
        for channel, value in enumerate(painted.values):
            mask = labels == value
            inside = self.prior.distance[channel] > 0
            anchor = (painted.labels == value) | inside[np.ix_(*self._nearest)]
            labels[mask & ~_anchored(mask, anchor)] = 0
        return labels, probabilities

    def at_full_resolution(self, working: FloatArray) -> FloatArray:
        """An array of the working grid, shape (N, A, B), interpolated to the image's own voxels."""
        fine = self._region.dense(self.painted.to_volume(working))
        return np.moveaxis(fine, self.painted.axis, 0)

    def _as_values(self, channels: npt.NDArray[np.intp]) -> npt.NDArray[np.unsignedinteger[Any]]:
        """Channel + 1 to label value."""
        values = np.array((0, *self.painted.values), self.painted.labels.dtype)
        return np.asarray(values[channels])


def _most_likely(probabilities: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.intp]:
    """Channel + 1 of the likeliest class, 0 where the background is likelier; classes along the first axis."""
    background = 1 - probabilities.sum(axis=0, dtype=np.float32)
    best = np.argmax(probabilities, axis=0) + 1
    return np.where(probabilities.max(axis=0) > background, best, 0)


def _anchored(mask: npt.NDArray[np.bool_], anchor: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The connected parts of a mask that touch an anchor."""
    parts, count = ndimage.label(mask)
    keep = np.zeros(count + 1, dtype=bool)
    keep[parts[mask & anchor]] = True
    return np.asarray(keep[parts])


def _slices_first(triple: Sequence[Any] | npt.NDArray[Any], axis: int) -> list[Any]:
    return [triple[axis], *(x for a, x in enumerate(triple) if a != axis)]


def _region(painted: Painted, image: Volume, voxels: int) -> Region:
    """The painted box with pixels averaged, alike in millimetres, until it has few enough voxels; slices stay."""
    shape = np.array(painted.box.shape)
    across = [a for a in range(3) if a != painted.axis]
    edge = float(image.spacing[across].min())
    while True:
        grid = shape.copy()
        averaged = np.round(shape * np.minimum(1.0, image.spacing / edge))
        grid[across] = np.maximum(1, averaged)[across].astype(int)
        if grid.prod() <= voxels or (grid[across] == 1).all():
            break
        edge *= 1.04
    i, j, k = (int(n) for n in grid)
    return Region(painted.box, (i, j, k), shape / grid, image.spacing * shape / grid)
