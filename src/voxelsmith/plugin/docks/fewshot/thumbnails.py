"""Thumbnails: small pictures of support examples.

Owns which slice stands for an example, how it is turned so that a physician reads it (head or front up, the patient's
right on the left), and how labels are laid over it in the colours of their classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine
from voxelsmith.core.support import Colour, SupportExample
from voxelsmith.plugin.windows import first_window

SIDE = 50
_OVERLAY = 0.55


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A slice of an example, small.

    Parameters
    ----------
    grey : uint8 array, shape (SIDE, SIDE)
        The image, black around it.
    labels : integer array, shape (SIDE, SIDE)
        Label values, 0 around it.
    """

    grey: npt.NDArray[np.uint8]
    labels: npt.NDArray[Any]

    def picture(self, colours: Mapping[int, Colour]) -> npt.NDArray[np.uint8]:
        """Red, green and blue, uint8, shape (SIDE, SIDE, 3), with labels in the colours of their values."""
        out = np.repeat(self.grey[..., None], 3, axis=2).astype(np.float32)
        for value, colour in colours.items():
            mask = self.labels == value
            out[mask] = (1 - _OVERLAY) * out[mask] + _OVERLAY * 255 * np.array(colour, np.float32)
        return out.astype(np.uint8)


def thumbnail(example: SupportExample) -> Thumbnail:
    """The slice of an example with the most labels, small."""
    axis = 2 if example.axis is None else example.axis
    others = tuple({0, 1, 2} - {axis})
    shown = range(example.image.grid[axis]) if example.slices is None else example.slices
    labels = np.asarray(example.labels.array)
    areas = [np.count_nonzero(np.take(labels, n, axis)) for n in shown]
    index = shown[int(np.argmax(areas)) if any(areas) else len(shown) // 2]
    plane = np.take(np.asarray(example.image.array), index, axis).astype(np.float32)
    window = first_window(example.image) or (float(np.nanmin(plane)), float(np.nanmax(plane)))
    at = _pixels(example.image.affine, plane.shape, others)
    return Thumbnail(_placed(_grey(plane, window), at), _placed(np.take(labels, index, axis), at))


def _grey(plane: npt.NDArray[np.float32], window: tuple[float, float]) -> npt.NDArray[np.uint8]:
    low, high = window
    scaled = (np.nan_to_num(plane, nan=low, posinf=high, neginf=low) - low) / max(high - low, 1e-12)
    grey: npt.NDArray[np.uint8] = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return grey


@dataclass(frozen=True, eq=False)
class _Pixels:
    """Which voxel each row and each column of the picture shows, and whether rows run along the second plane axis."""

    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]
    swapped: bool


def _pixels(affine: Affine, shape: tuple[int, ...], axes: tuple[int, ...]) -> _Pixels:
    """How a plane with these array axes is turned and sampled."""
    worlds = [affine.closest_axes[a] for a in axes]
    # Rows run along the body's long axis where the plane has it, else from front to back.
    swapped = worlds[1] > worlds[0]
    order = [1, 0] if swapped else [0, 1]
    extent = [shape[n] * float(affine.spacing[axes[n]]) for n in order]
    indices = []
    for n, length in zip(order, extent, strict=True):
        count = max(1, round(SIDE * length / max(extent)))
        index = ((np.arange(count) + 0.5) * shape[n] / count).astype(np.intp)
        forward = affine.axcodes[axes[n]] in "LPI"
        indices.append(index if forward else index[::-1])
    return _Pixels(indices[0], indices[1], swapped)


def _placed(plane: npt.NDArray[Any], at: _Pixels) -> npt.NDArray[Any]:
    """A plane sampled and put in the middle of a square."""
    turned = plane.T if at.swapped else plane
    small = turned[np.ix_(at.rows, at.columns)]
    out = np.zeros((SIDE, SIDE), plane.dtype)
    top, left = ((SIDE - n) // 2 for n in small.shape)
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out
