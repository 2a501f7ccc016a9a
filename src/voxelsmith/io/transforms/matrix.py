"""Affine maps as plain text: four lines of four numbers.

Owns the layout that greedy and ITK-SNAP share: the 4x4 matrix takes RAS millimetres of the fixed world to RAS
millimetres of the moving world. Lines that start with # are comments.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.errors import FormatError, GeometryError
from voxelsmith.io.atomic import replacing

_COMMENT = (
    "Takes points of the fixed world to the moving world, both in RAS millimetres (x right, y anterior, z superior)."
)
_LARGEST = 2**20


def read(path: Path) -> FloatArray:
    """Read a 4x4 matrix.

    Raises
    ------
    FormatError
        If the file holds anything but four lines of four numbers, or they are no affine map.
    """
    try:
        text = path.read_text() if path.stat().st_size < _LARGEST else ""
        rows = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        return Affine(np.array([[float(number) for number in row] for row in rows])).matrix
    except (ValueError, GeometryError) as error:
        raise FormatError(
            f"An affine text file holds four lines of four numbers, the last one 0 0 0 1, but {path.name} does not "
            f"({error})"
        ) from error


def write(matrix: FloatArray, path: Path) -> None:
    """Write a 4x4 matrix, with as many digits as it takes to read the same numbers back.

    Raises
    ------
    ResourceError
        If the machine refuses.
    """
    with replacing(path) as temporary:
        np.savetxt(temporary, matrix, fmt="%.17g", header=_COMMENT)
