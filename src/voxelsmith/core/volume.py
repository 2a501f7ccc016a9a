"""Volume and LabelVolume: an array that knows where it lies.

Owns the pair array + :class:`~voxelsmith.core.affine.Affine` that every reader returns and every engine takes. Arrays
are indexed ``[i, j, k]`` as stored in the file; a fourth axis, last, is time or channel. A 2-D image is a volume of one
slice. Nothing here reorients.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import GeometryError, InputError

ExtraAxis: TypeAlias = Literal["time", "channel"]
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Volume:
    """Image data on a grid in space.

    Parameters
    ----------
    array : ndarray or dask array, shape (I, J, K) or (I, J, K, N)
        Voxel values as stored; may be lazy.
    affine
        Maps ``(i, j, k)`` to RAS millimetres.
    name
        Shown to the user.
    units
        The length unit that files of this volume prefer ("mm" or "um"); the affine is in millimetres either way.
    extra_axis
        What the fourth axis is; required for 4-D arrays, None for 3-D ones.
    history
        What was done to it, oldest first, one phrase each.
    metadata
        What the source file said beyond this (path, header); never needed to interpret the array.
    """

    array: npt.NDArray[Any]
    affine: Affine = field(default_factory=Affine.from_spacing)
    name: str = "volume"
    units: str = "mm"
    extra_axis: ExtraAxis | None = None
    history: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.array.ndim not in (3, 4):
            raise InputError(
                f"A volume has axes (i, j, k) and at most one more, got {self.array.ndim} axes of shape "
                f"{tuple(self.array.shape)}; select one time point or channel first."
            )
        if 0 in self.array.shape:
            raise InputError(f"A volume needs at least one voxel along each axis, got shape {tuple(self.array.shape)}.")
        if (self.array.ndim == 4) != (self.extra_axis is not None):
            raise InputError("A 4-D array needs extra_axis 'time' or 'channel', and a 3-D array has none.")

    @property
    def grid(self) -> tuple[int, int, int]:
        """Number of voxels along i, j and k."""
        i, j, k = self.array.shape[:3]
        return int(i), int(j), int(k)

    @property
    def spacing(self) -> npt.NDArray[np.float64]:
        """Voxel size along i, j and k in millimetres."""
        return self.affine.spacing

    def frame(self, index: int = 0) -> Volume:
        """One 3-D volume of a 4-D one; a 3-D volume returns itself."""
        if self.array.ndim == 3:
            return self
        if not 0 <= index < self.array.shape[3]:
            raise InputError(f"Frame {index} does not exist; the volume has {self.array.shape[3]} of them.")
        return replace(self, array=self.array[..., index], extra_axis=None)

    @property
    def is_colour(self) -> bool:
        """Whether it holds red, green and blue, with or without opacity."""
        return self.extra_axis == "channel" and self.array.shape[3] in (3, 4)

    def luminance(self) -> Volume:
        """The brightness of a colour volume (Rec. 709 weights, float32) as a 3-D one."""
        if not self.is_colour:
            raise InputError(f"Luminance needs three or four channels, got shape {tuple(self.array.shape)}.")
        grey = np.asarray(self.array)[..., :3].astype(np.float32) @ _LUMINANCE
        return replace(self, array=grey, extra_axis=None)

    def same_grid(self, other: Volume, tolerance_mm: float = 1e-3) -> bool:
        """Whether both have the same shape and lie on top of each other."""
        return self.grid == other.grid and self.affine.allclose(other.affine, tolerance_mm)

    def require_same_grid(self, other: Volume) -> None:
        """Raise GeometryError unless ``other`` lies on this grid."""
        if not self.same_grid(other):
            raise GeometryError(
                f"{other.name!r} must lie on the grid of {self.name!r} ({self.grid}, {self.affine!r}), but it has "
                f"{other.grid}, {other.affine!r}; resample it first."
            )

    def labels(
        self, array: npt.NDArray[Any], name: str = "labels", names: Mapping[int, str] | None = None
    ) -> LabelVolume:
        """Wrap a label array made on this volume's grid, keeping its affine, units and source header."""
        if tuple(array.shape) != self.grid:
            raise GeometryError(f"Labels on this grid have shape {self.grid}, got {tuple(array.shape)}.")
        return LabelVolume(
            array, self.affine, name=name, units=self.units, metadata=self.metadata, names=dict(names or {})
        )

    def fingerprint(self) -> str:
        """Hash of voxels, shape, type and affine: equal only for the same data."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(f"{self.array.shape}{self.array.dtype.str}".encode())
        digest.update(self.affine.matrix.tobytes())
        for plane in np.moveaxis(self.array, 2, 0):
            digest.update(np.ascontiguousarray(plane).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class LabelVolume(Volume):
    """Integer labels on a grid; 0 is background.

    Parameters
    ----------
    names
        What the label values stand for.
    """

    names: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.array.dtype.kind not in "iub":
            raise InputError(f"Labels are integers, got {self.array.dtype}; round or threshold them first.")

    def values(self) -> list[int]:
        """The labels that occur, ascending, without background."""
        return [int(v) for v in np.unique(self.array) if v != 0]

    def mask(self, label: int | None = None) -> npt.NDArray[np.bool_]:
        """Boolean mask of one label, or of everything but background."""
        return np.asarray(self.array != 0) if label is None else np.asarray(self.array == label)


def volume_text(cubic_mm: float) -> str:
    """A volume in the unit that suits its size: mL from 0.1 mL on, mm³ from a thousandth of one on, else µm³."""
    if cubic_mm >= 100:
        return f"{cubic_mm / 1000:,.4g} mL"
    return f"{cubic_mm:.4g} mm³" if cubic_mm >= 1e-3 else f"{cubic_mm * 1e9:,.4g} µm³"


def smallest_label_dtype(highest: int) -> np.dtype[np.unsignedinteger[Any]]:
    """The smallest unsigned type that holds labels up to ``highest``."""
    return np.min_scalar_type(max(int(highest), 1))
