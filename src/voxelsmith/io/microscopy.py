"""Microscopy grids: named axes and voxel sizes in named units become [i, j, k] and an affine.

Owns what TIFF and OME-Zarr share. Their axes have letters and come in any order, their sizes are given in any unit of
length, and they know no patient: x, y and z run along the axes of ITK's world, as ITK reads such files, so that a
volume saved from here lies where other tools put it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, GeometryError
from voxelsmith.core.volume import ExtraAxis

_MILLIMETRES = {
    **dict.fromkeys(("m", "meter", "metre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e1),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-6),
    **dict.fromkeys(("å", "angstrom"), 1e-7),
    **dict.fromkeys(("in", "inch"), 25.4),
}
_EXTRA: dict[str, ExtraAxis] = {"t": "time", "c": "channel"}


def millimetres(unit: str | None) -> float | None:
    """Length of a unit in millimetres; None if the word names no length (such as "pixel")."""
    word = (unit or "").strip().lower()
    return _MILLIMETRES.get(word.replace("\\u00b5", "µ"))


def preferred_unit(unit_mm: float) -> str:
    """The unit to show sizes in that were given in units of ``unit_mm``."""
    return "um" if unit_mm < 0.1 else "mm"


def arrangement(axes: Sequence[str], shape: Sequence[int], name: str) -> tuple[tuple[int, ...], ExtraAxis | None]:
    """How to get from named axes to [i, j, k] or [i, j, k, n].

    Parameters
    ----------
    axes
        One letter an axis, in the order of the array: x, y, z, t, c; others may only have length 1.
    shape
        Their lengths.
    name
        Of the file, for messages.

    Returns
    -------
    order
        Positions of the axes to keep: x, y, z if there is one, then time or channel; all others have length 1.
    extra_axis
        What the last one is.

    Raises
    ------
    FormatError
        If x or y is missing or more than one axis beyond space is longer than 1.
    """
    if len(axes) != len(shape):
        raise FormatError(f"{name} names {len(axes)} axes but has {len(shape)}; export it again.")
    at = {axis: n for n, axis in enumerate(axes)}
    long = [axis for axis, length in zip(axes, shape, strict=True) if length > 1 and axis not in "xyz"]
    if "x" not in at or "y" not in at or len(at) < len(axes):
        raise FormatError(f"A volume has one axis x and one axis y, but {name} has axes {''.join(axes)!r}.")
    if len(long) > 1 or any(axis not in _EXTRA for axis in long):
        listed = ", ".join(f"{axis}={length}" for axis, length in zip(axes, shape, strict=True))
        raise FormatError(
            f"A volume has x, y, z and either time or channel, but {name} has {listed}; pick one time point or channel "
            "and save it by itself first."
        )
    order = [at[axis] for axis in "xyz" if axis in at]
    return (*order, *(at[axis] for axis in long)), _EXTRA[long[0]] if long else None


def grid_affine(spacing_mm: Sequence[float], origin_mm: Sequence[float], name: str) -> Affine:
    """The affine of [i=x, j=y, k=z] with the given voxel size and first voxel."""
    if not (np.isfinite(spacing_mm).all() and np.all(np.asarray(spacing_mm) > 0)):
        raise GeometryError(f"Voxel sizes are positive, but {name} says {list(spacing_mm)} mm for x, y and z.")
    matrix = np.diag([*spacing_mm, 1.0])
    matrix[:3, 3] = origin_mm
    return Affine.from_lps(matrix)
