"""Common grid: support and query with the same axes and pixels of the same size, so that their features compare.

Owns along which axis of the query slices are taken, how large pixels are, and the volumes resampled so. Axes are only
flipped and swapped, pixels averaged, slices left as they are; what was done is told in a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.prompts import Box
from voxelsmith.core.resample import reorient, resample_to
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.segment.zoom import Region

_SIDE = 128


@dataclass(frozen=True, eq=False)
class Sliced:
    """A volume on the common grid, and what is known of it.

    Parameters
    ----------
    image
        Averaged to the common pixels.
    axis
        Along which array axis slices are counted, 0 to 2; the same for query and support.
    labels : integer array, shape (I, J, K)
        The annotation.
    known : bool array, shape (I, J, K)
        Where the annotation says something; nowhere in a query.
    """

    image: Volume
    axis: int
    labels: npt.NDArray[Any]
    known: npt.NDArray[np.bool_]

    @property
    def annotated(self) -> list[int]:
        """Slices in which something is known."""
        others = tuple({0, 1, 2} - {self.axis})
        return np.flatnonzero(self.known.any(axis=others)).tolist()

    def plane(self, array: npt.NDArray[Any], number: int) -> npt.NDArray[Any]:
        """One slice of an array on the grid."""
        plane: npt.NDArray[Any] = np.take(array, number, axis=self.axis)
        return plane


def slicing_axis(query: Volume, examples: Sequence[SupportExample]) -> int:
    """Along which axis of the query slices are taken: as they were painted, else where voxels are longest.

    Raises
    ------
    InputError
        If examples were painted along different anatomical axes.
    """
    painted = {e.image.affine.closest_axes[e.axis] for e in examples if e.axis is not None}
    if len(painted) > 1:
        raise InputError(
            "The examples were painted along different axes of the body; use those of one axis, or whole volumes."
        )
    if painted:
        return query.affine.closest_axes.index(painted.pop())
    spacing = np.round(query.spacing, 3)
    longest = np.flatnonzero(spacing == spacing.max()).tolist()
    superior = query.affine.closest_axes.index(2)
    return superior if superior in longest else int(longest[-1])


def common_pixel(query: Volume, examples: Sequence[SupportExample], axis: int) -> float:
    """Side of a pixel in millimetres: no finer than any of the images, and at most 128 of them along the query."""
    planes = [axis_ for axis_ in range(3) if axis_ != axis]
    finest = [float(query.spacing[planes].max())]
    finest += [float(_in_axes_of(query, e.image).spacing[planes].max()) for e in examples]
    extent = float((query.spacing * query.grid)[planes].max())
    return max(*finest, extent / _SIDE)


def _in_axes_of(query: Volume, image: Volume) -> Volume:
    return reorient(image, query.affine.axcodes)


def common_grid(query: Volume, support: SupportSet) -> tuple[Sliced, float]:
    """The query on the common grid, and the size of its pixels in mm.

    Raises
    ------
    InputError
        If nothing is annotated, the query is not 3-D, or examples were painted along different axes.
    """
    if query.array.ndim != 3:
        raise InputError(f"Few-shot needs one 3-D image, got {query.array.ndim} axes; pick a frame first.")
    support.require_foreground()
    axis = slicing_axis(query, support.enabled)
    pixel = common_pixel(query, support.enabled, axis)
    return sliced_query(query, axis, pixel), pixel


def sliced_query(query: Volume, axis: int, pixel: float) -> Sliced:
    """The query on the common grid; it keeps its own axes."""
    image = _averaged(query, axis, pixel)
    nowhere = np.broadcast_to(np.False_, image.grid)
    return Sliced(image, axis, nowhere, nowhere)


def sliced_example(example: SupportExample, query: Volume, axis: int, pixel: float) -> Sliced:
    """An example on the common grid, its axes turned like the query's."""
    codes = query.affine.axcodes
    image = _averaged(reorient(example.image, codes), axis, pixel)
    known = np.zeros(example.image.grid, dtype=np.uint8)
    known[example.index] = 1
    if example.ignored is not None:
        known[example.ignored] = 0
    labels, sure = (
        resample_to(reorient(part, codes), image.affine, image.grid)
        for part in (example.labels, LabelVolume(known, example.image.affine))
    )
    return Sliced(image, axis, np.asarray(labels.array), np.asarray(sure.array) > 0)


def region(volume: Volume, axis: int, pixel: float) -> Region:
    """The whole volume with pixels of about the given size; slices stay as they are."""
    factors = np.where(np.arange(3) == axis, 1.0, np.maximum(1.0, pixel / volume.spacing))
    i, j, k = np.maximum(1, np.round(np.array(volume.grid) / factors)).astype(int).tolist()
    exact = np.array(volume.grid) / (i, j, k)
    a, b, c = volume.grid
    return Region(Box((0, 0, 0), (a - 1, b - 1, c - 1)), (i, j, k), exact, volume.spacing * exact)


def slab(working: Region, axis: int, count: int) -> Region:
    """The grid of some slices of a region the slices of which are the image's own; where they lie is left out."""
    shape, grid = list(working.box.shape), list(working.grid)
    shape[axis] = grid[axis] = count
    i, j, k = shape
    a, b, c = grid
    return replace(working, box=Box((0, 0, 0), (i - 1, j - 1, k - 1)), grid=(a, b, c))


def _averaged(volume: Volume, axis: int, pixel: float) -> Volume:
    working = region(volume, axis, pixel)
    array = working.average(np.asarray(volume.array))
    return replace(volume, array=array, affine=volume.affine.scaled(working.factors), metadata={})


def told(query: Volume, example: SupportExample, number: int, pixel: float) -> list[str]:
    """What had to be changed to compare an example with the query, a sentence each."""
    notes = []
    if example.image.affine.axcodes != query.affine.axcodes:
        notes.append(
            f"Example {number} is stored as {example.image.affine.axcodes} and was turned to the query's "
            f"{query.affine.axcodes}."
        )
    if not np.allclose(np.sort(example.image.spacing), np.sort(query.spacing), rtol=0.05):
        theirs, ours = (" x ".join(f"{s:.3g}" for s in v.spacing) for v in (example.image, query))
        notes.append(
            f"Example {number} has voxels of {theirs} mm and the query of {ours} mm; they were compared in pixels of "
            f"{pixel:.3g} mm."
        )
    return notes


def index_mm(volume: Volume) -> Affine:
    """From world to millimetres along the volume's own array axes, counted from its first voxel."""
    scale = np.diag([*volume.spacing.tolist(), 1.0])
    return Affine(scale) @ volume.affine.inverse()
