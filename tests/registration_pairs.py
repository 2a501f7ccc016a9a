"""Pairs of volumes of which the map between them is known."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from deformations import oblique, smooth_image
from voxelsmith.core.affine import Affine
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import Volume

GRID = (40, 36, 30)


def blobs(grid=GRID, seed=3, affine=None) -> Volume:
    """A textured object in the middle of emptiness, unlike its mirror image."""
    texture = smooth_image(grid, sigma=2.0, seed=seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in grid), indexing="ij")
    shape = ndimage.gaussian_filter((sum(x**2 for x in axes) < 0.6).astype(np.float32), 1)
    return Volume((100 * shape * texture).astype(np.float32), affine or Affine.from_spacing(), "fixed")


def known_map(volume, angle=20.0, axis=(1, 2, -1), scale=(1.1, 0.92, 1.05), shift=(3, -2, 2)) -> np.ndarray:
    """Turn, scale and shift about the middle of a volume, RAS millimetres; the shift is in voxels."""
    matrix = np.eye(4)
    turn = Rotation.from_rotvec(np.deg2rad(angle) * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    matrix[:3, :3] = turn @ np.diag(scale)
    middle = volume.affine.apply((np.array(volume.grid) - 1) / 2)
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle + np.array(shift) * volume.spacing
    return matrix


def moved(volume, matrix, affine=None, grid=None) -> Volume:
    """The moving volume to which ``matrix`` leads from the fixed one."""
    pulled = Transform(np.linalg.inv(matrix)).pull_image(volume, affine or volume.affine, grid or volume.grid)
    return Volume(pulled.array, pulled.affine, "moving")


def error_in_voxels(volume, truth, found) -> np.ndarray:
    """How far the found map puts the voxels of the object from where they belong."""
    places = volume.affine.apply(np.argwhere(volume.array > 30)[::11])
    apart = Affine(found).apply(places) - Affine(truth).apply(places)
    return np.linalg.norm(apart @ np.linalg.inv(volume.affine.matrix[:3, :3]).T, axis=1)


def tilted(spacing=(1.0, 1.2, 1.6)) -> Affine:
    """An oblique grid with voxels of unequal sides."""
    return oblique(spacing=spacing)


def another_grid(volume, matrix, grid=(46, 44, 40), spacing=(1.3, 1.0, 1.7)) -> Affine:
    """A grid of the moving world that holds what ``matrix`` brings there, tilted and with axes of its own."""
    affine = oblique(spacing, (0, 0, 0), (-12, 14, 8), (1, -1, 1))
    middle = Affine(matrix).apply(volume.affine.apply((np.array(volume.grid) - 1) / 2))
    return oblique(spacing, middle - affine.apply((np.array(grid) - 1) / 2), (-12, 14, 8), (1, -1, 1))
