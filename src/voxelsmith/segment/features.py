"""Features: what frozen encoders say about every voxel.

Owns the encoder interface of the few-shot engines, the encoder that needs no weights, and the cache on disk that keeps
features by the content of the image. The hand-made features are those of interactive pixel classifiers (Sommer et al.,
ilastik, ISBI 2011; Arganda-Carreras et al., Trainable Weka Segmentation, Bioinformatics 2017) in three dimensions, at
scales in millimetres: smoothed brightness, gradient, Laplacian, local deviation and the structure tensor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.errors import InputError, ResourceError
from voxelsmith.core.volume import Volume
from voxelsmith.io.atomic import replacing
from voxelsmith.segment.zoom import FloatArray, as_float32
from voxelsmith.weights import cache

HalfArray: TypeAlias = npt.NDArray[np.float16]
_TRUNCATE = 3.0
_STRUCTURE_SCALE = 1.5
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
_BEYOND = 0.5


class Encoder(Protocol):
    """Turns slices of a volume into feature maps."""

    @property
    def name(self) -> str:
        """Names the encoder and everything that its features depend on; part of the key in the cache."""

    def features(self, volume: Volume, slices: Sequence[int], axis: int = 2) -> HalfArray:
        """Features of some slices of a 3-D volume.

        Parameters
        ----------
        volume
            Shape (I, J, K).
        slices
            Which slices, along ``axis``, in the order that is wanted.
        axis
            Array axis, 0 to 2.

        Returns
        -------
        float16 array, shape (C, len(slices), A, B)
            A and B are the volume's other two axes, in their order. They may be fewer than the volume has pixels.
        """


def brightness_window(volume: Volume) -> tuple[float, float]:
    """The first and the ninety-ninth percentile of the finite voxels; InputError if they hardly differ."""
    array = np.asarray(volume.array)
    step = max(1, round((array.size / 2e5) ** (1 / 3)))
    values = as_float32(array[::step, ::step, ::step])
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, [1, 99]) if values.size else (0.0, 0.0)
    if not high > low:
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not high > low:
        raise InputError(f"{volume.name!r} has one brightness everywhere, so nothing can be told apart in it.")
    return float(low), float(high)


@dataclass(frozen=True)
class HandMadeEncoder:
    """Multi-scale filters; no weights.

    Parameters
    ----------
    scales
        Standard deviations of the Gaussians, in units of the smallest voxel edge.
    structured
        Of these, the scales with eigenvalues of the structure tensor.
    window
        Brightness that becomes 0 and 1; by default the first and ninety-ninth percentile of the volume.
    """

    scales: tuple[float, ...] = (1.0, 2.0, 4.0)
    structured: tuple[float, ...] = (1.0,)
    window: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        return f"hand-made-1 {self.scales} {self.structured} {self.window}"

    @property
    def channels(self) -> int:
        """Number of features a voxel."""
        return 1 + 7 * len(self.scales) + 3 * len(self.structured)

    def features(self, volume: Volume, slices: Sequence[int], axis: int = 2) -> HalfArray:
        """See :meth:`Encoder.features`; A and B are those of the volume."""
        low, high = self.window or brightness_window(volume)
        stack = np.moveaxis(np.asarray(volume.array), axis, 0)
        spacing = np.array([volume.spacing[axis], *np.delete(volume.spacing, axis)])
        out = np.empty((self.channels, len(slices), *stack.shape[1:]), dtype=np.float16)
        unit = float(spacing.min())
        widest = max([*self.scales, *((1 + _STRUCTURE_SCALE) * scale for scale in self.structured)])
        reach = int(np.ceil(_TRUNCATE * widest * unit / spacing[0])) + 3
        for first, last in _runs(slices, 2 * reach):
            begin, end = max(0, first - reach), min(len(stack), last + reach + 1)
            block = as_float32(stack[begin:end])
            level = np.clip((np.where(np.isfinite(block), block, low) - low) / (high - low), -_BEYOND, 1 + _BEYOND)
            rows = [row for row, at in enumerate(slices) if first <= at <= last]
            wanted = [slices[row] - begin for row in rows]
            for channel, values in enumerate(self._filtered(level.astype(np.float32), spacing, unit)):
                out[channel, rows] = values[wanted]
        return out

    def _filtered(self, level: FloatArray, spacing: npt.NDArray[np.float64], unit: float) -> Iterator[FloatArray]:
        yield level
        for scale in self.scales:
            width = scale * unit / spacing
            smooth = _gaussian(level, width)
            yield smooth
            slopes = [_slope(smooth, axis) * np.float32(width[axis]) for axis in range(3)]
            yield from slopes
            yield np.sqrt(slopes[0] ** 2 + slopes[1] ** 2 + slopes[2] ** 2)
            yield sum((_slope(s, a) * np.float32(width[a]) for a, s in enumerate(slopes)), np.zeros_like(smooth))
            yield np.sqrt(np.maximum(_gaussian(level**2, width) - smooth**2, 0))
            if scale in self.structured:
                yield from _structure(slopes, _STRUCTURE_SCALE * width)


def _runs(slices: Sequence[int], gap: int) -> Iterator[tuple[int, int]]:
    """First and last of each run of slices that are nearer than ``gap`` to the next."""
    ordered = np.unique(slices)
    breaks = np.flatnonzero(np.diff(ordered) > gap) + 1
    for run in np.split(ordered, breaks):
        if run.size:
            yield int(run[0]), int(run[-1])


def _gaussian(array: FloatArray, width: npt.NDArray[np.float64]) -> FloatArray:
    smooth: FloatArray = ndimage.gaussian_filter(array, width, mode="nearest", truncate=_TRUNCATE)
    return smooth


def _slope(array: FloatArray, axis: int) -> FloatArray:
    """Change for one voxel along an axis; 0 along an axis of one voxel."""
    if array.shape[axis] == 1:
        return np.zeros_like(array)
    slope: FloatArray = np.gradient(array, axis=axis)
    return slope


def _structure(slopes: list[FloatArray], width: npt.NDArray[np.float64]) -> Iterator[FloatArray]:
    """Eigenvalues of the smoothed structure tensor, the largest first (closed form for symmetric 3x3 matrices)."""
    a, d, e, b, f, c = (_gaussian(slopes[x] * slopes[y], width) for x, y in _PAIRS)
    mean = (a + b + c) / 3
    spread = np.sqrt(
        np.maximum(((a - mean) ** 2 + (b - mean) ** 2 + (c - mean) ** 2 + 2 * (d**2 + e**2 + f**2)) / 6, 0)
    )
    tiny = np.finfo(np.float32).tiny
    x, y, z = a - mean, b - mean, c - mean
    determinant = x * (y * z - f**2) - d * (d * z - f * e) + e * (d * f - y * e)
    angle = np.arccos(np.clip(determinant / np.maximum(2 * spread**3, tiny), -1, 1)) / 3
    largest = mean + 2 * spread * np.cos(angle)
    smallest = mean + 2 * spread * np.cos(angle + np.float32(2 * np.pi / 3))
    yield largest
    yield 3 * mean - largest - smallest
    yield smallest


@dataclass(frozen=True)
class CachedEncoder:
    """An encoder whose features are kept on disk, one file a slice, by what the image contains.

    The files lie in ``features`` in the cache folder of :mod:`voxelsmith.weights.cache`; the oldest make room. A disk
    that refuses costs time, not the answer.

    Parameters
    ----------
    encoder
        Computes what is not there.
    most
        Bytes that all files together may have.
    """

    encoder: Encoder
    most: int = 2 * 2**30

    @property
    def name(self) -> str:
        return self.encoder.name

    def features(self, volume: Volume, slices: Sequence[int], axis: int = 2) -> HalfArray:
        """See :meth:`Encoder.features`."""
        folder = self._folder(volume, axis)
        known = {at: stored for at in slices if (stored := _stored(folder / f"{at}.npy")) is not None}
        missing = [at for at in dict.fromkeys(slices) if at not in known]
        if missing:
            fresh = self.encoder.features(volume, missing, axis)
            known |= {at: fresh[:, row] for row, at in enumerate(missing)}
            with suppress(ResourceError, OSError):
                folder.mkdir(parents=True, exist_ok=True)
                for at in missing:
                    with replacing(folder / f"{at}.npy") as temporary, temporary.open("wb") as stream:
                        np.save(stream, known[at])
                _make_room(folder.parent, self.most)
        return np.stack([known[at] for at in slices], axis=1)

    def _folder(self, volume: Volume, axis: int) -> Path:
        key = hashlib.blake2b(f"{self.name} {volume.fingerprint()} {axis}".encode(), digest_size=16).hexdigest()
        return cache.folder() / "features" / key


def _stored(file: Path) -> HalfArray | None:
    """The features in a file; None if it is missing or damaged."""
    try:
        stored: HalfArray = np.load(file)
    except (OSError, ValueError, EOFError):
        return None
    return stored if stored.dtype == np.float16 and stored.ndim == 3 else None


def _make_room(folder: Path, most: int) -> None:
    """Delete the files that were written first until the rest takes no more than ``most`` bytes."""
    files = sorted(((f, f.stat()) for f in folder.glob("*/*.npy")), key=lambda pair: pair[1].st_mtime_ns)
    excess = sum(status.st_size for _, status in files) - most
    for file, status in files:
        if excess <= 0:
            return
        file.unlink(missing_ok=True)
        excess -= status.st_size
