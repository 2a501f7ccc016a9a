"""DICOM geometry: where each image plane lies and how planes make a volume.

Owns the reading of positions, orientations, sizes and rescaling from DICOM headers, for one plane a file and for
enhanced multi-frame files, and the check that the planes of a series are evenly spaced. Planes are sorted along the
normal of the image plane, whatever their file names and numbers say. A tilted gantry is kept as it is: the affine is
sheared then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import GeometryError

if TYPE_CHECKING:
    from pydicom import Dataset

_UNEVEN_SHARE = 0.05
_UNEVEN_MM = 0.02
_TILT_DEGREES = 0.1
_MOST_FRAMES = 2**16


@dataclass(frozen=True, eq=False)
class Frame:
    """One image plane.

    Parameters
    ----------
    path, index
        The file, and the number of the plane in it.
    position : shape (3,) or None
        LPS millimetres of the centre of the first pixel.
    orientation : shape (2, 3) or None
        Unit vectors in LPS along which the column index and the row index grow.
    pixel_size : shape (2,) or None
        Millimetres between columns and between rows.
    thickness
        Millimetres from plane to plane that the header announces; None if it does not.
    slope, intercept
        What stored values are to be scaled with.
    """

    path: Path
    index: int
    position: npt.NDArray[np.float64] | None
    orientation: npt.NDArray[np.float64] | None
    pixel_size: npt.NDArray[np.float64] | None
    thickness: float | None
    slope: float
    intercept: float

    def parallel(self, other: Frame) -> bool:
        """Whether both planes have the same orientation (or none)."""
        if self.orientation is None or other.orientation is None:
            return self.orientation is other.orientation
        return np.allclose(self.orientation, other.orientation, atol=1e-3)


def frames_of(dataset: Dataset, path: Path) -> list[Frame]:
    """The planes that a DICOM file holds, from its header; ValueError if it announces an absurd number of them."""
    count = int(dataset.get("NumberOfFrames") or 1)
    if not 1 <= count <= _MOST_FRAMES:
        raise ValueError(f"NumberOfFrames is {count}")
    return [_frame(dataset, path, index) for index in range(count)]


def _frame(dataset: Dataset, path: Path, index: int) -> Frame:
    groups = [dataset.get("SharedFunctionalGroupsSequence", [None])[0]]
    frames = dataset.get("PerFrameFunctionalGroupsSequence", [])
    groups += frames[index : index + 1]

    def value(group: str, keyword: str) -> Any:
        for holder in reversed(groups):
            items = holder.get(group) if holder is not None else None
            if items and items[0].get(keyword) is not None:
                return items[0].get(keyword)
        return dataset.get(keyword)

    def numbers(group: str, keyword: str, count: int) -> npt.NDArray[np.float64] | None:
        found = value(group, keyword)
        return np.array(found, dtype=np.float64) if found is not None and np.size(found) == count else None

    orientation = numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = numbers("PixelMeasuresSequence", "PixelSpacing", 2)
    if spacing is None:
        spacing = numbers("", "ImagerPixelSpacing", 2)
    between = value("PixelMeasuresSequence", "SpacingBetweenSlices")
    thickness = abs(float(between or value("PixelMeasuresSequence", "SliceThickness") or 0))
    slope = value("PixelValueTransformationSequence", "RescaleSlope")
    intercept = value("PixelValueTransformationSequence", "RescaleIntercept")
    return Frame(
        path,
        index,
        numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        None if orientation is None else orientation.reshape(2, 3),
        None if spacing is None else spacing[::-1],
        thickness or None,
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
    )


def stacked(frames: Sequence[Frame], name: str) -> tuple[list[Frame], Affine, tuple[str, ...]]:
    """Sort parallel planes into a volume.

    Returns
    -------
    frames
        In the order of the third axis.
    affine
        Of the array [column, row, plane].
    notes
        What had to be assumed.

    Raises
    ------
    GeometryError
        If planes have no position, coincide, are missing, or do not lie on one line.
    """
    first = frames[0]
    notes: list[str] = []
    size = np.ones(2) if first.pixel_size is None else first.pixel_size
    if not (size > 0).all():
        raise GeometryError(f"Pixel sizes are positive, but {name} says {size.tolist()} mm; export it again.")
    if first.pixel_size is None:
        notes.append("the files do not say the pixel size; 1 mm was taken")
    if first.position is None or first.orientation is None:
        if len(frames) > 1:
            raise GeometryError(
                f"The {len(frames)} planes of {name} need positions and orientations (ImagePositionPatient, "
                "ImageOrientationPatient) to make a volume, but have none; export them with their geometry."
            )
        notes.append("the file does not say where it lies; the origin was taken")
        position, along = np.zeros(3), np.eye(3)[:2]
    else:
        position, along = first.position, first.orientation
    if not np.allclose(along @ along.T, np.eye(2), atol=1e-3):
        raise GeometryError(f"Rows and columns of an image are at right angles, but {name} says {along.tolist()}.")
    normal = np.cross(*along)
    if len(frames) == 1:
        if first.thickness is None:
            notes.append("the file does not say the slice thickness; 1 mm was taken")
        ordered, step = list(frames), normal * (first.thickness or 1.0)
    else:
        ordered, position, step = _ordered(frames, normal, name)
        tilt = np.degrees(np.arccos(min(1.0, float(step @ normal / np.linalg.norm(step)))))
        if tilt > _TILT_DEGREES:
            notes.append(f"gantry tilt of {tilt:.1f} degrees kept as sheared axes")
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([along[0] * size[0], along[1] * size[1], step, position])
    return ordered, Affine.from_lps(matrix), tuple(notes)


def _ordered(
    frames: Sequence[Frame], normal: npt.NDArray[np.float64], name: str
) -> tuple[list[Frame], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The planes sorted along the normal, the position of the first and the step from one to the next."""
    placed = [(frame, frame.position) for frame in frames if frame.position is not None]
    if len(placed) < len(frames):
        raise GeometryError(f"{len(frames) - len(placed)} planes of {name} have no position; export the series again.")
    placed.sort(key=lambda item: float(item[1] @ normal))
    positions = np.array([position for _, position in placed])
    heights = positions @ normal
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    tolerance = max(_UNEVEN_SHARE * usual, _UNEVEN_MM)
    if gaps.min() < _UNEVEN_MM:
        at = int(np.argmin(gaps))
        raise GeometryError(
            f"Every plane of a volume has a place of its own, but {placed[at][0].path.name} and "
            f"{placed[at + 1][0].path.name} of {name} share one; remove copies, or split time points and echoes first."
        )
    if np.abs(gaps - usual).max() > tolerance:
        at = int(np.argmax(np.abs(gaps - usual)))
        raise GeometryError(
            f"The planes of {name} are {usual:.3f} mm apart, but between {placed[at][0].path.name} (at "
            f"{heights[at]:.2f} mm) and {placed[at + 1][0].path.name} (at {heights[at + 1]:.2f} mm) the gap is "
            f"{gaps[at]:.3f} mm: planes are missing or unevenly spaced; fetch the whole series."
        )
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    expected = positions[0] + np.arange(len(positions))[:, None] * step
    if np.abs(expected - positions).max() > tolerance * 2:
        raise GeometryError(f"The planes of {name} do not lie behind one another on a straight line; split the series.")
    return [frame for frame, _ in placed], positions[0], step
