"""Displacement fields of the Learn2Reg challenge, .npz files.

Owns their layout: one array ``arr_0`` of shape (3, I, J, K), channel c the displacement along array axis c in voxels
of the full fixed grid, pulling the moving image (``moving[p + d(p)]``). The challenges of 2020 and 2021 kept every
second voxel along each axis, the outermost ones in place, and the evaluation interpolates between them; later ones keep
the full grid. The file does not say where the grid lies, and assumes that both images share it: displacements are those
of the fixed grid.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.errors import FormatError, GeometryError
from voxelsmith.core.sampling import Grid
from voxelsmith.io.atomic import replacing

_NAME = "arr_0"


def read(path: Path, affine: Affine, grid: Grid) -> DisplacementField:
    """Read a displacement field for a fixed image.

    Parameters
    ----------
    path
        The file.
    affine, grid
        Of the fixed image; a file at half resolution is interpolated to it.

    Raises
    ------
    FormatError
        If the file is damaged or holds something else.
    GeometryError
        If its grid is neither the fixed image's nor half of it.
    """
    array = np.moveaxis(_load(path), 0, -1)
    stored = array.shape[:3]
    if stored == tuple(grid):
        return DisplacementField.from_voxels(array, affine)
    if stored != _half(grid):
        raise GeometryError(
            f"Displacements for an image of shape {tuple(grid)} have that shape or half of it, but {path.name} has "
            f"{stored}; choose the fixed image that it was made for."
        )
    vectors = np.asarray(array, np.float32) @ affine.matrix[:3, :3].T.astype(np.float32)
    return DisplacementField(vectors, _spread(affine, grid, stored)).resampled(affine, grid)


def _load(path: Path) -> npt.NDArray[Any]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{_NAME}.npy") as stream:
            array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FormatError(
            f"A Learn2Reg file is an .npz archive with one array named {_NAME}, but {path.name} is not or is damaged; "
            "fetch or export it again."
        ) from error
    if array.ndim != 4 or array.shape[0] != 3 or array.dtype.kind != "f":
        raise FormatError(
            f"Learn2Reg displacements are floating-point numbers of shape (3, I, J, K), but {path.name} holds "
            f"{array.dtype} of shape {array.shape}; export it again."
        )
    return array


def _half(grid: Grid) -> Grid:
    i, j, k = (round(n / 2) for n in grid)
    return i, j, k


def _spread(affine: Affine, grid: Grid, coarse: Grid) -> Affine:
    """The affine of a grid with fewer voxels whose outermost ones lie where those of ``grid`` do."""
    steps = [(n - 1) / (m - 1) if m > 1 else 1.0 for n, m in zip(grid, coarse, strict=True)]
    return affine @ Affine(np.diag([*steps, 1.0]))


def write(field: DisplacementField, path: Path, half_resolution: bool = False) -> None:
    """Write a displacement field.

    Parameters
    ----------
    field
        On the fixed image's grid.
    path
        Where to.
    half_resolution
        Keep half of the voxels, as the challenges of 2020 and 2021 ask.

    Raises
    ------
    GeometryError
        If half the resolution is asked of a grid with an odd number of voxels, which the evaluation cannot undo.
    ResourceError
        If the machine refuses.
    """
    voxels = field.in_voxels()
    if half_resolution:
        if any(n % 2 for n in field.grid):
            raise GeometryError(
                f"Half resolution needs an even number of voxels along each axis, got {field.grid}; write it in full."
            )
        coarse = _half(field.grid)
        thin = DisplacementField(voxels, field.affine).resampled(_spread(field.affine, field.grid, coarse), coarse)
        voxels = thin.array
    with replacing(path) as temporary:
        np.savez_compressed(temporary, np.moveaxis(voxels, -1, 0))
