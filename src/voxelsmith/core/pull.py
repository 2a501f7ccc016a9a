"""Pulling a moving volume onto the grid of a fixed one.

Owns the loop that every transform uses to resample: for each voxel of the target it is told where in the moving world
to look. Images are interpolated trilinearly; labels get the label whose own mask, interpolated so, would be largest;
either can be taken from the nearest voxel instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from voxelsmith.core import sampling
from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.errors import InputError
from voxelsmith.core.sampling import Block, Grid
from voxelsmith.core.volume import LabelVolume, Volume

V = TypeVar("V", bound=Volume)
Interpolation: TypeAlias = Literal["linear", "nearest"]


def pull(
    moving: V,
    positions: Iterable[tuple[Block, FloatArray]],
    affine: Affine,
    grid: Grid,
    interpolation: Interpolation = "linear",
    fill: float = 0,
) -> V:
    """Resample a volume where a transform says.

    Parameters
    ----------
    moving
        What to resample; each frame of a 4-D volume is taken by itself.
    positions
        For every block of the target, the RAS millimetres in the moving world of its voxels, shape (i, j, K, 3).
    affine, grid
        The target: its affine and its number of voxels.
    interpolation
        "linear" or "nearest".
    fill
        Value beyond the faces of ``moving``.

    Returns
    -------
    Volume
        Same type as ``moving``, on the target grid. Labels and nearest voxels keep their type, interpolated integers
        become float32.

    Raises
    ------
    InputError
        If the interpolation is not known or the type of the result cannot hold ``fill``.
    """
    if interpolation not in ("linear", "nearest"):
        raise InputError(f"Interpolation is 'linear' or 'nearest', got {interpolation!r}.")
    source = np.asarray(moving.array)
    kept = isinstance(moving, LabelVolume) or interpolation == "nearest"
    dtype = source.dtype if kept else np.dtype(np.float64 if source.dtype == np.float64 else np.float32)
    array = np.full((*grid, *source.shape[3:]), _representable(fill, dtype))
    sample = _sampler(moving, interpolation)
    frames = [np.index_exp[..., n] for n in range(source.shape[3])] if source.ndim == 4 else [np.index_exp[...]]
    to_index = moving.affine.inverse()
    for block, position in positions:
        index = to_index.apply(position)
        inside = ~sampling.outside(moving.grid, index)
        for frame in frames:
            array[block][frame][inside] = sample(source[frame], index[inside])
    return replace(moving, array=array, affine=affine, history=(*moving.history, "warped"), metadata={})


def _sampler(
    moving: Volume, interpolation: Interpolation
) -> Callable[[npt.NDArray[Any], FloatArray], npt.NDArray[Any]]:
    """How to read the voxels."""
    if interpolation == "nearest":
        return sampling.nearest
    return sampling.likeliest if isinstance(moving, LabelVolume) else sampling.linear


def _representable(fill: float, dtype: np.dtype[Any]) -> Any:
    """The value outside in the type of the result."""
    if dtype.kind != "f":
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if not (low <= fill <= high and fill == int(fill)):
            raise InputError(f"The value outside must fit the voxels' type {dtype}, got {fill}; choose 0.")
    return dtype.type(fill)
