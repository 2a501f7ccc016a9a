"""The files of ANTs: ``<prefix>0GenericAffine.mat``, ``<prefix>1Warp.nii.gz``, ``<prefix>1InverseWarp.nii.gz``.

Owns their names and roles. ``antsApplyTransforms -t 1Warp -t 0GenericAffine`` pulls the moving image, pushing points by
the warp first: ``M (x + u(x))``, our own order. ``-t [0GenericAffine,1] -t 1InverseWarp`` pulls the fixed image, so
that the inverse warp inverts the warp alone and lies on the fixed grid too.
"""

from __future__ import annotations

from pathlib import Path

from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.errors import FormatError
from voxelsmith.core.transform import Transform
from voxelsmith.io.transforms import itk, nifti

_AFFINE, _WARP, _INVERSE = "0GenericAffine.mat", "1Warp.nii.gz", "1InverseWarp.nii.gz"


def write_ants(transform: Transform, prefix: Path | str, inverse: DisplacementField | None = None) -> list[Path]:
    """Write a transform as ANTs does.

    Parameters
    ----------
    transform
        From the fixed world to the moving world.
    prefix
        Folder and beginning of the names.
    inverse
        Inverse of the transform's field (without the matrix), if that is to be written too.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    GeometryError
        If a field's grid is sheared.
    ResourceError
        If the machine refuses.
    """
    written = [_named(prefix, _AFFINE)]
    itk.write(Transform(transform.matrix), written[0])
    for field, name in ((transform.field, _WARP), (inverse, _INVERSE)):
        if field is not None:
            written.append(_named(prefix, name))
            nifti.write(field, written[-1])
    return written


def read_ants(prefix: Path | str) -> Transform:
    """Read a transform that ANTs wrote; the affine map or the warp may be missing, the inverse warp is not needed.

    Raises
    ------
    FormatError
        If both are missing, or one is damaged.
    """
    affine, warp = _named(prefix, _AFFINE), _named(prefix, _WARP)
    if not (affine.is_file() or warp.is_file()):
        raise FormatError(
            f"ANTs writes {affine.name} and {warp.name}, but {affine.parent} has neither; check the name."
        )
    matrix = itk.read(affine).matrix if affine.is_file() else Transform().matrix
    return Transform(matrix, nifti.read(warp) if warp.is_file() else None)


def _named(prefix: Path | str, name: str) -> Path:
    return Path(f"{prefix}{name}").expanduser()
