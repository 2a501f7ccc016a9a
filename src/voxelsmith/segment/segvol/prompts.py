"""Prompts: what the user marked, as SegVol takes it.

Owns the way from prompts in voxels (i, j, k) of an image to points, box and word in voxels (d, h, w) of its crop, and
on to those of a view: the whole crop, or a window of it at full resolution. SegVol takes one box and one word, so
several boxes count as the box around them and the latest word counts. It takes no scribbles: a few voxels spread over
each stand for it. No more points go into one view than the published training gave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import PromptError
from voxelsmith.core.prompts import Box, Grid, Index, ObjectPrompts, Point, Scribble
from voxelsmith.segment.segvol.network import VIEW, ViewPrompts
from voxelsmith.segment.segvol.preprocess import Prepared
from voxelsmith.segment.zoom import FloatArray

IntArray = npt.NDArray[np.intp]

_POINTS = 10
_PER_SCRIBBLE = 5


@dataclass(frozen=True, eq=False)
class CropPrompts:
    """Prompts in voxels (d, h, w) of a crop.

    Parameters
    ----------
    points : int array, shape (N, 3)
        Oldest first.
    positive : bool array, shape (N,)
    box
        Around the object, or None.
    text : float32 array, shape (768,), or None
        The embedding of the word.
    spacing : float array, shape (3,)
        Voxel size in millimetres.
    """

    points: IntArray
    positive: npt.NDArray[np.bool_]
    box: Box | None
    text: FloatArray | None
    spacing: npt.NDArray[np.float64]

    @classmethod
    def of(cls, prompts: ObjectPrompts, image: Prepared, text: FloatArray | None = None) -> CropPrompts:
        """Prompts of an object; background marks outside the crop say what is known and are left out.

        Raises
        ------
        PromptError
            If a box, or every mark inside the object, lies in the image's background.
        """
        marks = [(_voxels(p, image), p.positive) for p in prompts.prompts if isinstance(p, Point | Scribble)]
        points = np.concatenate([np.empty((0, 3), dtype=np.intp), *(voxels for voxels, _ in marks)])
        positive = np.concatenate([np.empty(0, dtype=bool), *(np.full(len(v), sign) for v, sign in marks)])
        box = _box(prompts.boxes, image)
        if box is None and text is None and not positive.any():
            raise PromptError(
                "The marks lie in what SegVol takes for background, as dark as air; mark something brighter."
            )
        return cls(points, positive, box, text, image.spacing)

    def in_view(self, shape: Grid) -> ViewPrompts:
        """For the view of the whole crop, whose shape is given."""
        scale = np.array(VIEW) / shape
        points = np.floor((self.points + 0.5) * scale).astype(np.intp)
        box = None
        if self.box is not None:
            lo, hi = np.array(self.box.lo) * scale, (np.array(self.box.hi) + 1) * scale
            # The voxels of the view whose centres the box holds, at least one.
            first = np.minimum(np.ceil(lo - 0.5).astype(int), np.array(VIEW) - 1)
            box = np.concatenate([first, np.maximum(np.ceil(hi - 0.5).astype(int) - 1, first)])
        return self._as_view(points, np.ones(len(points), dtype=bool), box)

    def in_window(self, origin: Index, coarse: Box | None) -> ViewPrompts:
        """For a window of the crop.

        Parameters
        ----------
        origin
            First voxel of the window in the crop; negative where the window is padded.
        coarse
            Box of the coarse answer in voxels of the window; it stands in where the user's box is missing and there
            is not just a word.
        """
        points = self.points - origin
        inside = np.asarray(((points >= 0) & (points < VIEW)).all(axis=1))
        box = None
        if self.box is not None:
            lo = np.maximum(np.subtract(self.box.lo, origin), 0)
            hi = np.minimum(np.subtract(self.box.hi, origin), np.array(VIEW) - 1)
            box = np.concatenate([lo, hi]) if (lo <= hi).all() else None
        if box is None and coarse is not None and (self.box is not None or self.positive.any()):
            box = np.array([*coarse.lo, *coarse.hi])
        return self._as_view(points, inside, box)

    def _as_view(self, points: IntArray, seen: npt.NDArray[np.bool_], box: IntArray | None) -> ViewPrompts:
        """Hand over the points that are seen; of too many, the newest of each sign and those far from it."""
        kept = np.sort(
            np.concatenate([self._spread(np.flatnonzero(seen & (self.positive == s))) for s in (True, False)])
        )
        return ViewPrompts(
            points[kept].astype(np.float32),
            self.positive[kept].astype(np.int64),
            None if box is None else box.astype(np.float32),
            self.text,
        )

    def _spread(self, which: IntArray) -> IntArray:
        if len(which) <= _POINTS:
            return which
        return which[farthest(self.points[which] * self.spacing, _POINTS, len(which) - 1)]


def farthest(points: npt.NDArray[np.float64], count: int, first: int) -> IntArray:
    """Which points (N, 3) to take so that ``count`` of them lie far apart: each one farthest from those before it."""
    chosen = [first]
    distance = np.full(len(points), np.inf)
    while len(chosen) < min(count, len(points)):
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        distance[chosen[-1]] = -1
        chosen.append(int(distance.argmax()))
    return np.array(chosen, dtype=np.intp)


def _voxels(prompt: Point | Scribble, image: Prepared) -> IntArray:
    """A few voxels of the crop for a click or scribble."""
    own = np.array([prompt.voxel]) if isinstance(prompt, Point) else prompt.voxels
    voxels = image.axes.index(own) - image.box.lo
    voxels = np.unique(voxels[((voxels >= 0) & (voxels < image.shape)).all(axis=1)], axis=0)
    if not len(voxels):
        return voxels
    at = voxels * image.spacing
    middle = int(((at - at.mean(axis=0)) ** 2).sum(axis=1).argmin())
    return voxels[farthest(at, _PER_SCRIBBLE, middle)]


def _box(boxes: tuple[Box, ...], image: Prepared) -> Box | None:
    """The box around all boxes, in voxels of the crop."""
    if not boxes:
        return None
    own = [image.axes.box(box.clipped(image.axes.grid)) for box in boxes]
    lo = np.maximum(np.min([b.lo for b in own], axis=0) - image.box.lo, 0)
    hi = np.minimum(np.max([b.hi for b in own], axis=0) - image.box.lo, np.array(image.shape) - 1)
    if (lo > hi).any():
        raise PromptError(
            "The box lies in what SegVol takes for background, as dark as air; draw it around something brighter."
        )
    return Box(tuple(lo.tolist()), tuple(hi.tolist()))
