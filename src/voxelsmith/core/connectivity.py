"""Connectivity: how many pieces, tunnels and cavities a mask has, and the filters that change it.

Owns the Betti numbers of masks and of each class of a label volume, keeping large components, and filling cavities.
The foreground is connected through faces, edges and corners (26 neighbours), the background through faces, which is the
pair under which the two fit together (Kong and Rosenfeld, Computer Vision, Graphics and Image Processing 1989). A
single slice has no cavities; its holes are tunnels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.prompts import Box
from voxelsmith.core.volume import LabelVolume

Mask = npt.NDArray[np.bool_]
_ALL = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True)
class Betti:
    """The topology of a mask.

    Parameters
    ----------
    components
        Pieces (the Betti number b0).
    tunnels
        Holes that go through, as in a ring (b1); in a single slice, its holes.
    cavities
        Hollows that are closed all round (b2).
    """

    components: int
    tunnels: int
    cavities: int


def betti(mask: npt.NDArray[Any]) -> Betti:
    """Betti numbers of a mask of shape (I, J, K), non-zero inside.

    The Euler characteristic of the union of closed voxels, vertices - edges + faces - voxels, equals b0 - b1 + b2.
    """
    if not np.any(mask):
        return Betti(0, 0, 0)
    inside = np.pad(np.asarray(mask[Box.around(mask).slices], dtype=bool), 1)
    components = int(ndimage.label(inside, _ALL)[1])
    # The padding makes all background outside one piece.
    cavities = int(ndimage.label(~inside)[1]) - 1
    return Betti(components, components + cavities - _euler(inside), cavities)


def betti_of_labels(labels: LabelVolume) -> dict[int, Betti]:
    """:func:`betti` of each label that occurs."""
    return {value: betti(labels.mask(value)) for value in labels.values()}


def holes_by_slice(mask: npt.NDArray[Any], axis: int) -> int:
    """Holes in the slices of a mask along an axis, one by one, summed."""
    return sum(betti(np.expand_dims(plane, axis)).tunnels for plane in np.moveaxis(mask, axis, 0))


def keep_components(mask: npt.NDArray[Any], *, most: int | None = None, least_voxels: int = 1) -> Mask:
    """The large pieces of a mask.

    Parameters
    ----------
    mask : array, shape (I, J, K)
        Non-zero inside.
    most
        How many pieces to keep at most, the largest ones; None for any number.
    least_voxels
        Pieces with fewer voxels go.
    """
    pieces, count = ndimage.label(mask, _ALL)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    kept = sizes >= max(1, least_voxels)
    if most is not None:
        kept[np.argsort(-sizes, kind="stable")[most:]] = False
    kept[0] = False
    return np.asarray(kept[pieces])


def fill_cavities(mask: npt.NDArray[Any]) -> Mask:
    """A mask without cavities; a single slice along an axis loses its holes."""
    inside = np.asarray(mask, dtype=bool)
    thin = [axis for axis, count in enumerate(inside.shape) if count == 1]
    if thin:
        plane = ndimage.binary_fill_holes(inside.take(0, thin[0]))
        return np.asarray(np.expand_dims(plane, thin[0]), dtype=bool)
    return np.asarray(ndimage.binary_fill_holes(inside), dtype=bool)


def _euler(inside: Mask) -> int:
    """Vertices - edges + faces - voxels of the union of closed voxels; the mask has a border of background."""
    total = 0
    for spans in product((False, True), repeat=3):
        # A cell that spans an axis lies in one voxel along it, any other touches two.
        cells = inside
        for axis, spanning in enumerate(spans):
            if not spanning:
                first, second = (slice(None, -1), slice(1, None))
                before, after = ([slice(None)] * 3 for _ in range(2))
                before[axis], after[axis] = first, second
                cells = cells[tuple(before)] | cells[tuple(after)]
        total += (-1) ** sum(spans) * int(np.count_nonzero(cells))
    return total
