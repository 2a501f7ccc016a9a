"""TIFF stacks, plain, ImageJ or OME, with their resolution.

Owns the three ways in which TIFF files say how large a voxel is: OME-XML, ImageJ's description, and the resolution
tags. A file that says nothing gets voxels of 1 mm, and its history says so. Without a name for it, the stack's axis is
z.
"""

from __future__ import annotations

import contextlib
import logging
import math
import struct
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.core.volume import Volume
from voxelsmith.io.microscopy import arrangement, grid_affine, millimetres, preferred_unit

_STACKED_AXES = "iq"
_INCH, _CENTIMETRE = 2, 3
# tifffile trusts the numbers in a file, so damage shows in many ways.
_DAMAGED = (
    *(ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError, AssertionError),
    *(struct.error, zlib.error, OSError),
)


def read(path: Path) -> Volume:
    """Read the first image of a TIFF file.

    Raises
    ------
    FormatError
        If the file is not TIFF, damaged, compressed in an unknown way, or has both time points and channels.
    GeometryError
        If it says a voxel size that is not positive.
    InputError
        If its voxels are complex numbers.
    """
    import tifffile

    try:
        with _no_pages_lost(), tifffile.TiffFile(path) as tif:
            array, axes, notes = _stack(tif)
            sizes, unit, size_notes = _voxel_size(tif)
    except _DAMAGED as error:
        raise FormatError(
            f"{path.name} is not a TIFF file, damaged or compressed in an unknown way ({error}); export it again."
        ) from error
    if array.dtype.kind == "c":
        raise InputError(f"Volumes hold real numbers, but {path.name} holds {array.dtype}; export its magnitude first.")
    order, extra_axis = arrangement(axes, array.shape, path.name)
    values = array.reshape([array.shape[n] for n in sorted(order)])
    values = values.transpose([sorted(order).index(n) for n in order])
    if "z" not in axes:
        values = np.expand_dims(values, 2)
    affine = grid_affine(sizes, (0, 0, 0), path.name)
    return Volume(values, affine, units=unit, extra_axis=extra_axis, history=(*notes, *size_notes))


@contextlib.contextmanager
def _no_pages_lost() -> Iterator[None]:
    """Turn a broken chain of pages into a ValueError; tifffile logs it and gives the pages before the break."""
    found: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    listener, logger = Listener(logging.ERROR), logging.getLogger("tifffile")
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)
    for message in found:
        if "offset" in message or "corrupted" in message:
            raise ValueError(message)


def _stack(tif: Any) -> tuple[npt.NDArray[Any], list[str], list[str]]:
    """The array, the letters of its axes, and notes."""
    series = list(tif.series)
    first = series[0]
    axes = list(first.axes.lower().replace("s", "c"))
    if len(series) > 1 and first.ndim == 2 and all((s.shape, s.dtype) == (first.shape, first.dtype) for s in series):
        return np.stack([s.asarray() for s in series]), ["z", *axes], []
    if "z" not in axes:
        unnamed = [n for n, axis in enumerate(axes) if axis in _STACKED_AXES]
        if unnamed:
            axes[unnamed[0]] = "z"
    notes = [f"the first of {len(series)} images in the file was taken"] if len(series) > 1 else []
    return first.asarray(), axes, notes


def _voxel_size(tif: Any) -> tuple[tuple[float, float, float], str, list[str]]:
    """Millimetres along x, y and z, the preferred unit, and notes."""
    found = _from_ome(tif) or _from_imagej(tif) or _from_tags(tif)
    if found is None:
        return (1.0, 1.0, 1.0), "mm", ["the file does not say its voxel size; 1 mm was taken"]
    (x, y, z), unit = found
    if z is None:
        return (x, y, x), unit, ["the file does not say its slice distance; the pixel size was taken"]
    return (x, y, z), unit, []


_Sizes = tuple[tuple[float, float, float | None], str]


def _from_ome(tif: Any) -> _Sizes | None:
    if not tif.ome_metadata:
        return None
    pixels = next((e for e in ET.fromstring(tif.ome_metadata).iter() if e.tag.endswith("}Pixels")), None)
    if pixels is None or pixels.get("PhysicalSizeX") is None:
        return None
    unit_mm = millimetres(pixels.get("PhysicalSizeXUnit", "µm"))
    sizes = []
    for axis in "XYZ":
        size = pixels.get(f"PhysicalSize{axis}")
        length = millimetres(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        sizes.append(float(size) * length if size is not None and length is not None else None)
    x, y, z = sizes
    if x is None or unit_mm is None:
        return None
    return (x, x if y is None else y, z), preferred_unit(unit_mm)


def _from_imagej(tif: Any) -> _Sizes | None:
    about = tif.imagej_metadata or {}
    unit_mm = millimetres(about.get("unit"))
    pixel = _pixel_size(tif)
    if unit_mm is None or pixel is None:
        return None
    spacing = about.get("spacing")
    return (
        (pixel[0] * unit_mm, pixel[1] * unit_mm, None if spacing is None else abs(float(spacing)) * unit_mm),
        preferred_unit(unit_mm),
    )


def _from_tags(tif: Any) -> _Sizes | None:
    unit = tif.pages[0].tags.get("ResolutionUnit")
    unit_mm = {_INCH: 25.4, _CENTIMETRE: 10.0}.get(int(unit.value)) if unit is not None else None
    pixel = _pixel_size(tif)
    if unit_mm is None or pixel is None:
        return None
    x, y = pixel[0] * unit_mm, pixel[1] * unit_mm
    return (x, y, None), preferred_unit(x)


def _pixel_size(tif: Any) -> tuple[float, float] | None:
    """Width and height of a pixel in the file's unit; None if the tags are absent or zero."""
    sizes = []
    for name in ("XResolution", "YResolution"):
        tag = tif.pages[0].tags.get(name)
        pixels, units = tag.value if tag is not None else (0, 0)
        sizes.append(units / pixels if pixels else math.nan)
    return None if any(math.isnan(size) or size == 0 for size in sizes) else (sizes[0], sizes[1])
