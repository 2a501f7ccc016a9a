"""Real volumes as training samples: one object, cut out with its surroundings.

Owns how an object is chosen among the labels or pseudo-masks of a volume, and how it is cut out at a size that is
affordable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from voxelsmith.core.prompts import Box
from voxelsmith.segment.pseudo_masks import pseudo_masks
from voxelsmith.segment.zoom import Region, as_float32
from voxelsmith.train.entry import Entry
from voxelsmith.train.sample import Annotated, Field, Labels, Vector

_LEAST_VOXELS = 60
_WORKING_VOXELS = 400_000
# Beyond this, numbers are replaced by their ranks: a table over all of them would be too long.
_HIGHEST = 65_535
# Pseudo-masks are coarse by nature, so a coarse grid is enough for them.
_PSEUDO_VOXELS = 600_000


@dataclass(frozen=True, eq=False)
class _Objects:
    """A label map with the boxes of what is large enough in it."""

    labels: Labels
    boxes: dict[int, Box]

    @classmethod
    def of(cls, labels: Labels) -> _Objects:
        if labels.max() > _HIGHEST:
            ranks = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
            labels = ranks if (labels == 0).any() else ranks + 1
        labels = labels.astype(np.int32)
        sizes = np.bincount(labels.ravel())
        boxes = {}
        for value, place in enumerate(ndimage.find_objects(labels), 1):
            if place is not None and sizes[value] >= _LEAST_VOXELS:
                boxes[value] = Box(tuple(s.start for s in place), tuple(s.stop - 1 for s in place))
        return cls(labels.astype(np.min_scalar_type(labels.max())), boxes)


class RealVolume:
    """A volume of the split, kept in memory, from which objects are cut.

    Parameters
    ----------
    entry
        An entry with an image.

    Raises
    ------
    FormatError
        If a file cannot be read.
    GeometryError
        If image and labels lie on different grids.
    InputError
        If the entry has no image, or its labels are no labels.
    """

    def __init__(self, entry: Entry) -> None:
        volume, labels = entry.read_image(), entry.read_labels()
        if labels is not None:
            volume.require_same_grid(labels)
        self.entry = entry
        self.image: Field = _finite(as_float32(volume.array))
        self.spacing: Vector = volume.spacing
        self._annotated = None if labels is None else _Objects.of(np.asarray(labels.array))
        self._pseudo: _Objects | None = None

    def annotated_object(self, rng: np.random.Generator) -> Annotated | None:
        """One annotated object, label 1; sometimes all of the volume's few labels together. None if it has none."""
        objects = self._annotated
        if objects is None or not objects.boxes:
            return None
        values = list(objects.boxes)
        chosen = [int(rng.choice(values))]
        if 1 < len(values) <= 4 and rng.random() < 0.4:
            chosen = values if rng.random() < 0.5 else [int(v) for v in rng.choice(values, 2, replace=False)]
        return self._cut(objects, chosen)

    def pseudo_object(self, rng: np.random.Generator) -> Annotated | None:
        """One region of the pseudo-masks, label 1; sometimes with those that lie in its box. None if there is none."""
        if self._pseudo is None:
            whole = Box((0, 0, 0), tuple(n - 1 for n in self.image.shape))
            region = Region.over(whole, self.spacing, _PSEUDO_VOXELS)
            regions = pseudo_masks(region.shrink(self.image), region.spacing)
            for axis, count in enumerate(self.image.shape):
                at = (np.arange(count) * region.grid[axis]) // count
                regions = np.take(regions, at, axis=axis)
            self._pseudo = _Objects.of(regions)
        boxes = self._pseudo.boxes
        if not boxes:
            return None
        first = int(rng.choice(list(boxes)))
        chosen = [first]
        if rng.random() < 0.3:
            around = boxes[first]
            chosen += [v for v, b in boxes.items() if v != first and around.contains(b.lo) and around.contains(b.hi)]
        return self._cut(self._pseudo, chosen)

    def _cut(self, objects: _Objects, values: list[int]) -> Annotated:
        box = objects.boxes[values[0]]
        for value in values[1:]:
            box = box.union(objects.boxes[value])
        around = box.grown(np.maximum(0.5 * np.array(box.shape), 8)).clipped(self.image.shape)
        region = Region.over(around, self.spacing, _WORKING_VOXELS)
        share = region.average(np.isin(objects.labels[around.slices], values))
        return Annotated(region.shrink(self.image), (share > 0.5).astype(np.int16), region.spacing, self.entry.name)


def _finite(image: Field) -> Field:
    """The image with its darkest value in place of what is not finite; zeros if nothing is."""
    good = np.isfinite(image)
    if good.all():
        return image
    return np.where(good, image, image[good].min() if good.any() else np.float32(0))
