"""Voxel types: which numpy type holds the values that a file means.

Owns the two conversions between files and arrays that may change a type: :func:`rescaled` applies a stored slope and
intercept without turning integers into floats when it can be helped, and :func:`storable` gives an array the nearest
type that the writers know.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError

_INTEGERS = [np.dtype(f"{kind}{size}") for size in (1, 2, 4, 8) for kind in "iu"]
_EXACT = 2**53


def integer_type(lowest: int, highest: int, stored: np.dtype[Any]) -> np.dtype[Any] | None:
    """The smallest integer type that holds a range and is no smaller than the stored one; None if there is none.

    Of two types of one size the signedness of ``stored`` wins.
    """
    fitting = [
        t
        for t in _INTEGERS
        if t.itemsize >= stored.itemsize and np.iinfo(t).min <= lowest and highest <= np.iinfo(t).max
    ]
    return min(fitting, key=lambda t: (t.itemsize, t.kind != stored.kind), default=None)


def rescaled(raw: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[Any]:
    """``raw * slope + intercept``.

    Integers with an integral slope and intercept stay integers, in the smallest type that holds every value and is no
    smaller than the stored one. Everything else becomes float64. A slope of 1 and an intercept of 0 return ``raw``.
    """
    if slope == 1 and intercept == 0:
        return raw
    if raw.dtype.kind in "iu" and float(slope).is_integer() and float(intercept).is_integer():
        ends = [int(end) * int(slope) + int(intercept) for end in (raw.min(), raw.max())]
        target = integer_type(min(ends), max(ends), raw.dtype)
        # Beyond 2**53 a float64, which is what other readers compute in, would not be the same number.
        if target is not None and max(map(abs, ends)) < _EXACT and abs(slope) < _EXACT and abs(intercept) < _EXACT:
            return _integer_rescaled(raw, int(slope), int(intercept), target)
    out = raw.astype(np.float64)
    out *= slope
    out += intercept
    return out


def _integer_rescaled(raw: npt.NDArray[Any], slope: int, intercept: int, target: np.dtype[Any]) -> npt.NDArray[Any]:
    # Integer arithmetic modulo 2**bits is exact when the result fits, whatever the intermediate values do.
    bits = 8 * target.itemsize
    unsigned = np.dtype(f"u{target.itemsize}")
    out = raw.astype(unsigned)
    out *= unsigned.type(slope % 2**bits)
    out += unsigned.type(intercept % 2**bits)
    return out.view(target)


def storable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array in memory, with a type that every writer knows: (u)int8 to (u)int64, float32 or float64.

    Booleans become uint8, half precision float32, extended precision float64; complex and other values are an
    InputError.
    """
    values = np.asarray(array)
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind == "f" and values.dtype.itemsize not in (4, 8):
        return values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64)
    if values.dtype.kind not in "iuf":
        raise InputError(
            f"Files hold integers or real numbers, got {values.dtype}; save the magnitude or one component instead."
        )
    return values.astype(values.dtype.newbyteorder("="), copy=False)
