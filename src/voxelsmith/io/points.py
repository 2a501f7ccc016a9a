"""Landmarks in files: tables of places in RAS millimetres.

Owns the reading of CSV files with a place a row. A header may name the columns x, y and z, or r, a and s; without one
the first three columns are taken. Lines that start with # are comments.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from voxelsmith.core.affine import FloatArray
from voxelsmith.core.errors import FormatError, InputError

_NAMES = (("x", "y", "z"), ("r", "a", "s"))
_LPS = "lps"


def read_points(path: Path | str) -> FloatArray:
    """Read landmarks, shape (N, 3).

    Raises
    ------
    InputError
        If there is no such file.
    FormatError
        If a row has no three finite numbers, there is no row, or the file says that it is in LPS.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"There is no file {path}; check the name.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path.name} cannot be read as a table of landmarks; save it as CSV.") from error
    if any(line.startswith("#") and _LPS in line.lower() for line in lines):
        raise FormatError(f"{path.name} says that it is in LPS, but landmarks are RAS millimetres; export it as RAS.")
    rows = list(csv.reader(line for line in lines if line.strip() and not line.lstrip().startswith("#")))
    columns = [0, 1, 2]
    if rows and not _numbers(rows[0], columns):
        names = [cell.strip().lower() for cell in rows.pop(0)]
        columns = next(([names.index(n) for n in wanted] for wanted in _NAMES if set(wanted) <= set(names)), columns)
    points = [_numbers(row, columns) for row in rows]
    if not points or not all(points):
        raise FormatError(
            f"A table of landmarks has three numbers a row, x, y and z in RAS millimetres, but {path.name} has not; "
            "save it as CSV with a header x,y,z."
        )
    return np.array(points, np.float64)


def _numbers(row: list[str], columns: list[int]) -> list[float]:
    """Three finite numbers of a row, or an empty list."""
    try:
        values = [float(row[column]) for column in columns]
    except (ValueError, IndexError):
        return []
    return values if np.isfinite(values).all() else []
