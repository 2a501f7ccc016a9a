"""The folder that a registration leaves: one field that does everything, and the affine part of it.

Owns the two file names. ``displacement.nii.gz`` holds the whole transform, so that ITK's tools apply it alone;
``affine.txt`` tells how much of it is affine, which inverting it and going on beyond its grid need.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from voxelsmith.core.affine import Affine
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.errors import InputError
from voxelsmith.core.sampling import Grid, voxel_positions
from voxelsmith.core.transform import Transform
from voxelsmith.io.transforms.registry import read_transform, write_transform

FIELD_FILE = "displacement.nii.gz"
AFFINE_FILE = "affine.txt"


def read_folder(folder: Path) -> Transform:
    """Read a transform back, as affine map and field.

    Raises
    ------
    FormatError
        If a file is damaged.
    InputError
        If a file is missing.
    """
    missing = [name for name in (FIELD_FILE, AFFINE_FILE) if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} holds no {' and no '.join(missing)}; choose a folder that voxelsmith register wrote."
        )
    matrix = read_transform(folder / AFFINE_FILE).matrix
    whole = read_transform(folder / FIELD_FILE).field
    if whole is None:
        raise InputError(f"{folder / FIELD_FILE} is no displacement field; register again.")
    back = Affine(matrix).inverse()
    array = np.empty_like(whole.array)
    for block, position in voxel_positions(whole.affine, whole.grid):
        array[block] = back.apply(position + whole.array[block]) - position
    return Transform(matrix, DisplacementField(array, whole.affine))


def write_folder(transform: Transform, folder: Path, affine: Affine, grid: Grid) -> None:
    """Write a transform, sampled on the grid of the fixed image, into an existing folder.

    Raises
    ------
    GeometryError
        If the grid is sheared, which ITK cannot express.
    ResourceError
        If the machine refuses.
    """
    write_transform(transform, folder / FIELD_FILE, affine, grid)
    write_transform(Transform(transform.matrix), folder / AFFINE_FILE)
