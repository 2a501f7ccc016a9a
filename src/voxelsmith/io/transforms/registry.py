"""Which file holds a transform in which format.

Owns the two functions that read and write a transform by the name of its file, and imports the format's module only
then. Every format stores the direction of :class:`~voxelsmith.core.transform.Transform`: from the fixed world to the
moving world, the one that pulls images.

=================== ============================================================ =====================================
ending              what it holds                                                who reads it
=================== ============================================================ =====================================
.h5 .hdf5           affine and field, ITK composite, LPS mm                      SimpleITK, ANTs, 3D Slicer
.nii .nii.gz        all of it as one field, vectors in LPS mm                    ITK, ANTs, 3D Slicer, greedy
.mat .tfm           affine only, ITK, LPS mm                                     SimpleITK, ANTs, 3D Slicer
.txt                affine only, 4x4 matrix in RAS mm                            greedy, ITK-SNAP, numpy
.npz                all of it as one field, voxels of the fixed grid             evaluation of Learn2Reg
=================== ============================================================ =====================================
"""

from __future__ import annotations

from pathlib import Path

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.core.sampling import Grid
from voxelsmith.core.transform import Transform

_NIFTI = (".nii.gz", ".nii")
_COMPOSITE = (".h5", ".hdf5")
_ITK_AFFINE = (".mat", ".tfm")
_PLAIN = (".txt",)
_LEARN2REG = (".npz",)
_ENDINGS = (*_COMPOSITE, *_NIFTI, *_ITK_AFFINE, *_PLAIN, *_LEARN2REG)


def read_transform(path: Path | str, affine: Affine | None = None, grid: Grid | None = None) -> Transform:
    """Read a transform from the fixed world to the moving world.

    Parameters
    ----------
    path
        The file; its ending says the format.
    affine, grid
        Of the fixed image; needed for .npz, which does not say where its grid lies, and not used otherwise.

    Raises
    ------
    FormatError
        If the ending is not known, or the file is damaged or holds something else.
    InputError
        If the fixed image's grid is needed and not given, or there is no such file.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"There is no file {path}; check the name.")
    ending = _ending(path)
    if ending in _NIFTI:
        from voxelsmith.io.transforms import nifti

        return Transform(field=nifti.read(path))
    if ending in _LEARN2REG:
        from voxelsmith.io.transforms import learn2reg

        if affine is None or grid is None:
            raise InputError(
                f"{path.name} holds displacements in voxels and does not say of which grid; give the affine and the "
                "shape of the fixed image as well."
            )
        return Transform(field=learn2reg.read(path, affine, grid))
    from voxelsmith.io.transforms import itk, matrix

    if ending in _PLAIN and not itk.is_itk_text(path):
        return Transform(matrix.read(path))
    return itk.read(path)


def write_transform(
    transform: Transform, path: Path | str, affine: Affine | None = None, grid: Grid | None = None
) -> Path:
    """Write a transform; an existing file is replaced when the new one is complete.

    Parameters
    ----------
    transform
        From the fixed world to the moving world.
    path
        Where to; its ending chooses the format.
    affine, grid
        The fixed image's grid, on which formats that hold one field (.nii, .nii.gz, .npz) sample the transform; by
        default that of its own field.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    FormatError
        If the ending is not known, or the format cannot hold a deformation.
    GeometryError
        If the format cannot hold sheared axes, or needs a grid and there is none.
    ResourceError
        If the machine refuses.
    """
    path = Path(path).expanduser()
    ending = _ending(path)
    if transform.field is not None and ending in (*_ITK_AFFINE, *_PLAIN):
        raise FormatError(f"{ending} files hold affine maps, but this transform deforms; save it as .h5 or .nii.gz.")
    if ending in _NIFTI:
        from voxelsmith.io.transforms import nifti

        nifti.write(transform.as_field(affine, grid), path)
    elif ending in _LEARN2REG:
        from voxelsmith.io.transforms import learn2reg

        learn2reg.write(transform.as_field(affine, grid), path)
    elif ending in _PLAIN:
        from voxelsmith.io.transforms import matrix

        matrix.write(transform.matrix, path)
    else:
        from voxelsmith.io.transforms import itk

        itk.write(transform, path)
    return path


def _ending(path: Path) -> str:
    """The ending that says the format, in lower case."""
    ending = next((e for e in _ENDINGS if path.name.lower().endswith(e)), None)
    if ending is None:
        raise FormatError(f"A transform is a {', '.join(_ENDINGS[:-1])} or {_ENDINGS[-1]} file, got {path.name}.")
    return ending
