"""Plan: how an image becomes what a network trained in the application sees, and where its answer belongs.

Owns the working grid, the scale of brightness, the channels of a slice or a block, and the classes. Training and
prediction both go through here, so that they cannot differ; a plan travels in the checkpoint as plain values. Working
arrays have the axis along which slices are counted first: (D, A, B).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.core.prompts import Box, Grid
from voxelsmith.core.resample import reorient
from voxelsmith.core.support import SupportExample
from voxelsmith.core.volume import Volume
from voxelsmith.segment.zoom import FloatArray, Region, as_float32

Dims = Literal["2d", "2.5d", "3d"]
Vector = tuple[float, float, float]
Target = npt.NDArray[np.int16]

UNKNOWN = -1
"""Class index of voxels about which the annotation says nothing."""

_CT_AIR = -200.0
_PERCENTILES = (0.5, 99.5)
_SAMPLED = 2_000_000
_MARGIN = 1.0
_CLIP = 2.0
_COARSER = 1.2


@dataclass(frozen=True)
class Normalisation:
    """How brightness is scaled.

    Parameters
    ----------
    low, high
        Values that become -1 and 1. None if every image is scaled by its own 0.5th and 99.5th percentile, as where
        numbers mean nothing from one image to the next.
    """

    low: float | None = None
    high: float | None = None

    @classmethod
    def fitting(cls, images: Sequence[npt.NDArray[Any]], inside: Sequence[npt.NDArray[np.bool_]]) -> Normalisation:
        """A window around what was annotated, if all images have Hounsfield-like values; otherwise image by image.

        Parameters
        ----------
        images : arrays, of equal or different shapes
            The images.
        inside : bool arrays of the same shapes
            Where something is annotated.
        """
        marked = [as_float32(image[mask]) for image, mask in zip(images, inside, strict=True)]
        values = np.concatenate(marked) if marked else np.empty(0, np.float32)
        values = values[np.isfinite(values)]
        absolute = all(float(np.nanmin(image)) <= _CT_AIR for image in images)
        if not absolute or not len(values):
            return cls()
        low, high = (float(v) for v in np.percentile(values, _PERCENTILES))
        margin = _MARGIN * max(high - low, 1.0)
        return cls(low - margin, high + margin)

    def apply(self, image: npt.NDArray[Any]) -> FloatArray:
        """Scaled brightness, -2 to 2; what is not finite becomes the darkest value.

        Raises
        ------
        InputError
            If the image is constant, or holds no finite value.
        """
        values = as_float32(image)
        bad = ~np.isfinite(values)
        finite = values[~bad] if bad.any() else values
        if not finite.size or float(finite.min()) == float(finite.max()):
            raise InputError("The image is constant or holds no finite value; there is nothing to learn or find in it.")
        low, high = self.low, self.high
        if low is None or high is None:
            step = max(1, finite.size // _SAMPLED)
            low, high = (float(v) for v in np.percentile(finite.ravel()[::step], _PERCENTILES))
            if low == high:
                low, high = float(finite.min()), float(finite.max())
        scaled: FloatArray = np.clip((values - low) * np.float32(2 / (high - low)) - 1, -_CLIP, _CLIP)
        scaled[bad] = -_CLIP
        return scaled


@dataclass(frozen=True)
class Plan:
    """What a network was trained on.

    Parameters
    ----------
    dims
        "2d" takes a slice, "2.5d" a slice with its neighbours as channels, "3d" a block.
    axis
        Array axis along which slices are counted, in the orientation ``axcodes``.
    axcodes
        Orientation of the images that it was trained on, such as "RAS".
    spacing
        Voxel size of the working grid along i, j and k in millimetres.
    patch
        Working voxels that one sample covers along (D, A, B).
    classes
        Label values, ascending; channel n + 1 of the network is class n, channel 0 the background.
    names
        What the classes are called.
    normalisation
        Scale of brightness.
    neighbours
        Slices on each side that are channels too; 0 but for "2.5d".
    coordinates
        Whether three channels tell where a voxel lies in its image, from -1 to 1 along each axis.
    activation
        "softmax" over all channels, or "sigmoid" for each of them by itself.
    """

    dims: Dims
    axis: int
    axcodes: str
    spacing: Vector
    patch: Grid
    classes: tuple[int, ...]
    names: tuple[str, ...]
    normalisation: Normalisation
    neighbours: int = 0
    coordinates: bool = False
    activation: Literal["softmax", "sigmoid"] = "softmax"

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return 1 + 2 * self.neighbours + 3 * self.coordinates

    @property
    def ordered_spacing(self) -> Vector:
        """Voxel size of the working grid along (D, A, B) in millimetres."""
        return self._ordered(self.spacing)

    @property
    def order(self) -> tuple[int, int, int]:
        """The array axes in the order of working arrays, the axis of slices first."""
        a, b = (axis for axis in range(3) if axis != self.axis)
        return self.axis, a, b

    def record(self) -> dict[str, Any]:
        """Plain values, as a checkpoint or JSON holds them."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Plan:
        """From what :meth:`record` gave, also by way of JSON."""
        tuples = {name: tuple(record[name]) for name in ("spacing", "patch", "classes", "names")}
        return cls(**{**record, **tuples, "normalisation": Normalisation(**record["normalisation"])})

    def oriented(self, volume: Volume) -> Volume:
        """A volume turned to the orientation that the network knows; exact, no copy."""
        return reorient(volume, self.axcodes)

    def region(self, volume: Volume) -> Region:
        """The working grid over an oriented volume; no axis is finer than the volume."""
        shape, size = np.array(volume.grid), volume.spacing
        wanted = np.round(shape * size / np.array(self.spacing))
        if self.dims != "3d":
            wanted[self.axis] = shape[self.axis]
        i, j, k = (int(n) for n in np.clip(wanted, 1, shape))
        factors = shape / np.array((i, j, k))
        return Region(Box((0, 0, 0), tuple((shape - 1).tolist())), (i, j, k), factors, size * factors)

    def working(self, volume: Volume, region: Region) -> FloatArray:
        """An oriented volume on its working grid, scaled: float32 (D, A, B)."""
        averaged = region.shrink(np.asarray(volume.array))
        return np.ascontiguousarray(np.moveaxis(self.normalisation.apply(averaged), self.axis, 0))

    def back(self, working: FloatArray) -> FloatArray:
        """A view of a working array (D, A, B) in the volume's order of axes."""
        return np.moveaxis(working, 0, self.axis)

    def along(self, region: Region) -> Vector:
        """Voxel size of an image's working grid along (D, A, B) in millimetres."""
        return self._ordered(region.spacing)

    def target(self, example: SupportExample, region: Region) -> Target:
        """Class indices on the working grid (D, A, B), from the voxel in the middle of each working voxel.

        Where an example did not look for all classes, its unlabelled voxels are :data:`UNKNOWN`.
        """
        labels = np.asarray(example.labels.array)
        native = np.full(example.image.grid, UNKNOWN, np.int16)
        if example.classes >= set(self.classes):
            native[example.index] = 0
        for index, value in enumerate(self.classes, 1):
            native[labels == value] = index
        if example.ignored is not None:
            native[example.ignored] = UNKNOWN
        turned = np.asarray(self.oriented(Volume(native, example.image.affine)).array)
        places = [
            np.floor((np.arange(n) + 0.5) * f).astype(np.intp) for n, f in zip(region.grid, region.factors, strict=True)
        ]
        # Thin slices may share a row; the annotated one of them counts.
        known = np.flatnonzero((turned != UNKNOWN).any(axis=self.order[1:]))
        places[self.axis][np.floor(known / region.factors[self.axis]).astype(np.intp)] = known
        return np.ascontiguousarray(np.moveaxis(turned[np.ix_(*places)], self.axis, 0))

    def slice_channels(self, working: FloatArray, number: int) -> FloatArray:
        """What a 2-D network sees of a slice: float32 (channels, A, B)."""
        near = np.clip(np.arange(number - self.neighbours, number + self.neighbours + 1), 0, len(working) - 1)
        planes = working[near]
        if not self.coordinates:
            return planes
        return np.concatenate([planes, self._places(working.shape, slice(number, number + 1))[:, 0]])

    def block_channels(self, working: FloatArray, start: int, stop: int) -> FloatArray:
        """What a 3-D network sees of some slices: float32 (channels, D, A, B)."""
        block = working[None, start:stop]
        if not self.coordinates:
            return block
        return np.concatenate([block, self._places(working.shape, slice(start, stop))])

    def _ordered(self, sizes: Sequence[float] | npt.NDArray[Any]) -> Vector:
        d, a, b = (float(sizes[axis]) for axis in self.order)
        return d, a, b

    def _places(self, shape: Sequence[int], rows: slice) -> FloatArray:
        axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape]
        axes[0] = axes[0][rows]
        return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)

    def caution(self, volume: Volume) -> str:
        """What the user should know about an oriented volume's voxels, in a sentence; empty if they fit."""
        region = self.region(volume)
        ratio = region.spacing / np.array(self.spacing)
        across = [axis for axis in range(3) if axis != self.axis or self.dims != "2d"]
        worst = max(across, key=lambda axis: abs(np.log(ratio[axis])))
        if max(ratio[worst], 1 / ratio[worst]) < _COARSER:
            return ""
        here, there = (" x ".join(f"{s:.3g}" for s in sizes) for sizes in (region.spacing, self.spacing))
        return (
            f"The model was trained on voxels of {there} mm and this image gives {here} mm; look twice at the result, "
            "or train on an image like this one."
        )
