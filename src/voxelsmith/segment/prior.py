"""The shape prior: what the painted outlines say about the slices between them, and how far to trust it.

Owns the interpolated signed distances of each class, the same with the painted slice itself left out (so that it can be
seen how wrong interpolation is), and the log-odds that fade with the distance from the nearest painted slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.segment.interpolation import interpolate, signed_distance
from voxelsmith.segment.zoom import FloatArray

Voxels: TypeAlias = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]
"""Indices of some voxels along N, A and B."""

_REACH_SHARE = 0.6
_REACH_PIXELS = 3.0
_CLIP_MM = 30.0


class Prior:
    """Interpolated shapes on a working grid with the slices first.

    Parameters
    ----------
    labels : integer array, shape (N, A, B)
        Label value of each painted voxel.
    values
        Label values of the C classes.
    complete
        For each class, the rows in which all of it was painted; a class with none has no prior.
    spacing
        Size of a working voxel along N, A and B in millimetres.
    width
        Distance from the outline, in pixels, at which its odds are e to one in a painted slice.
    fading
        Millimetres by which that grows for each millimetre from the nearest painted slice.
    lean
        What is taken from the log-odds of the background everywhere.

    Attributes
    ----------
    fading : float
        May be changed; the odds follow.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.integer[Any]],
        values: Sequence[int],
        complete: Sequence[Sequence[int]],
        spacing: Sequence[float],
        width: float,
        fading: float,
        lean: float = 0.0,
    ) -> None:
        rows = range(len(labels))
        shape = (len(values), *labels.shape)
        self.distance = np.zeros(shape, dtype=np.float32)
        self.held_out = self.distance
        self.fading, self._lean = fading, lean
        self._width = width * min(spacing[1:])
        # Millimetres to the nearest painted slice, and to the nearest other one.
        self._gap, self._gap_held_out = np.zeros((2, len(values), len(labels)), dtype=np.float32)
        self._reach = np.full((len(values), 1), np.inf, dtype=np.float32)
        self.known = np.array([bool(drawn) for drawn in complete])
        # A class painted in one slice has no shape left when that slice is left out.
        self.can_hold_out = bool(self.known.any()) and all(len(drawn) != 1 for drawn in complete)
        thickness, pixel = spacing[0], min(spacing[1:])
        if self.can_hold_out:
            self.held_out = self.distance.copy()
        for channel, (value, painted) in enumerate(zip(values, complete, strict=True)):
            if not painted:
                continue
            outlines = {row: signed_distance(labels[row] == value, spacing[1:]) for row in painted}
            self.distance[channel] = interpolate(outlines, rows, thickness)
            if self.can_hold_out:
                self.held_out[channel] = self.distance[channel]
            gap = np.abs(np.subtract.outer(np.array(painted), np.arange(len(labels)))).min(axis=0) * thickness
            self._gap[channel] = self._gap_held_out[channel] = gap
            for row in painted if self.can_hold_out else ():
                others = {r: d for r, d in outlines.items() if r != row}
                self.held_out[channel, row] = interpolate(others, [row], thickness)[0]
                self._gap_held_out[channel, row] = thickness * min(abs(row - r) for r in others)
            area = max(int((labels[row] == value).sum()) for row in painted) * spacing[1] * spacing[2]
            self._reach[channel] = max(_REACH_SHARE * np.sqrt(area / np.pi), _REACH_PIXELS * pixel)

    def near_each(self, row: int, times: float = 1.0) -> npt.NDArray[np.bool_]:
        """Pixels of a row that may belong to each class: within its reach, which grows with the gap; (C, A, B)."""
        reach = times * (self._reach + self._gap)[:, row, None, None]
        return np.asarray(self.distance[:, row] > -reach)

    def near(self, row: int) -> npt.NDArray[np.bool_]:
        """Pixels of a row that may belong to any class; shape (A, B)."""
        return np.asarray(self.near_each(row).any(axis=0))

    def rows_near(self, channel: int) -> npt.NDArray[np.bool_]:
        """Rows with pixels that may belong to a class; shape (N,)."""
        reach = (self._reach[channel] + self._gap[channel])[:, None, None]
        return np.asarray((self.distance[channel] > -reach).any(axis=(1, 2)))

    def feature(self, at: Voxels, held_out: bool) -> FloatArray:
        """Distances of some voxels to each class, clipped; shape (number of voxels, C)."""
        source = self.held_out if held_out else self.distance
        clipped: FloatArray = np.clip(source[:, at[0], at[1], at[2]], -_CLIP_MM, _CLIP_MM).T
        return clipped

    def log_odds(self, row: int, pixels: npt.NDArray[np.bool_], held_out: bool = False) -> FloatArray:
        """What the prior adds to the log-probabilities of background and classes; shape (number of pixels, 1 + C)."""
        distance, gap = (self.held_out, self._gap_held_out) if held_out else (self.distance, self._gap)
        wide = self._width + self.fading * gap[:, row, None]
        towards = (distance[:, row][:, pixels] / (2 * wide)).T
        nearest = towards[:, self.known].max(axis=1, keepdims=True) if self.known.any() else np.zeros((len(towards), 1))
        odds: FloatArray = np.concatenate([-nearest - self._lean, towards], axis=1).astype(np.float32)
        return odds

    def interpolated(self, row: int) -> npt.NDArray[np.intp]:
        """Channel + 1 of the class that shapes alone give each pixel of a row, 0 for background; shape (A, B)."""
        best: npt.NDArray[np.intp] = np.argmax(self.distance[:, row], axis=0)
        inside = self.distance[:, row].max(axis=0) > 0
        return np.where(inside, best + 1, 0)
