"""Preprocessing: from an image to what SegVol computes with.

Owns the published way to it: clip to what lies above the mean, rescale to 0..1, crop to what is above 0. The published
padding before the crop is left out, as the crop takes all of it away again. Only the crop is copied, once, as float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.core.prompts import Box, Grid
from voxelsmith.core.volume import Volume
from voxelsmith.segment.segvol.geometry import Axes
from voxelsmith.segment.zoom import FloatArray

_LOW, _HIGH = 0.05, 99.95
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image, ready for the network.

    Parameters
    ----------
    crop
        Brightness 0..1, axes (d, h, w), where the image is brighter than its background.
    box
        Where the crop lies, in voxels (d, h, w) of the whole image.
    axes
        How (d, h, w) lie in the image.
    spacing : float array, shape (3,)
        Voxel size along d, h and w in millimetres.
    lowest
        Value of the darkest finite voxel of the image.
    """

    crop: FloatArray
    box: Box
    axes: Axes
    spacing: npt.NDArray[np.float64]
    lowest: float

    @property
    def shape(self) -> Grid:
        """Of the crop."""
        return self.box.shape

    def source_box(self, part: Box) -> Box:
        """A box of voxels of the crop, in voxels (i, j, k) of the image."""
        lo, hi = (np.add(corner, self.box.lo).tolist() for corner in (part.lo, part.hi))
        return self.axes.box_back(Box(tuple(lo), tuple(hi)))


def prepare(image: Volume, official: bool = False) -> Prepared:
    """Normalise and crop a 3-D image.

    Parameters
    ----------
    image
        Voxels that are not finite count as background.
    official
        Take the stored order of the axes, as the published code does.

    Raises
    ------
    InputError
        If the image is constant or holds no finite voxel.
    """
    axes = Axes.stored(image.grid) if official else Axes.anatomical(image.affine, image.grid)
    array = np.asarray(image.array)
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    low, high = brightness_range(array)
    box = axes.box(_above(array, low))
    crop = _rescaled(axes.view(array)[box.slices], low, high)
    lowest = min(float(values.min()) for values in _finite(array) if values.size)
    return Prepared(crop, box, axes, image.spacing[list(axes.order)], lowest)


def brightness_range(array: npt.NDArray[Any]) -> tuple[float, float]:
    """What becomes 0 and 1: percentiles 0.05 and 99.95 of the voxels above the mean; InputError if there are none."""
    total, count = 0.0, 0
    for values in _finite(array):
        total, count = total + float(values.sum(dtype=np.float64)), count + values.size
    if not count:
        raise InputError("The image has no finite voxel; there is nothing to segment in it.")
    mean = total / count
    bright = np.concatenate([values[values > mean] for values in _finite(array)])
    low = high = mean
    if bright.size:
        low, high = (float(v) for v in np.percentile(bright, (_LOW, _HIGH), overwrite_input=True))
    # Of a constant image, rounding can leave voxels above the mean.
    if high - mean <= _ROUNDING * max(abs(mean), abs(high)):
        raise InputError(f"The image is constant ({mean:g}); there is nothing to segment in it.")
    # Where the bright voxels are all the same, they are the foreground.
    return (low, high) if high > low else (mean, high)


def _major(array: npt.NDArray[Any]) -> int:
    """The axis along which planes are read fastest."""
    return int(np.argmax(np.abs(array.strides)))


def _finite(array: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """The finite voxels, plane by plane."""
    for plane in np.moveaxis(array, _major(array), 0):
        yield plane[np.isfinite(plane)] if array.dtype.kind == "f" else plane.ravel()


def _above(array: npt.NDArray[Any], low: float) -> Box:
    """The box around the finite voxels above a value."""
    major = _major(array)
    row, column = (axis for axis in range(3) if axis != major)
    found = [np.zeros(n, dtype=bool) for n in array.shape]
    for n, plane in enumerate(np.moveaxis(array, major, 0)):
        hit = (plane > low) & np.isfinite(plane)
        found[major][n] = hit.any()
        found[row] |= hit.any(axis=1)
        found[column] |= hit.any(axis=0)
    (i0, i1), (j0, j1), (k0, k1) = (np.flatnonzero(hits)[[0, -1]].tolist() for hits in found)
    return Box((i0, j0, k0), (i1, j1, k1))


def _rescaled(crop: npt.NDArray[Any], low: float, high: float) -> FloatArray:
    out = np.empty(crop.shape, dtype=np.float32)
    for target, plane in zip(out, crop, strict=True):
        level = np.where(np.isfinite(plane), plane, low).astype(np.float64)
        target[:] = (np.clip(level, low, high) - low) / (high - low)
    return out
