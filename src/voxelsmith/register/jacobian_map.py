"""Jacobian map: where a transform grows, shrinks and folds, as a volume to look at.

Owns the job that computes it piece by piece, and the count of voxels where the deformation folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.sampling import slabs
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import Volume


@dataclass(frozen=True, eq=False)
class JacobianMap:
    """Determinants on the grid of the fixed image.

    Parameters
    ----------
    volume
        Float32; 1 keeps volumes, above grows them from fixed to moving, 0 and below folds.
    folded
        Voxels where the deformation folds.
    least, greatest
        Smallest and largest determinant.
    """

    volume: Volume
    folded: int
    least: float
    greatest: float

    @property
    def folding_share(self) -> float:
        """Share of all voxels that fold, 0 to 1."""
        return self.folded / self.volume.array.size


def jacobian_map(transform: Transform) -> Job[JacobianMap]:
    """Job that computes the Jacobian determinant of a transform on the grid of its field.

    The affine part counts too: pass :func:`voxelsmith.register.looks.deformation_of` to leave it out. Folding is that
    of the deformation alone, so that a mirroring matrix does not count.

    Raises
    ------
    InputError
        If the transform has no field; the determinant of an affine map is the same everywhere.
    """
    field = transform.field
    if field is None:
        raise InputError(
            "A Jacobian map shows how a deformation varies, but this transform is affine and changes all volumes alike."
        )
    array = np.empty(field.grid, np.float32)
    folded = 0
    for start, stop in slabs(field.grid):
        yield Progress(start, field.grid[0], "Computing the Jacobian map")
        # One plane more on each side, for the central differences.
        before = max(start - 1, 0)
        part = DisplacementField(field.array[before : stop + 1], field.affine).jacobian_determinant()
        array[start:stop] = part[start - before :][: stop - start]
        folded += int(np.count_nonzero(array[start:stop] <= 0))
    array *= np.float32(np.linalg.det(transform.matrix[:3, :3]))
    volume = Volume(array, field.affine, name="Jacobian determinant")
    return JacobianMap(volume, folded, float(array.min()), float(array.max()))
