"""Moving voxels: where each voxel of a new grid comes from, and what is found there.

Owns rotations that respect thick slices, smooth elastic displacements, and the two look-ups, linear for images and
nearest for labels. Places are in voxels of the source. Beyond its border a volume continues as in a mirror, so that no
artificial edge appears and labels stay with their image.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from voxelsmith.train.noise import smooth_noise
from voxelsmith.train.sample import Field, Grid, Labels, Vector


def random_rotation(rng: np.random.Generator, spacing: Vector, degrees: float) -> Vector:
    """A 3x3 rotation by up to ``degrees`` about each axis, less where it would mix thick slices with thin pixels."""
    ratios = [spacing[b] / spacing[c] for b, c in ((1, 2), (0, 2), (0, 1))]
    limits = degrees * np.minimum(ratios, np.reciprocal(ratios))
    matrix: Vector = Rotation.from_euler("xyz", rng.uniform(-1, 1, 3) * limits, degrees=True).as_matrix()
    return matrix


def random_places(
    rng: np.random.Generator,
    grid: Grid,
    spacing: Vector,
    matrix: Vector,
    centre: Vector,
    source_spacing: Vector,
    elasticity: float,
) -> Field:
    """Where the voxels of a new grid come from.

    Parameters
    ----------
    rng
        Where the randomness comes from.
    grid, spacing
        Shape and voxel size in millimetres of the new grid.
    matrix : array, shape (3, 3)
        Takes a step in voxels of the new grid to one in voxels of the source.
    centre : array, shape (3,)
        The place in the source that comes to lie in the middle of the new grid.
    source_spacing
        Voxel size of the source in millimetres.
    elasticity
        Strength of a smooth displacement relative to the length over which it changes, 0 to about 0.12.

    Returns
    -------
    array of float32, shape (3, I, J, K)
    """
    x, y, z = np.ix_(*((np.arange(count) - (count - 1) / 2).astype(np.float32) for count in grid))
    scale = float(np.prod(spacing * grid) ** (1 / 3)) * rng.uniform(0.2, 0.5)
    places = np.empty((3, *grid), dtype=np.float32)
    for axis, (a, b, c) in enumerate(matrix.astype(np.float32)):
        np.add((a * x + b * y) + np.float32(centre[axis]), c * z, out=places[axis])
        strength = np.float32(elasticity * scale / source_spacing[axis])
        places[axis] += strength * smooth_noise(rng, grid, spacing, scale)
    return places


def reflect(places: Field, grid: Grid) -> Field:
    """Fold places beyond the border of a volume back into it, in place; one fold on each side."""
    for place, count in zip(places, grid, strict=True):
        np.abs(place, out=place)
        np.subtract(count - 1, place, out=place)
        np.abs(place, out=place)
        np.subtract(count - 1, place, out=place)
        np.clip(place, 0, count - 1, out=place)
    return places


def look_up_linear(image: Field, places: Field) -> Field:
    """Interpolate an image at places within it."""
    found: Field = ndimage.map_coordinates(image, places, output=np.float32, order=1, mode="nearest", prefilter=False)
    return found


def look_up_nearest(labels: Labels, places: Field) -> Labels:
    """The labels nearest to places within the map."""
    i, j, k = (np.rint(place).astype(np.intp) for place in places)
    found: Labels = labels[i, j, k]
    return found
