"""Comparison: two images on one grid made into one, to see with the eye whether they fit.

Owns the checkerboard and the difference. Both first bring each image to 0..1, between the first and the 99th percentile
of a sample of its finite voxels, so that images of unlike brightness can be laid side by side; voxels that are not
finite become 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.sampling import slabs
from voxelsmith.core.volume import Volume

Float32Array: TypeAlias = npt.NDArray[np.float32]

_PERCENTILES = (1, 99)
_SAMPLE = 200_000


def checkerboard(fixed: Volume, warped: Volume, squares: int = 8) -> Job[Volume]:
    """Job that lays two images out like a chessboard: where they fit, edges go on from one field to the next.

    Parameters
    ----------
    fixed, warped
        3-D images on one grid.
    squares
        How many fields lie along the longest side; a field is as long in millimetres along every axis.

    Returns
    -------
    Volume
        Float32, 0..1, on the same grid; the field at the first voxel shows the fixed image.

    Raises
    ------
    GeometryError
        If the images lie on different grids.
    InputError
        If there are fewer than two fields.
    """
    if squares < 2:
        raise InputError(f"A checkerboard has two fields or more along its longest side, got {squares}.")
    side = float((fixed.spacing * fixed.grid).max()) / squares
    number = [
        np.floor((np.arange(count) + 0.5) * size / side).astype(int)
        for count, size in zip(fixed.grid, fixed.spacing.tolist(), strict=True)
    ]
    odd = np.add.outer(number[1], number[2])

    def mix(start: int, stop: int, a: Float32Array, b: Float32Array) -> Float32Array:
        return np.where(np.add.outer(number[0][start:stop], odd) % 2 == 0, a, b)

    return _mixed(fixed, warped, mix, "checkerboard")


def difference(fixed: Volume, warped: Volume) -> Job[Volume]:
    """Job that subtracts: the fixed image minus the warped one, float32, -1..1, 0 where they agree.

    It says something only if both images are of one kind. Raises GeometryError if they lie on different grids.
    """
    return _mixed(fixed, warped, lambda start, stop, a, b: a - b, "difference")


def _mixed(
    fixed: Volume, warped: Volume, mix: Callable[[int, int, Float32Array, Float32Array], Float32Array], name: str
) -> Job[Volume]:
    fixed.require_same_grid(warped)
    windows = _window(fixed.array), _window(warped.array)
    array = np.empty(fixed.grid, np.float32)
    for start, stop in slabs(fixed.grid):
        yield Progress(start, fixed.grid[0], f"Making the {name}")
        a, b = (
            _scaled(np.asarray(volume.array[start:stop]), *window)
            for volume, window in zip((fixed, warped), windows, strict=True)
        )
        array[start:stop] = mix(start, stop, a, b)
    return Volume(array, fixed.affine, name=name, units=fixed.units)


def _window(array: npt.NDArray[Any]) -> tuple[float, float]:
    """The two percentiles; the whole range if most voxels are alike."""
    step = max(1, int(np.cbrt(array.size / _SAMPLE)))
    sample = np.asarray(array[::step, ::step, ::step], np.float64)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 1.0
    low, high = np.percentile(sample, _PERCENTILES)
    if not high > low:
        low, high = sample.min(), sample.max()
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1)


def _scaled(values: npt.NDArray[Any], low: float, high: float) -> Float32Array:
    scaled: Float32Array = np.clip((values.astype(np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)
    scaled[~np.isfinite(values)] = 0
    return scaled
