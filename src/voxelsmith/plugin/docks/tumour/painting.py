"""Painting: what the user paints into tumour labels stays nested.

Owns the correction of each stroke. napari reports a finished stroke, fill or polygon with the very list of changes that
it put into the layer's undo history. What has to be written otherwise, so that ET stays in TC and TC in WT, is added to
that list as one more change, in the form that ``Labels.data_setitem`` records; one undo takes back the stroke and its
correction together, and one redo does both again. A brush has written its voxels by then, and they are corrected at
once; a polygon is reported first and written afterwards, and its correction waits for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.core.regions import REGIONS, Convention, Region, keep_nested
from voxelsmith.plugin import notify

Places: TypeAlias = tuple[npt.NDArray[np.intp], ...]
Change: TypeAlias = tuple[Places, npt.NDArray[Any], npt.NDArray[Any]]
"""Indices by axis, values before, and values after."""


class NestedPainting:
    """Watches one Labels layer until :meth:`release`.

    Parameters
    ----------
    layer : napari.layers.Labels
        With its voxels in memory.
    convention
        What its labels mean.
    on_region
        Called with the region whose label the user chose for the brush.

    Attributes
    ----------
    region : Region
        What the eraser takes away; the brush paints the region of the selected label.
    """

    def __init__(self, layer: Any, convention: Convention, on_region: Callable[[Region], None]) -> None:
        self.layer, self.convention, self._on_region = layer, convention, on_region
        self.region: Region = "WT"
        self._waiting: list[Change] = []
        self._own = False
        layer.events.paint.connect(self._on_paint)
        layer.events.labels_update.connect(self._on_written)
        layer.events.selected_label.connect(self._on_label)

    def release(self) -> None:
        """Watch no more."""
        self.layer.events.paint.disconnect(self._on_paint)
        self.layer.events.labels_update.disconnect(self._on_written)
        self.layer.events.selected_label.disconnect(self._on_label)

    def choose(self, region: Region) -> None:
        """Let the brush paint a region, and the eraser take it away."""
        self.region = region
        self.layer.selected_label = self.convention.codes[REGIONS.index(region)]

    def put(self, region: Region, mask: npt.NDArray[np.bool_]) -> int:
        """Make a region what a mask in the axes of the layer says, as one step that can be undone.

        Returns
        -------
        int
            How many voxels changed.
        """
        before = self.layer.data
        is_in = self.convention.depth(before) > REGIONS.index(region)
        where = np.nonzero(is_in != mask)
        old, wanted = before[where], mask[where]
        new = keep_nested(old, region, wanted, convention=self.convention)
        new = keep_nested(new, region, ~wanted, erase=True, convention=self.convention)
        self._own = True
        try:
            self.layer.data_setitem(where, new)
        finally:
            self._own = False
        return len(new)

    def _on_label(self, event: Any = None) -> None:
        label = self.layer.selected_label
        if label in self.convention.codes and self.region != (chosen := REGIONS[self.convention.codes.index(label)]):
            self.region = chosen
            self._on_region(chosen)

    def _on_paint(self, event: Any) -> None:
        if self._own:
            return
        with notify.sentences():
            where, before, painted = touched(event.value, self.layer.data.shape)
            wanted, strange = self._nested(before, painted)
            wrong = wanted != painted
            if wrong.any():
                change = tuple(axis[wrong] for axis in where), painted[wrong], wanted[wrong]
                event.value.append(change)
                if not self._correct(change):
                    self._waiting.append(change)
            if strange:
                raise InputError(
                    f"Labels of {self.convention.title} are {', '.join(map(str, sorted(self.convention.depths)))}, but "
                    f"{', '.join(map(str, strange))} was painted and taken back; choose a region to paint."
                )

    def _correct(self, change: Change) -> bool:
        """Write what a stroke should have painted; False if what it painted is not there."""
        where, painted, wanted = change
        if there := np.array_equal(self.layer.data[where], painted):
            self.layer.data[where] = wanted
            self.layer.refresh()
        return there

    def _on_written(self, event: Any = None) -> None:
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            self._correct(change)

    def _nested(self, before: npt.NDArray[Any], painted: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], list[int]]:
        """What the touched voxels should hold, and labels that were painted and mean nothing."""
        wanted, strange = before.copy(), []
        for label in np.unique(painted).tolist():
            mask = painted == label
            if label == 0:
                wanted = keep_nested(wanted, self.region, mask, erase=True, convention=self.convention)
            elif label in self.convention.codes:
                region = REGIONS[self.convention.codes.index(label)]
                wanted = keep_nested(wanted, region, mask, convention=self.convention)
            elif label in self.convention.depths:
                wanted[mask] = label
            else:
                strange.append(label)
        return wanted, strange


def touched(changes: Iterable[Any], shape: tuple[int, ...]) -> Change:
    """Which voxels an entry of a layer's undo history changes, each once, what they held, and what they hold then.

    Parameters
    ----------
    changes
        One after the other: what a brush did, as box (slices), mask in the box or None for all of it, old values there
        and new one; or indices by axis, old values and new ones.
    shape
        Of the layer's array.
    """
    places, olds, news = [], [], []
    for indices, *mask, old, new in changes:
        where = indices
        if mask:
            inside = np.nonzero(np.ones(old.shape, bool) if mask[0] is None else mask[0])
            where = tuple(axis + part.start for axis, part in zip(inside, indices, strict=True))
        places.append(np.ravel_multi_index(where, shape).ravel())
        olds.append(np.asarray(old).ravel())
        news.append(np.broadcast_to(np.asarray(new, olds[-1].dtype).ravel(), olds[-1].shape))
    place, old_values, new_values = (np.concatenate(parts) for parts in (places, olds, news))
    # Of a voxel that was changed twice, the first change knows what it held, and the last one what it holds.
    changed, first = np.unique(place, return_index=True)
    last = len(place) - 1 - np.unique(place[::-1], return_index=True)[1]
    return np.unravel_index(changed, shape), old_values[first], new_values[last]
