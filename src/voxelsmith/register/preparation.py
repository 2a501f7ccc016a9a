"""Preparation: from a volume as the user has it to numbers that similarities can work with.

Owns the intensities that every stage of a registration sees: from 0 at the first percentile to 1 at the 99th, of the
voxels that count. Voxels that are not finite count for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.errors import InputError
from voxelsmith.core.resample import resample_to
from voxelsmith.core.sampling import Grid
from voxelsmith.core.volume import LabelVolume, Volume

Float32Array: TypeAlias = npt.NDArray[np.float32]

_PERCENTILES = (1, 99)
_BLUR = 0.6
_TINY = np.float32(1e-6)


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image in 0..1 on its own grid.

    Parameters
    ----------
    values : ndarray, shape (I, J, K)
        Intensities.
    weight : ndarray, shape (I, J, K)
        How much each voxel counts, 0 to 1; None if all of them count fully.
    affine
        Maps ``(i, j, k)`` to RAS millimetres.
    """

    values: Float32Array
    weight: Float32Array | None
    affine: Affine

    @property
    def grid(self) -> Grid:
        """Number of voxels along i, j and k."""
        i, j, k = self.values.shape
        return int(i), int(j), int(k)

    def coarser(self, spacing: float) -> Prepared:
        """Means over blocks of whole voxels of about ``spacing`` millimetres a side, slightly blurred."""
        factors = np.maximum(1, np.round(spacing / self.affine.spacing)).astype(int)
        factors = np.minimum(factors, self.grid)
        affine = self.affine.scaled(factors)
        if self.weight is None:
            return Prepared(_blurred_means(self.values, factors), None, affine)
        weight = _blurred_means(self.weight, factors)
        values = _blurred_means(self.values * self.weight, factors) / (weight + _TINY)
        weight[_block_means(self.weight, factors) == 0] = 0
        return Prepared(values, weight, affine)

    def onto(self, affine: Affine, grid: Grid, *, beyond_counts: bool = False) -> Prepared:
        """Interpolated onto another grid of the same world; beyond the image lie zeros, which count only if asked."""
        values = resample_to(Volume(self.values, self.affine), affine, grid).array
        if beyond_counts and self.weight is None:
            return Prepared(values, None, affine)
        weight = np.ones(self.grid, np.float32) if self.weight is None else self.weight
        return Prepared(values, resample_to(Volume(weight, self.affine), affine, grid).array, affine)

    def counted_box(self) -> tuple[FloatArray, FloatArray]:
        """First voxel that counts along each axis, and one past the last."""
        if self.weight is None:
            return np.zeros(3), np.array(self.grid, np.float64)
        used = self.weight > 0
        sides = [np.flatnonzero(used.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        return np.array([s[0] for s in sides], np.float64), np.array([s[-1] + 1 for s in sides], np.float64)

    def centre(self) -> FloatArray:
        """Where the middle of the grid lies, RAS millimetres."""
        return self.affine.apply((np.array(self.grid) - 1) / 2)

    def mass(self) -> tuple[FloatArray, float]:
        """Where the centre of the intensities lies, and how far from it they lie (root mean square), millimetres."""
        mass = np.asarray(self.values if self.weight is None else self.values * self.weight, np.float64)
        total = mass.sum()
        if total <= 0:
            return self.centre(), float(np.linalg.norm(self.affine.spacing * self.grid)) / np.sqrt(12)
        sides = [mass.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
        index = np.array([side @ np.arange(len(side)) for side in sides]) / total
        variance = [side @ (np.arange(len(side)) - at) ** 2 / total for side, at in zip(sides, index, strict=True)]
        return self.affine.apply(index), float(np.sqrt(np.sum(np.array(variance) * self.affine.spacing**2)))


def prepare(volume: Volume, mask: LabelVolume | None = None) -> Prepared:
    """Scale the intensities of a 3-D image.

    Parameters
    ----------
    volume
        The image.
    mask
        Where voxels count; resampled to the image if it lies on another grid.

    Raises
    ------
    InputError
        If no voxel counts, or all that do are alike.
    """
    array = np.asarray(volume.array)
    counts = np.isfinite(array) if array.dtype.kind == "f" else np.ones(array.shape, bool)
    if mask is not None:
        counts &= resample_to(mask, volume.affine, volume.grid).array != 0
    if not counts.any():
        where = "no finite voxel" if mask is None else "no finite voxel inside its mask"
        raise InputError(f"{volume.name!r} has {where}; choose another image or mask.")
    everywhere = bool(counts.all())
    seen = array.ravel() if everywhere else array[counts]
    low, high = _window(seen)
    if not high > low:
        raise InputError(
            f"{volume.name!r} is constant ({low:g}) where it counts, so nothing can be aligned; choose another image."
        )
    values = np.clip((array.astype(np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)
    if everywhere:
        return Prepared(values, None, volume.affine)
    values[~np.isfinite(values)] = 0
    return Prepared(values, counts.astype(np.float32), volume.affine)


def _window(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Percentiles; the whole range if most values are alike."""
    low, high = np.percentile(values, _PERCENTILES)
    return (float(low), float(high)) if high > low else (float(values.min()), float(values.max()))


def _blurred_means(array: Float32Array, factors: npt.NDArray[np.integer[Any]]) -> Float32Array:
    """Means over blocks, blurred against jagged edges."""
    blurred: Float32Array = ndimage.gaussian_filter(_block_means(array, factors), _BLUR, mode="nearest")
    return blurred


def _block_means(array: Float32Array, factors: npt.NDArray[np.integer[Any]]) -> Float32Array:
    """Means over blocks; what is left over at the far border goes."""
    for axis, factor in enumerate(factors.tolist()):
        if factor > 1:
            count = array.shape[axis] // factor
            array = array.take(range(count * factor), axis) if count * factor < array.shape[axis] else array
            shape = (*array.shape[:axis], count, factor, *array.shape[axis + 1 :])
            array = array.reshape(shape).mean(axis=axis + 1, dtype=np.float32)
    return array
