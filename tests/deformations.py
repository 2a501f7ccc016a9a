"""Grids, smooth random fields and images with which transforms are tested."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from voxelsmith.core.affine import Affine
from voxelsmith.core.displacement import DisplacementField


def oblique(spacing=(0.8, 1.3, 2.1), origin=(-20, 13, 7), angles=(17, -9, 31), flip=(1, 1, 1)) -> Affine:
    """Tilted, anisotropic voxels; ``flip`` turns single axes round."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing * flip
    matrix[:3, 3] = origin
    return Affine(matrix)


def linear_map(angles=(6, -8, 11), scale=(1.05, 0.93, 1.1), shift=(3, -2, 1.5)) -> np.ndarray:
    """A 4x4 matrix in RAS millimetres."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * scale
    matrix[:3, 3] = shift
    return matrix


def positions(affine, grid) -> np.ndarray:
    """RAS millimetres of every voxel, shape (I, J, K, 3)."""
    return affine.apply(np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), axis=-1))


def smooth_field(affine, grid, voxels=1.0, sigma=5.0, seed=0) -> DisplacementField:
    """Smooth random displacements of ``voxels`` (root mean square, in voxels of the grid along each axis)."""
    rng = np.random.default_rng(seed)
    inner = tuple(slice(0, n) for n in grid)
    noise = [ndimage.gaussian_filter(rng.standard_normal([n + 20 for n in grid]), sigma, mode="wrap") for _ in range(3)]
    scaled = np.stack([voxels * component[inner] / component.std() for component in noise], axis=-1)
    return DisplacementField.from_voxels(scaled, affine)


def smooth_image(grid, sigma=2.0, seed=1) -> np.ndarray:
    """A smooth random image between 0 and 1, float32."""
    image = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(grid), sigma, mode="nearest")
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)
