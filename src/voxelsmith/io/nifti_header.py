"""NIfTI headers: what dimensions, units, codes and orientation mean, and the reverse.

Owns the translation between a NIfTI-1 or NIfTI-2 header and (shape, extra axis, affine). Headers are parsed as they
are: nibabel repairs questionable ones while loading, which would hide broken voxel sizes from the user and change the
file on the way back. The affine follows nibabel's rule: the sform where its code is positive, else the qform, else a
guess from the voxel sizes.
"""

from __future__ import annotations

import io
import struct
from typing import Any, TypeAlias

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, GeometryError
from voxelsmith.core.volume import ExtraAxis, LabelVolume, Volume

METADATA_KEY = "nifti_header"

# A Nifti1Header or Nifti2Header; nibabel has no types to check against.
Header: TypeAlias = Any

_NIFTI1: Any = Nifti1Header
_NIFTI2: Any = Nifti2Header
_SIZES = {348: _NIFTI1, 540: _NIFTI2}
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 1e-3}
_MICROMETRE_CODE = 3
_MILLIMETRE_CODE = 2
_LARGEST_NIFTI1 = 32767
_LARGEST_OFFSET = 2**40
_VECTOR = 1007
_CHANNEL_INTENTS = {1004, 1005, 1006, _VECTOR, 2003, 2004}
_LABEL = 1002
_LABEL_INTENTS = {0, _LABEL, 1005}
_ROUNDING = 1e-6  # of the squared length of a quaternion that was stored in single precision


def parse(stream: io.BufferedIOBase) -> Header:
    """Read the header and its extensions from the start of a stream, without repairing anything.

    Raises
    ------
    FormatError
        If the bytes are no single-file NIfTI header or describe an impossible array.
    """
    start = stream.read(4)
    stream.seek(0)
    sizes = {order: struct.unpack(f"{order}i", start)[0] for order in "<>"} if len(start) == 4 else {}
    order = next((o for o, size in sizes.items() if size in _SIZES), None)
    if order is None:
        raise FormatError("A NIfTI file starts with a header of 348 or 540 bytes, but this one does not.")
    try:
        header: Header = _SIZES[sizes[order]].from_fileobj(stream, endianness=order, check=False)
    except (WrapStructError, HeaderDataError, ValueError, OverflowError) as error:
        raise FormatError(f"Its NIfTI header is damaged or truncated ({error}); fetch it again.") from error
    magic = header["magic"].item()
    if not magic.startswith((b"n+1", b"n+2")):
        raise FormatError(
            f"A NIfTI file has its header and voxels in one file (magic n+1 or n+2), got {magic!r}; convert it to .nii."
        )
    rank = int(header["dim"][0])
    if not 1 <= rank <= 7 or min(header.get_data_shape()) < 1:
        raise FormatError(f"A NIfTI file has 1 to 7 dimensions of positive length, got {header['dim'].tolist()}.")
    offset = float(header["vox_offset"])
    if not int(header["sizeof_hdr"]) + 4 <= offset < _LARGEST_OFFSET:
        raise FormatError(f"The voxels must start right behind the header, but it says byte {offset:g}.")
    return header


def channels_of(dtype: np.dtype[Any]) -> int:
    """How many bytes a colour voxel (RGB24, RGBA32) has; 0 for plain numbers."""
    return len(dtype.names or ())


def layout(header: Header) -> tuple[tuple[int, ...], ExtraAxis | None]:
    """Shape of the volume, (I, J, K) or (I, J, K, N), and what its last axis is.

    One- and two-dimensional files get axes of length 1; axes of length 1 behind the third are dropped.
    """
    shape = (*(int(n) for n in header.get_data_shape()), 1, 1)
    shape = shape[: max(3, len(shape) - 2)]
    long = [axis for axis in range(3, len(shape)) if shape[axis] > 1]
    colours = channels_of(stored_type(header))
    if len(long) + bool(colours) > 1:
        raise FormatError(
            f"A volume has one axis beyond space at most, time or channel, but this file has shape {shape}"
            f"{' of colours' if colours else ''}; split it first."
        )
    if colours:
        return (*shape[:3], colours), "channel"
    if not long:
        return shape[:3], None
    is_channel = long[0] > 3 or int(header["intent_code"]) in _CHANNEL_INTENTS
    return (*shape[:3], shape[long[0]]), "channel" if is_channel else "time"


def units(header: Header) -> str:
    """The length unit that a file of this header prefers."""
    return "um" if _space_code(header) == _MICROMETRE_CODE else "mm"


def _space_code(header: Header) -> int:
    return int(header["xyzt_units"]) & 7


def scaling(header: Header) -> tuple[float, float]:
    """Slope and intercept that stored values are to be scaled with; (1, 0) when the header says none."""
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise FormatError(
            f"The scaling of a NIfTI file is finite, got slope {header['scl_slope']} and intercept "
            f"{header['scl_inter']}; repair the header."
        ) from error
    return (1.0, 0.0) if slope is None else (float(slope), float(intercept))


def geometry(header: Header) -> tuple[Affine, tuple[str, ...]]:
    """The affine in RAS millimetres, and what the user should know about how it was found.

    Raises
    ------
    GeometryError
        If the orientation that counts is unusable.
    """
    notes: tuple[str, ...] = ()
    to_mm = np.diag([*[_MILLIMETRES.get(_space_code(header), 1.0)] * 3, 1.0])
    if header["sform_code"] > 0:
        try:
            return Affine(to_mm @ header.get_sform()), notes
        except GeometryError as error:
            if header["qform_code"] <= 0:
                raise GeometryError(f"The sform of the NIfTI file is unusable, and it has no qform: {error}") from error
            notes = ("the sform of the file is unusable, its qform was taken",)
    copy = _with_usable_sizes(header)
    if header["qform_code"] > 0:
        try:
            return Affine(to_mm @ _qform(copy)), notes
        except (ValueError, HeaderDataError) as error:
            quaternion = [float(header[f"quatern_{c}"]) for c in "bcd"]
            raise GeometryError(
                f"The qform of a NIfTI file is a rotation, but its quaternion {quaternion} is longer than 1; "
                "repair the header, for example by copying it from the image."
            ) from error
    guess = ("the file does not say how it is oriented (sform and qform codes are 0); its voxel sizes were taken",)
    return Affine(to_mm @ copy.get_base_affine()), (*notes, *guess)


def _with_usable_sizes(header: Header) -> Header:
    """A copy whose voxel sizes are usable; GeometryError if those of a real axis are not."""
    copy = header.copy()
    rank = int(header["dim"][0])
    sizes = copy["pixdim"][1:4]
    usable = np.isfinite(sizes) & (sizes > 0)
    if not usable[:rank].all():
        raise GeometryError(
            f"Voxel sizes are positive, but the NIfTI header says {sizes.tolist()} and has no sform to use instead; "
            "repair the header (pixdim) before opening the file."
        )
    sizes[~usable] = 1
    copy["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1
    return copy


def _qform(header: Header) -> Any:
    """The 4x4 qform of a header that may be changed; ValueError if its quaternion is longer than 1.

    A turn by 180 degrees has a quaternion whose three stored parts are 1 long, or a rounding error more.
    """
    try:
        return header.get_qform()
    except ValueError:
        header.quaternion_threshold = _ROUNDING
        return header.get_qform()


def header_for(volume: Volume, dtype: np.dtype[Any]) -> Header:
    """The header to write a volume with, starting from the one it was read with.

    Parameters
    ----------
    volume
        What will be written; its metadata may hold a source header.
    dtype
        Type of the voxels in memory.

    Returns
    -------
    Nifti1Header or Nifti2Header
        NIfTI-2 if the source was, or if an axis is longer than 32767.
    """
    source = volume.metadata.get(METADATA_KEY)
    header = parse(io.BytesIO(source)) if source else _fresh(volume)
    if max(volume.array.shape) > _LARGEST_NIFTI1 and not isinstance(header, _NIFTI2):
        header = _as_nifti2(header)
    colours = channels_of(header.get_data_dtype())
    if layout(header) != (tuple(volume.array.shape), volume.extra_axis) or (colours and dtype != np.uint8):
        _set_layout(header, volume)
    if not channels_of(header.get_data_dtype()):
        header.set_data_dtype(dtype)
    if scaling(header) != (1.0, 0.0):
        header["scl_slope"], header["scl_inter"] = 1, 0
    if isinstance(volume, LabelVolume):
        header["cal_min"] = header["cal_max"] = 0
        if int(header["intent_code"]) not in _LABEL_INTENTS:
            header.set_intent(_LABEL, (), "")
    if not source or not _says(header, volume.affine):
        _set_geometry(header, volume.affine)
    return header


def _fresh(volume: Volume) -> Header:
    header: Header = _NIFTI1()
    header["xyzt_units"] = _MICROMETRE_CODE if volume.units == "um" else _MILLIMETRE_CODE
    header["scl_slope"], header["scl_inter"] = 1, 0
    return header


def _as_nifti2(header: Header) -> Header:
    larger: Header = _NIFTI2(endianness=header.endianness, check=False)
    for key in set(header.keys()) & set(larger.keys()) - {"sizeof_hdr", "magic", "vox_offset"}:
        larger[key] = header[key]
    larger.extensions.extend(header.extensions)
    return larger


def _set_layout(header: Header, volume: Volume) -> None:
    shape = tuple(volume.array.shape)
    intent = int(header["intent_code"])
    if channels_of(header.get_data_dtype()):
        header.set_data_dtype(np.uint8)
    if volume.extra_axis == "channel":
        shape = (*shape[:3], 1, shape[3])
        if intent not in _CHANNEL_INTENTS:
            header.set_intent(_VECTOR, (), "")
    elif intent in _CHANNEL_INTENTS:
        header.set_intent(0, (), "")
    header.set_data_shape(shape)


def _says(header: Header, affine: Affine) -> bool:
    try:
        return geometry(header)[0] == affine
    except GeometryError:
        return False


def _set_geometry(header: Header, affine: Affine) -> None:
    """Write the affine into sform and qform, in the header's own unit, keeping the code of the space."""
    matrix = affine.matrix.copy()
    matrix[:3] /= _MILLIMETRES.get(_space_code(header), 1.0)
    code = int(header["sform_code"]) or int(header["qform_code"]) or 1
    header.set_sform(matrix, code)
    header.set_qform(matrix, code, strip_shears=True)
    if affine.is_sheared:
        # A quaternion cannot hold sheared axes; without a code nobody takes it for the truth.
        header["qform_code"] = 0


def raw_bytes(header: Header) -> bytes:
    """The header with its extensions as bytes, to be kept in a volume's metadata."""
    stream = io.BytesIO()
    header.write_to(stream)
    return stream.getvalue()


def stored_type(header: Header) -> np.dtype[Any]:
    """The numpy type of the voxels in the file, in the file's byte order."""
    try:
        dtype: np.dtype[Any] = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        raise FormatError(f"The NIfTI data type {int(header['datatype'])} is not known.") from error
    if dtype.itemsize == 0:
        raise FormatError(f"The NIfTI data type {int(header['datatype'])} is not known.")
    return dtype.newbyteorder(header.endianness)
