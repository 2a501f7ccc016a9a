"""The canvas of the same-volume engine: from painted slices to a working grid, and from probabilities to labels.

Owns the working grid, on which pixels are averaged and slices kept, the product of what the classifier and the shape
prior say, and the way back: smoothing, the image's own voxels, what is painted, and only parts that hang together with
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.affine import Affine
from voxelsmith.core.volume import Volume
from voxelsmith.segment.common_grid import slab
from voxelsmith.segment.painted import Painted
from voxelsmith.segment.prior import Prior
from voxelsmith.segment.zoom import FloatArray, Region

_FAR_PIXELS = 3
_PIXELS_AT_ONCE = 40_000
_TRUNCATE = 4.0


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

    def parts(self, rows: Sequence[int]) -> Iterator[list[int]]:
        """Rows to propose at once: the first one alone, then as many as keep reports coming."""
        part: list[int] = []
        pixels = 0
        for row in rows:
            part.append(row)
            pixels += int(self.prior.near(row).sum())
            if row == rows[0] or pixels >= _PIXELS_AT_ONCE:
                yield part
                part, pixels = [], 0
        if part:
            yield part

    def settle(self, rows: Sequence[int], pixels: npt.NDArray[np.bool_], seen: FloatArray) -> None:
        """Weigh what the classifier says of some pixels of some rows with the shape prior.

        Parameters
        ----------
        rows
            Which ones.
        pixels : bool array, shape (len(rows), A, B)
            Where.
        seen : float array, shape (number of pixels, 1 + C)
            Probabilities, background first.
        """
        ends = np.cumsum(pixels.sum(axis=(1, 2)))
        for row, here, said in zip(rows, pixels, np.split(seen, ends[:-1]), strict=True):
            odds = np.log(said) + self.prior.log_odds(row, here)
            odds = np.exp(odds - odds.max(axis=1, keepdims=True))
            self._likely[:, row, here] = (odds[:, 1:] / odds.sum(axis=1, keepdims=True)).T

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
        probabilities = np.zeros((len(painted.values), *painted.known.shape), dtype=np.float16)
        labels = np.zeros(painted.known.shape, dtype=painted.labels.dtype)
        total, best = np.zeros((2, *painted.known.shape), dtype=np.float32)
        near = self._rows_around()
        for channel, rows in near.items():
            value = painted.values[channel]
            fine = self._smoothed(channel, rows)
            if painted.excluded is not None:
                fine[painted.excluded[channel, rows]] = 0
            fine = np.where(painted.known[rows], painted.labels[rows] == value, fine)
            probabilities[channel, rows] = fine
            labels[rows][fine > best[rows]] = value
            np.maximum(best[rows], fine, out=best[rows])
            total[rows] += fine
        labels[best <= 1 - total] = 0
        for channel, rows in near.items():
            value = painted.values[channel]
            mask = labels[rows] == value
            inside = self.prior.distance[channel] > 0
            anchor = (painted.labels[rows] == value) | inside[np.ix_(*self._nearest)][rows]
            labels[rows][mask & ~_anchored(mask, anchor)] = 0
        return labels, probabilities

    def _rows_around(self) -> dict[int, slice]:
        """The rows that each class may reach, as far as blurring carries it; without classes that reach none."""
        beyond = int(np.ceil(_TRUNCATE * self._smoothing))
        found = {}
        for channel, value in enumerate(self.painted.values):
            painted = (self.painted.labels == value).any(axis=(1, 2))
            rows = np.flatnonzero(painted | self.prior.rows_near(channel))
            if len(rows):
                found[channel] = slice(max(0, int(rows[0]) - beyond), int(rows[-1]) + 1 + beyond)
        return found

    def _smoothed(self, channel: int, rows: slice) -> FloatArray:
        """Probabilities of a class in some rows, blurred, at the image's own voxels; shape (rows, A, B)."""
        width = self._smoothing * min(self._spacing) / np.array(self._spacing)
        likely = ndimage.gaussian_filter(self._likely[channel, rows], width, mode="nearest", truncate=_TRUNCATE)
        return self.at_full_resolution(likely)

    def at_full_resolution(self, working: FloatArray) -> FloatArray:
        """Rows of an array of the working grid, shape (rows, A, B), interpolated to the image's own voxels."""
        axis = self.painted.axis
        rows = slab(self._region, axis, len(working))
        return np.moveaxis(rows.dense(self.painted.to_volume(working)), axis, 0)

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
