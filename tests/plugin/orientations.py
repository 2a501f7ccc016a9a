"""Affines in every orientation, shared by the tests of the plugin."""

import itertools

import numpy as np
from scipy.spatial.transform import Rotation

from voxelsmith.core.affine import Affine

ORIENTATIONS = [
    (permutation, signs)
    for permutation in itertools.permutations(range(3))
    for signs in itertools.product((-1, 1), repeat=3)
]


def oriented(permutation=(0, 1, 2), signs=(1, 1, 1), tilt=0.0, spacing=(0.7, 1.1, 3.3)):
    """An affine whose voxel axis n runs along world axis ``permutation[n]``, tilted by up to ``tilt`` degrees."""
    direction = np.zeros((3, 3))
    for voxel, (world, sign) in enumerate(zip(permutation, signs, strict=True)):
        direction[world, voxel] = sign
    if tilt:
        direction = Rotation.from_euler("xyz", [tilt, tilt / 2, tilt / 3], degrees=True).as_matrix() @ direction
    matrix = np.eye(4)
    matrix[:3, :3] = direction @ np.diag(spacing)
    matrix[:3, 3] = (-90.3, 12.7, 55.1)
    # NIfTI files store the affine in single precision.
    return Affine(matrix.astype(np.float32))
