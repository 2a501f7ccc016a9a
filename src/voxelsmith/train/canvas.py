"""Canvas: the map of tissues that shapes are painted on, one after the other.

Owns what a painted voxel remembers (its tissue), what a tissue remembers (its class, which decides about brightness and
texture, and whether it may be annotated), and the window arithmetic that keeps small shapes cheap.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from voxelsmith.train.noise import smooth_noise
from voxelsmith.train.sample import Field, Grid, Mask, Vector


class Window(NamedTuple):
    """A part of the grid: its slices, and the voxels' offsets from a centre in millimetres as an open grid."""

    slices: tuple[slice, slice, slice]
    offsets: tuple[Field, Field, Field]


@dataclass(eq=False)
class Canvas:
    """Tissues on a grid; 0 is unpainted.

    Parameters
    ----------
    spacing : array of float, shape (3,)
        Voxel size in millimetres.
    tissues : array of int16, shape (I, J, K)
        Which tissue was painted last.
    relief : array of float32, shape (I, J, K)
        Noise that makes surfaces uneven.
    classes
        The class of each tissue, by number; tissue 0 has class 0.
    hidden
        Tissues that are never annotated.
    """

    spacing: Vector
    tissues: npt.NDArray[np.int16]
    relief: Field
    classes: list[int] = field(default_factory=lambda: [0])
    hidden: set[int] = field(default_factory=set)

    @classmethod
    def blank(cls, rng: np.random.Generator, grid: Grid, spacing: npt.ArrayLike) -> Canvas:
        """An unpainted canvas whose relief has coarse and fine detail."""
        size = np.asarray(spacing, dtype=np.float64)
        span = float(np.prod(size * grid) ** (1 / 3))
        coarse = smooth_noise(rng, grid, size, span * rng.uniform(0.15, 0.4))
        relief = coarse + np.float32(rng.uniform(0.1, 0.5)) * smooth_noise(rng, grid, size, span * 0.07)
        return cls(size, np.zeros(grid, dtype=np.int16), relief)

    @property
    def grid(self) -> Grid:
        """Number of voxels along i, j and k."""
        i, j, k = self.tissues.shape
        return i, j, k

    @property
    def extent(self) -> Vector:
        """Size in millimetres along each axis."""
        return self.spacing * self.grid

    @property
    def span(self) -> float:
        """Edge of a cube of the same volume, in millimetres: what shapes measure themselves by."""
        return float(np.prod(self.extent) ** (1 / 3))

    def new_class(self) -> int:
        """A class that no tissue has yet."""
        return max(self.classes) + 1

    def window(self, centre: Vector, reach: Vector) -> Window:
        """The voxels within ``reach`` millimetres of ``centre`` along each axis; empty when the grid ends before."""
        low = np.clip(np.ceil((centre - reach) / self.spacing - 0.5), 0, self.grid).astype(int).tolist()
        high = np.clip(np.floor((centre + reach) / self.spacing - 0.5) + 1, 0, self.grid).astype(int).tolist()
        axes = [
            ((np.arange(a, b) + 0.5) * size - middle).astype(np.float32)
            for a, b, size, middle in zip(low, high, self.spacing.tolist(), centre.tolist(), strict=True)
        ]
        slices = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
        return Window(slices, (axes[0][:, None, None], axes[1][:, None], axes[2]))

    def paint(self, window: Window, mask: Mask, kind: int, *, hidden: bool = False) -> int:
        """Give the voxels of ``mask``, an array on ``window``, to a new tissue of class ``kind``; return its number."""
        tissue = len(self.classes)
        self.classes.append(kind)
        if hidden:
            self.hidden.add(tissue)
        self.tissues[window.slices][mask] = tissue
        return tissue

    def whole(self) -> Window:
        """The whole grid, with offsets from its middle."""
        return self.window(self.extent / 2, self.extent)


def boundaries(labels: npt.NDArray[np.int16]) -> Mask:
    """The voxels whose next neighbour along some axis has another label: walls one voxel thick."""
    wall = np.zeros(labels.shape, dtype=bool)
    wall[:-1] |= labels[:-1] != labels[1:]
    wall[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    wall[:, :, :-1] |= labels[:, :, :-1] != labels[:, :, 1:]
    return wall
