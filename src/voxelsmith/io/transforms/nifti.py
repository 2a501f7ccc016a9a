"""Displacement fields as NIfTI, as ITK and ANTs keep them.

Owns the layout: five dimensions (I, J, K, 1, 3), the intent "vector" (1007), and LPS millimetres in the voxels although
the header speaks RAS. Files with the intent "displacement vector" (1006), whose voxels are RAS, are read as well.
ITK takes a field of one slice (K = 1) for a two-dimensional one; as .h5 it stays what it is.
"""

from __future__ import annotations

import io
from pathlib import Path

from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.errors import FormatError, GeometryError
from voxelsmith.core.volume import Volume
from voxelsmith.io import nifti, nifti_header
from voxelsmith.io.transforms.lps import flip_vectors

_VECTOR = 1007
_DISPLACEMENT = 1006
_NIFTYREG = b"NREG_TRANS"


def read(path: Path) -> DisplacementField:
    """Read a displacement field.

    Raises
    ------
    FormatError
        If the file is damaged, or is no field of displacement vectors.
    """
    volume = nifti.read(path)
    header = nifti_header.parse(io.BytesIO(volume.metadata[nifti_header.METADATA_KEY]))
    intent = int(header["intent_code"])
    if volume.array.ndim != 4 or volume.array.shape[3] != 3 or intent not in (_VECTOR, _DISPLACEMENT):
        raise FormatError(
            f"A displacement field is a NIfTI file of shape (I, J, K, 1, 3) with the intent 'vector' (1007), but "
            f"{path.name} has shape {tuple(header.get_data_shape())} and intent {intent}; export it as ITK or ANTs do."
        )
    if header["intent_name"].item().startswith(_NIFTYREG):
        raise FormatError(
            f"{path.name} is a transform of NiftyReg, which holds positions or control points instead of "
            "displacements; convert it to an ITK field first."
        )
    return DisplacementField(flip_vectors(volume.array) if intent == _VECTOR else volume.array, volume.affine)


def write(field: DisplacementField, path: Path) -> None:
    """Write a displacement field.

    Raises
    ------
    GeometryError
        If its grid is sheared, which ITK cannot express.
    ResourceError
        If the machine refuses.
    """
    if field.affine.is_sheared:
        raise GeometryError(
            "ITK's displacement fields lie on grids with right angles, but this one is sheared; resample it first."
        )
    nifti.write(Volume(flip_vectors(field.array), field.affine, extra_axis="channel"), path)
