"""Intensity windows: which grey values are worth seeing.

Owns the statistics of a volume's voxels, the windows that follow from them, and the one in which a volume opens. The
usual windows of computed tomography are offered only if the values can be Hounsfield units; the others fit any
modality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.volume import Volume

_SAMPLE = 200_000
_SMALL_SAMPLE = 60_000
_FIRST_PERCENTILES = (0.5, 99.8)
# From fat to dense bone, in Hounsfield units: how a CT opens.
_FIRST_CT = (-200.0, 500.0)
# Level and width in Hounsfield units.
_CT = {
    "soft tissue": (40, 400),
    "lung": (-600, 1500),
    "bone": (400, 1800),
    "brain": (40, 80),
    "liver": (60, 160),
    "mediastinum": (50, 350),
}


@dataclass(frozen=True)
class Statistics:
    """What is known of a volume's voxels.

    Parameters
    ----------
    low, high
        Smallest and largest finite value; None if there is no finite one.
    percentile_1, percentile_99
        Of a sample of the finite voxels.
    finite
        Whether every voxel is a finite number.
    """

    low: float | None
    high: float | None
    percentile_1: float = 0.0
    percentile_99: float = 0.0
    finite: bool = True


@dataclass(frozen=True)
class Window:
    """A range of grey values to show."""

    name: str
    low: float
    high: float


def statistics(volume: Volume) -> Job[Statistics]:
    """Job that looks at every voxel, one plane at a time."""
    depth = volume.array.shape[2]
    low, high, finite = np.inf, -np.inf, True
    samples = []
    step = max(1, int(np.prod(volume.array.shape)) // _SAMPLE)
    for k in range(depth):
        values = np.asarray(volume.array[:, :, k]).ravel(order="K")
        if values.dtype.kind == "f":
            usable = values[np.isfinite(values)]
            finite &= len(usable) == len(values)
            values = usable
        if len(values):
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            samples.append(values[k % step :: step])
        yield Progress(k + 1, depth, "looking at the voxels")
    sample = np.concatenate(samples) if samples else np.empty(0)
    if low > high:
        return Statistics(None, None, finite=False)
    first, last = np.percentile(sample, (1, 99)) if len(sample) else (low, high)
    return Statistics(low, high, float(first), float(last), finite)


def hounsfield(volume: Volume, known: Statistics) -> bool:
    """Whether the values can be Hounsfield units: the file says CT, or they reach from air to bone and not beyond."""
    dicom: dict[str, Any] = volume.metadata.get("dicom", {})
    if modality := dicom.get("Modality"):
        return bool(modality == "CT")
    if known.low is None or known.high is None:
        return False
    return -4096 <= known.low <= -900 and 200 <= known.high <= 32767


def windows(volume: Volume, known: Statistics) -> list[Window]:
    """The windows to offer, most useful first; none for a constant volume."""
    if known.low is None or known.high is None or known.low == known.high:
        return []
    general = [Window("full range", known.low, known.high)]
    if known.percentile_1 < known.percentile_99:
        general.insert(0, Window("1st to 99th percentile", known.percentile_1, known.percentile_99))
    if not hounsfield(volume, known):
        return general
    ct = [Window(f"CT {name}", level - width / 2, level + width / 2) for name, (level, width) in _CT.items()]
    return ct + general


def first_window(volume: Volume) -> tuple[float, float] | None:
    """Grey values to show when a volume opens, from a small sample of its voxels; None leaves them to napari.

    A few bright voxels, of fat, vessels or metal, would otherwise leave everything else dark. Bytes are made for the
    screen and keep their full range; labels have none; voxels that are not in memory are not fetched.
    """
    array = volume.array
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf" or array.dtype.itemsize == 1:
        return None
    step = max(1, int((array.size / _SMALL_SAMPLE) ** (1 / 3)))
    sample = array[::step, ::step, ::step]
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    if not sample.size:
        return None
    if hounsfield(volume, Statistics(float(sample.min()), float(sample.max()))):
        return _FIRST_CT
    low, high = (float(x) for x in np.percentile(sample, _FIRST_PERCENTILES))
    return (low, high) if low < high else None
