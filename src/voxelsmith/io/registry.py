"""The registry: which module reads and writes which files.

Owns the choice of the format, by suffix, by DICOM's magic bytes or by what a folder holds, and what is the same for all
of them: missing files, refusals of the machine, names, and whether a volume opens as labels. Format modules are
imported when the first file of their kind is opened.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import FormatError, InputError, ResourceError
from voxelsmith.core.volume import LabelVolume, Volume, smallest_label_dtype
from voxelsmith.io.recognise import is_integral, looks_like_labels


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Parameters
    ----------
    name
        As users know it.
    module
        The module of this package with ``read(path)`` and, if it writes, ``write(volume, path)``.
    suffixes
        Endings of its files, lower case, with dot.
    writes
        Whether volumes can be saved in it.
    """

    name: str
    module: str
    suffixes: tuple[str, ...]
    writes: bool = False

    def load(self) -> Any:
        """Import the module."""
        return importlib.import_module(f"voxelsmith.io.{self.module}")


FORMATS = (
    Format("NIfTI", "nifti", (".nii.gz", ".nii"), writes=True),
    Format("NRRD", "itk", (".nrrd",), writes=True),
    Format("MetaImage", "itk", (".mha", ".mhd"), writes=True),
    Format("DICOM", "dicom", (".dcm", ".ima")),
    Format("TIFF", "tiff", (".tif", ".tiff")),
    Format("OME-Zarr", "zarr", (".zarr",)),
)
READ_PATTERNS = tuple(f"*{suffix}" for f in FORMATS for suffix in f.suffixes)
WRITE_SUFFIXES = tuple(suffix for f in FORMATS if f.writes for suffix in f.suffixes)

_BY_NAME = {f.name: f for f in FORMATS}
_FOLDER_SUFFIXES = _BY_NAME["OME-Zarr"].suffixes


def read(path: Path | str, *, series: str | None = None) -> Volume | LabelVolume:
    """Read a volume from a file or folder.

    Parameters
    ----------
    path
        A NIfTI, NRRD, MetaImage or TIFF file, a DICOM file (its whole series is read), a folder of DICOM files, or an
        OME-Zarr folder.
    series
        Which series of a DICOM folder, as :func:`list_series` names it.

    Returns
    -------
    Volume or LabelVolume
        Labels if the file says so, or if its values look like labels.

    Raises
    ------
    FormatError
        If the file is missing, unknown or damaged, or a folder holds several series and ``series`` names none.
    GeometryError
        If its geometry is unusable.
    InputError
        If its values are not real numbers, or ``series`` is given for anything but DICOM.
    ResourceError
        If memory runs out.
    """
    source = Path(path).expanduser()
    volume = _read(source, series)
    if isinstance(volume, LabelVolume):
        return volume
    names: Mapping[int, str] = volume.metadata.get("label_names", {})
    if names and volume.array.dtype.kind in "iu" and volume.extra_axis is None:
        return _labels(volume)
    if (
        volume.extra_axis != "channel"
        and "dicom" not in volume.metadata
        and looks_like_labels(volume.array, source.name)
    ):
        return _labels(volume)
    return volume


def read_labels(path: Path | str) -> LabelVolume:
    """Read a file as labels, whatever it looks like.

    Raises
    ------
    InputError
        If its values are not whole numbers, or it has channels.
    FormatError, GeometryError, ResourceError
        As :func:`read`.
    """
    volume = _read(Path(path).expanduser(), None)
    return volume if isinstance(volume, LabelVolume) else _labels(volume)


def write(volume: Volume, path: Path | str) -> Path:
    """Write a volume beside ``path`` and rename it onto it when it is complete.

    Parameters
    ----------
    volume
        Image or labels; a lazy array is computed.
    path
        Where to; its suffix, one of ``WRITE_SUFFIXES``, chooses the format.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FormatError
        If the suffix is none that can be written.
    GeometryError, InputError
        If the format cannot hold the affine or the values.
    ResourceError
        If the machine refuses.
    """
    target = Path(path).expanduser()
    found = _by_suffix(target)
    if found is None or not found.writes:
        raise FormatError(f"Volumes are saved as {', '.join(WRITE_SUFFIXES)}, got {target.name!r}; change the ending.")
    try:
        found.load().write(volume, target)
    except MemoryError as error:
        raise ResourceError(f"Memory ran out while {target.name} was written; close other volumes first.") from error
    return target


def _read(path: Path, series: str | None) -> Volume:
    try:
        found = _format_of(path)
        if found.name == "DICOM":
            volume: Volume = found.load().read(path, series)
        elif series is not None:
            raise InputError(f"A series is chosen in a DICOM folder, but {path.name} is {found.name}; leave it out.")
        else:
            volume = replace(found.load().read(path), name=_stem(path))
    except MemoryError as error:
        raise ResourceError(
            f"Memory ran out while {path.name} was read; close other volumes or crop the file first."
        ) from error
    except OSError as error:
        raise FormatError(f"{path} cannot be read ({error.strerror or error}); check its permissions.") from error
    return replace(volume, metadata={**volume.metadata, "path": str(path)})


def _by_suffix(path: Path) -> Format | None:
    return next((f for f in FORMATS if path.name.lower().endswith(f.suffixes)), None)


def _format_of(path: Path) -> Format:
    from voxelsmith.io.dicom import is_dicom
    from voxelsmith.io.zarr import is_zarr

    if not path.exists():
        raise FormatError(f"There is no file {path}; check the spelling.")
    found = _by_suffix(path)
    if path.is_dir():
        if is_zarr(path) or path.name.lower().endswith(_FOLDER_SUFFIXES):
            return _BY_NAME["OME-Zarr"]
        if found is not None and found.name != "DICOM":
            raise FormatError(f"{path} is a folder, but {found.name} is read from files; choose the file in it.")
        return _BY_NAME["DICOM"]
    if path.stat().st_size == 0:
        raise FormatError(f"{path.name} is empty; fetch or export it again.")
    if found is not None and found.suffixes != _FOLDER_SUFFIXES:
        return found
    if is_dicom(path):
        return _BY_NAME["DICOM"]
    raise FormatError(
        f"{path.name} is of no known kind; what can be read are DICOM series and {', '.join(READ_PATTERNS)}."
    )


def _stem(path: Path) -> str:
    found = _by_suffix(path)
    suffix = next((s for s in found.suffixes if path.name.lower().endswith(s)), "") if found else ""
    return path.name[: len(path.name) - len(suffix)] or path.name


def _labels(volume: Volume) -> LabelVolume:
    if volume.extra_axis == "channel":
        raise InputError(f"{volume.name!r} has {volume.array.shape[3]} channels, but labels have one; save it as one.")
    array, history = _as_integers(volume.array, volume.name), volume.history
    if array.dtype != volume.array.dtype:
        history = (*history, f"labels of type {volume.array.dtype} taken as {array.dtype}")
    return LabelVolume(
        array,
        volume.affine,
        name=volume.name,
        units=volume.units,
        extra_axis=volume.extra_axis,
        history=history,
        metadata=volume.metadata,
        names=volume.metadata.get("label_names", {}),
    )


def _as_integers(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Whole numbers as an integer type; InputError for any others."""
    if array.dtype.kind in "iub":
        return array
    values = np.asarray(array)
    if not is_integral(values):
        raise InputError(f"Labels are whole numbers, but {name!r} holds others ({values.dtype}); threshold it first.")
    lowest, highest = float(values.min()), float(values.max())
    if max(abs(lowest), abs(highest)) >= 2**53:
        raise InputError(f"Labels fit into 53 bits, but {name!r} goes from {lowest:g} to {highest:g}.")
    if lowest > -0.5:
        dtype: np.dtype[Any] = smallest_label_dtype(round(highest))
    else:
        dtype = np.min_scalar_type(-1 - round(max(-lowest, highest)))
    whole: npt.NDArray[Any] = np.rint(values)
    return whole.astype(dtype)
