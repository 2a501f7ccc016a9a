"""Placement: how the grid of a volume lies in napari's world, and back.

Owns the numbers behind :mod:`voxelsmith.plugin.layers`; no layer is made or changed here.

The world of our layers is ITK's, in reversed order: axes (S, P, L) in millimetres. napari draws the second to last
axis downward and the last one to the right, so an axial slice shows anterior up and the patient's right on the left,
the radiological convention, and a microscopy stack opened by napari's own reader means what ITK makes of it.

Layer axes are the stored axes, ordered so that they run closest to S, P and L; any of the 48 orientations is sliced
axially first and no voxel is copied. Spacing is the layer's ``scale`` (positive), everything else its ``affine``.

napari cannot draw a grid that is tilted out of the slice: it draws the slice untilted, but maps the cursor with the
tilt, so that a brush or a click lands on other voxels than those under it, and some slices cannot be reached. An
oblique grid is therefore *drawn* along the closest anatomical axes, about its true centre, while its true affine
travels in the layer's metadata and is what is saved. Drawn and true affine are the same for every grid that is not
oblique. A Labels layer that the user makes with napari's own button copies the placement but not the metadata;
:class:`KnownGrids` remembers the tilt of the grids that were drawn, so that it gets the true affine too.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.errors import GeometryError

Grid = tuple[int, int, int]

RAS_TO_WORLD = np.array([[0.0, 0, 1, 0], [0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]])
_SAME = 1e-6
_NOISE = 1e-12


def stored_order(affine: Affine) -> tuple[int, int, int]:
    """Which stored axis (0 i, 1 j, 2 k) each layer axis is: those running closest to S, P and L, in this order."""
    closest = affine.closest_axes
    return closest.index(2), closest.index(1), closest.index(0)


def tilt_degrees(affine: Affine) -> float:
    """The largest angle between a voxel axis and the anatomical axis that it is closest to, in degrees."""
    cosines = [abs(affine.direction[world, voxel]) for voxel, world in enumerate(affine.closest_axes)]
    return math.degrees(math.acos(min(1.0, *cosines)))


def drawn_affine(affine: Affine, grid: Grid) -> Affine:
    """The affine with which a grid is drawn: along anatomical axes, with its true spacing and centre.

    An affine that already runs along them is returned as it is.
    """
    linear = affine.matrix[:3, :3]
    if np.count_nonzero(linear) == 3:
        return affine
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for voxel, world in enumerate(affine.closest_axes):
        matrix[world, voxel] = math.copysign(affine.spacing[voxel], linear[world, voxel])
    centre = (np.array(grid) - 1) / 2
    matrix[:3, 3] = affine.apply(centre) - matrix[:3, :3] @ centre
    return Affine(matrix)


def layer_transform(drawn: Affine, order: tuple[int, int, int]) -> tuple[FloatArray, FloatArray]:
    """Scale (3,) and affine (4, 4) of a layer whose axes are the stored axes ``order``."""
    scale = drawn.spacing[list(order)]
    matrix = RAS_TO_WORLD @ drawn.matrix[:, [*order, 3]]
    matrix[:3, :3] = matrix[:3, :3] / scale
    # Adding zero turns -0.0 into 0.0.
    return scale, matrix + 0.0


def affine_of_transform(matrix: npt.NDArray[np.float64], order: tuple[int, int, int]) -> Affine:
    """The stored-index-to-RAS affine of a layer, from its 4x4 layer-index-to-world matrix in millimetres.

    Rounding noise, entries below 1e-12 of the largest, becomes zero.

    Raises
    ------
    GeometryError
        If the matrix flattens space or is not finite.
    """
    ras = RAS_TO_WORLD.T @ matrix
    linear = ras[:3, :3]
    linear[np.abs(linear) < _NOISE * np.abs(linear).max()] = 0
    stored = np.empty((4, 4))
    stored[:, [*order, 3]] = ras
    return Affine(stored + 0.0)


def same_placement(a: Affine, b: Affine) -> bool:
    """Whether two affines agree to a millionth of a voxel over a grid of a thousand voxels a side."""
    shift = np.linalg.solve(a.matrix, b.matrix) - np.eye(4)
    return bool(np.abs(shift[:3, :3]).max() * 1000 <= 1000 * _SAME and np.abs(shift[:3, 3]).max() <= _SAME)


def true_affine(drawn: Affine, original: Affine, grid: Grid) -> Affine:
    """The true affine of a layer that was made from a volume.

    Parameters
    ----------
    drawn
        What the layer's transform says now.
    original, grid
        Affine and number of voxels of the volume.

    Returns
    -------
    Affine
        ``original``, exactly, if the layer was not moved; otherwise ``original`` moved in the same way.
    """
    before = drawn_affine(original, grid)
    if same_placement(drawn, before):
        return original
    if before == original:
        return drawn
    return drawn @ before.inverse() @ original


class KnownGrids:
    """The tilted grids that were drawn so far, to find the true affine of a layer without metadata."""

    def __init__(self) -> None:
        self._affines: dict[Grid, set[Affine]] = {}

    def remember(self, affine: Affine, grid: Grid) -> None:
        """Note a grid if it is drawn otherwise than it lies."""
        if drawn_affine(affine, grid) != affine:
            self._affines.setdefault(grid, set()).add(affine)

    def find(self, drawn: Affine, grid: Grid) -> Affine:
        """The true affine of a layer placed at ``drawn``; ``drawn`` itself if no known grid is drawn there.

        Raises
        ------
        GeometryError
            If grids of different tilt are drawn at the same place.
        """
        fitting = [a for a in self._affines.get(grid, ()) if same_placement(drawn, drawn_affine(a, grid))]
        if len(fitting) > 1:
            raise GeometryError(
                f"{len(fitting)} images of different tilt are drawn where this layer lies, so that its true position "
                "is unknown; export it onto the grid of one of them."
            )
        return fitting[0] if fitting else drawn
