"""DICOM series: a folder, or any one of its files.

Owns the scan of a folder (headers only), the grouping of its image planes into series, and the reading of the voxels.
Planes of one SeriesInstanceUID that differ in orientation or size, such as a localizer beside its stack, count as
different series. Several series are offered, never merged. Array axes are [column, row, plane]. Pixels are decoded by
pydicom, or by the GDCM in SimpleITK where pydicom lacks the codec.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import FormatError
from voxelsmith.core.volume import Volume
from voxelsmith.io.dicom_frames import Frame, frames_of, stacked
from voxelsmith.io.voxel_types import rescaled

if TYPE_CHECKING:
    from pydicom import Dataset

_TAGS = [
    *("SOPClassUID", "SeriesInstanceUID", "SeriesDescription", "Modality", "Rows", "Columns", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness"),
    *("SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
_MAGIC_AT = 128
_MAGIC = b"DICM"
_SUFFIXES = (".dcm", ".ima")
_SEGMENTATION = "SEG"


@dataclass(frozen=True)
class Series:
    """A stack of image planes that belong together.

    Parameters
    ----------
    uid
        What to choose it by: its SeriesInstanceUID, with "#1", "#2" behind it when its planes make several stacks.
    description, modality
        As the scanner wrote them; may be empty.
    n_files
        Number of files.
    shape
        Columns, rows and planes.
    """

    uid: str
    description: str
    modality: str
    n_files: int
    shape: tuple[int, int, int]

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"{self.uid} ({self.description or 'no description'}, {self.modality or '?'}, {size})"


@dataclass
class _Stack:
    """Parallel planes of one size and one SeriesInstanceUID, in the order they were found."""

    uid: str
    description: str
    modality: str
    size: tuple[int, int]
    frames: list[Frame] = field(default_factory=list)

    def series(self, uid: str) -> Series:
        return Series(
            uid, self.description, self.modality, len({f.path for f in self.frames}), (*self.size, len(self.frames))
        )


def is_dicom(path: Path) -> bool:
    """Whether a file carries DICOM's magic bytes."""
    with path.open("rb") as stream:
        stream.seek(_MAGIC_AT)
        return stream.read(len(_MAGIC)) == _MAGIC


def list_series(folder: Path | str) -> list[Series]:
    """The series that a folder holds (not its subfolders), from the headers alone.

    Raises
    ------
    FormatError
        If there is no such folder or no DICOM image in it.
    """
    return [series for series, _ in _scan(Path(folder).expanduser())]


def read(path: Path, series: str | None = None) -> Volume:
    """Read a series from a folder or from any one of its files.

    Parameters
    ----------
    path
        The folder, or a file of the series in it.
    series
        The ``uid`` of one of :func:`list_series`; needed when the folder holds several and ``path`` does not tell.

    Raises
    ------
    FormatError
        If there is no such series, several to choose from, or pixels that cannot be decoded.
    GeometryError
        If planes are missing, coincide or have no position.
    """
    found = _scan(path if path.is_dir() else path.parent)
    if series is not None:
        chosen = [item for item in found if item[0].uid == series]
    elif path.is_dir():
        chosen = found
    else:
        chosen = [item for item in found if any(frame.path == path for frame in item[1].frames)]
    if not chosen and series is None:
        raise FormatError(
            f"{path.name} is not an image that can be stacked (a report, a segmentation object or a plan); convert "
            "segmentation objects to NIfTI or NRRD first."
        )
    if len(chosen) != 1:
        offer = "; ".join(str(item[0]) for item in chosen or found)
        problem = f"has no series {series!r}" if series is not None else f"holds {len(chosen)} series"
        raise FormatError(
            f"{path} {problem}; choose one of these by its identifier (series=..., or open one of its files): {offer}."
        )
    about, stack = chosen[0]
    frames, affine, notes = stacked(stack.frames, about.description or path.name)
    array = _voxels(frames)
    return Volume(
        array,
        affine,
        name=about.description or path.name,
        extra_axis="channel" if array.ndim == 4 else None,
        history=notes,
        metadata={"dicom": {"SeriesInstanceUID": stack.uid, "Modality": stack.modality}},
    )


def _scan(folder: Path) -> list[tuple[Series, _Stack]]:
    if not folder.is_dir():
        raise FormatError(f"There is no folder {folder}; choose the folder that holds the DICOM files.")
    stacks: list[_Stack] = []
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        try:
            header = _header(path)
            if header is not None and header.get("Modality") != _SEGMENTATION:
                _sort_in(stacks, header, path)
        except _damage() as error:
            raise FormatError(
                f"The header of {path.name} is damaged ({error}); fetch the file again or take it out of the folder."
            ) from error
    if not stacks:
        raise FormatError(f"{folder} holds no DICOM images; choose the folder in which the slices themselves lie.")
    uids = [stack.uid for stack in stacks]
    found = []
    for at, stack in enumerate(stacks):
        number = f"#{uids[: at + 1].count(stack.uid)}" if uids.count(stack.uid) > 1 else ""
        found.append((stack.series(f"{stack.uid}{number}"), stack))
    return found


def _header(path: Path) -> Dataset | None:
    """The header of a DICOM image; None for any other file."""
    import pydicom

    marked = is_dicom(path)
    if not marked and path.suffix.lower() not in _SUFFIXES:
        return None
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS), force=True)
        return header if header.get("Rows") and header.get("Columns") else None
    except _damage():
        # Without the magic bytes only the name says DICOM, which is not enough to call the file damaged.
        if marked:
            raise
        return None


def _damage() -> tuple[type[Exception], ...]:
    """What pydicom raises on damaged files; values are converted when they are looked at, so there are many ways."""
    from pydicom.errors import BytesLengthException

    python = (AttributeError, EOFError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)
    return (*python, struct.error, BytesLengthException)


def _sort_in(stacks: list[_Stack], header: Dataset, path: Path) -> None:
    uid = str(header.get("SeriesInstanceUID") or "unnamed")
    size = (int(header.Columns), int(header.Rows))
    for frame in frames_of(header, path):
        for stack in stacks:
            if (stack.uid, stack.size) == (uid, size) and stack.frames[0].parallel(frame):
                break
        else:
            stack = _Stack(uid, str(header.get("SeriesDescription") or ""), str(header.get("Modality") or ""), size)
            stacks.append(stack)
        stack.frames.append(frame)


def _voxels(frames: Sequence[Frame]) -> npt.NDArray[Any]:
    """Array [column, row, plane] or [column, row, plane, channel] of rescaled values."""
    path: Path | None = None
    raw: npt.NDArray[Any] | None = None
    scales = []
    for n, frame in enumerate(frames):
        if frame.path != path:
            path = frame.path
            planes, scaled = _decoded(path)
        scales.append((1.0, 0.0) if scaled else (frame.slope, frame.intercept))
        plane = planes[frame.index]
        if raw is None:
            raw = np.empty((len(frames), *plane.shape), plane.dtype)
        elif plane.shape != raw.shape[1:]:
            raise FormatError(f"The planes of a series have one shape, but {path.name} has {plane.shape}.")
        elif not np.can_cast(plane.dtype, raw.dtype):
            raw = raw.astype(np.promote_types(raw.dtype, plane.dtype))
        raw[n] = plane
    assert raw is not None
    return _scaled(raw, scales).transpose(2, 1, 0, *range(3, raw.ndim))


def _scaled(raw: npt.NDArray[Any], scales: Sequence[tuple[float, float]]) -> npt.NDArray[Any]:
    if len(set(scales)) == 1 and all(float(number).is_integer() for number in scales[0]):
        return rescaled(raw, *scales[0])
    out = raw.astype(np.float32 if raw.dtype.itemsize <= 2 else np.float64)
    for plane, (slope, intercept) in zip(out, scales, strict=True):
        plane *= slope
        plane += intercept
    return out


def _decoded(path: Path) -> tuple[npt.NDArray[Any], bool]:
    """All planes of a file, shape (planes, rows, columns) or with channels behind, and whether they are rescaled."""
    import pydicom

    compressed = False
    try:
        dataset = pydicom.dcmread(path, force=True)
        syntax = dataset.file_meta.get("TransferSyntaxUID") if "file_meta" in dataset.__dict__ else None
        compressed = syntax is not None and syntax.is_transfer_syntax and syntax.is_compressed
        channels = int(dataset.get("SamplesPerPixel") or 1) > 1
        pixels, scaled = dataset.pixel_array, False
    except _damage() as error:
        if not compressed:
            raise FormatError(f"The pixels of {path.name} are damaged ({error}); fetch the file again.") from error
        pixels, scaled = _decoded_by_gdcm(path), True
    return pixels.reshape(-1, *pixels.shape[-3 if channels else -2 :]), scaled


def _decoded_by_gdcm(path: Path) -> npt.NDArray[Any]:
    """The pixels as ITK's DICOM reader gives them, rescaled already."""
    import SimpleITK

    try:
        return np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path), imageIO="GDCMImageIO")))
    except RuntimeError as error:
        raise FormatError(
            f"The compressed pixels of {path.name} cannot be decoded; decompress the series first, for example with "
            "dcmdjpeg or gdcmconv."
        ) from error
