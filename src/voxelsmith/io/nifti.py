"""NIfTI files (.nii, .nii.gz), NIfTI-1 and NIfTI-2.

Owns the bytes: voxels are read at once, in the file's type, without a second copy unless they must be scaled. The
header of the file travels in ``metadata["nifti_header"]`` as bytes, so that a mask made on an image, or the image
itself, is written back with the same orientation, codes, units and description; what they mean is known to
:mod:`voxelsmith.io.nifti_header`.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError

from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.core.volume import Volume
from voxelsmith.io import nifti_header
from voxelsmith.io.atomic import replacing
from voxelsmith.io.nifti_header import Header
from voxelsmith.io.voxel_types import rescaled, storable

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_LEVEL = 3
_CHUNK = 2**18
# Deflate cannot make anything smaller than by this factor.
_GZIP_LARGEST_RATIO = 1032


def read(path: Path) -> Volume:
    """Read a NIfTI file.

    Raises
    ------
    FormatError
        If the file is not NIfTI, damaged, truncated, or has more than one axis beyond space.
    GeometryError
        If its orientation or voxel sizes are unusable.
    InputError
        If its voxels are complex numbers.
    """
    try:
        with _opened(path) as stream:
            header = nifti_header.parse(stream)
            shape, extra_axis = nifti_header.layout(header)
            slope, intercept = nifti_header.scaling(header)
            affine, notes = nifti_header.geometry(header)
            raw = _voxels(stream, header, path)
    except (OSError, EOFError, zlib.error, HeaderDataError) as error:
        raise FormatError(f"{path.name} is damaged or truncated ({error}); fetch or export it again.") from error
    except FormatError as error:
        raise FormatError(f"{path.name} cannot be read as NIfTI. {error}") from error
    return Volume(
        rescaled(raw.reshape(shape, order="F"), slope, intercept),
        affine,
        units=nifti_header.units(header),
        extra_axis=extra_axis,
        history=notes,
        metadata={nifti_header.METADATA_KEY: nifti_header.raw_bytes(header)},
    )


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """The uncompressed bytes; whether a file is compressed is taken from its content, not its name."""
    with path.open("rb") as stream:
        compressed = stream.read(2) == _GZIP_MAGIC
        stream.seek(0)
        if compressed:
            with gzip.GzipFile(fileobj=stream) as unpacked:
                yield unpacked
        else:
            yield stream


def _voxels(stream: io.BufferedIOBase, header: Header, path: Path) -> npt.NDArray[Any]:
    """All voxels as stored, one-dimensional, first axis fastest, in the machine's byte order."""
    dtype = nifti_header.stored_type(header)
    if dtype.kind == "c":
        raise InputError(f"Volumes hold real numbers, but {path.name} holds {dtype}; export its magnitude first.")
    count = int(np.prod([int(n) for n in header.get_data_shape()], dtype=object))
    most = path.stat().st_size * (_GZIP_LARGEST_RATIO if isinstance(stream, gzip.GzipFile) else 1)
    if (wanted := count * dtype.itemsize) > most:
        raise FormatError(
            f"Its header announces {wanted} bytes of voxels, more than the file can hold; it is truncated."
        )
    stream.seek(int(header["vox_offset"]))
    raw: npt.NDArray[Any] = np.empty(count, dtype)
    _fill(stream, raw.view(np.uint8).data)
    # Reading past the voxels makes gzip compare its checksum.
    stream.read(1)
    if channels := nifti_header.channels_of(dtype):
        shape = (*nifti_header.layout(header)[0][:3], channels)
        colours = raw.view(np.uint8).reshape(-1, channels)
        return np.asarray(colours.reshape((*shape[2::-1], channels)).transpose(2, 1, 0, 3))
    if dtype.kind == "f" and dtype.itemsize > 8:
        return raw.astype(np.float64)
    if not dtype.isnative:
        raw = raw.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return raw


def _fill(stream: io.BufferedIOBase, target: memoryview) -> None:
    wanted, done = len(target), 0
    while done < wanted:
        got = stream.readinto(target[done : done + _CHUNK])
        if not got:
            raise EOFError(f"its header announces {wanted} bytes of voxels, but there are {done}")
        done += got


def write(volume: Volume, path: Path) -> None:
    """Write a volume; the source's header is kept where it still holds.

    Voxels are written unscaled in the type they have in memory (booleans as uint8). Raises InputError for complex
    values and ResourceError if the machine refuses.
    """
    array = storable(volume.array)
    header = nifti_header.header_for(volume, array.dtype)
    with replacing(path) as temporary, ExitStack() as stack:
        stream: io.BufferedIOBase = stack.enter_context(temporary.open("wb"))
        if path.name.lower().endswith(".gz"):
            stream = stack.enter_context(gzip.GzipFile("", "wb", _GZIP_LEVEL, stream, mtime=0))
        start = io.BytesIO()
        header.write_to(start)
        stream.write(start.getvalue().ljust(int(header["vox_offset"]), b"\0"))
        _write_voxels(stream, array, nifti_header.stored_type(header))


def _write_voxels(stream: io.BufferedIOBase, array: npt.NDArray[Any], dtype: np.dtype[Any]) -> None:
    """Plane by plane, so that no second copy of the data is made."""
    outer = array.shape[2:3] if dtype.names else array.shape[2:]
    for index in np.ndindex(outer[::-1]):
        plane = array[(slice(None), slice(None), *index[::-1])]
        if dtype.names:
            plane = np.ascontiguousarray(plane).view(dtype)[..., 0]
        stream.write(plane.astype(dtype, copy=False).tobytes(order="F"))
