"""Transforms of ITK: composites in .h5, affine maps in .mat, .tfm and .txt, through SimpleITK.

Owns the exchange with ITK's transform objects, whose world is LPS. Both sides map points from the fixed world to the
moving world, and a composite applies its last transform first; so [affine, field] is ``M (x + u(x))``. Beyond its grid
ITK's field moves nothing, where ours keeps the displacement of the border.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from voxelsmith.core.affine import FloatArray
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.errors import FormatError, GeometryError, ResourceError
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import Volume
from voxelsmith.io import itk
from voxelsmith.io.atomic import replacing
from voxelsmith.io.transforms.lps import flip_matrix, flip_vectors

# A SimpleITK.Transform; the library has no types to check against.
ItkTransform: TypeAlias = Any

_TEXT_START = b"#Insight Transform File"
_TEXT_TAGS = ("Transform", "Parameters", "FixedParameters")


def _library() -> Any:
    import SimpleITK

    return SimpleITK


def is_itk_text(path: Path) -> bool:
    """Whether a file starts as ITK's text transforms do."""
    with path.open("rb") as stream:
        return stream.read(len(_TEXT_START)) == _TEXT_START


def read(path: Path) -> Transform:
    """Read a transform file of ITK.

    Raises
    ------
    FormatError
        If ITK cannot read the file, or it holds a kind of transform that is neither affine nor a displacement field.
    """
    damaged = (
        f"{path.name} is no transform file of ITK, or it is damaged or truncated; fetch it again or save it as .h5."
    )
    if not _looks_complete(path):
        raise FormatError(damaged)
    try:
        transform: ItkTransform = _library().ReadTransform(str(path)).Downcast()
    except RuntimeError as error:
        raise FormatError(damaged) from error
    return from_itk(transform, path.name)


def _looks_complete(path: Path) -> bool:
    """Whether a file holds what it announces, where ITK itself does not look."""
    if is_itk_text(path):
        text = path.read_text(errors="replace")
        counts = [len(re.findall(rf"^{tag}:\s*\S", text, re.MULTILINE)) for tag in _TEXT_TAGS]
        return counts[0] > 0 and counts[0] == counts[1] == counts[2]
    if path.suffix.lower() == ".mat":
        with path.open("rb") as stream:
            start = stream.read(20)
        if len(start) < 20:
            return False
        rows, columns, _, name = struct.unpack("<4i", start[4:])
        announced: int = rows * columns * 4 + name
        return min(rows, columns, name) > 0 and announced < path.stat().st_size
    return True


def from_itk(transform: ItkTransform, name: str = "The transform") -> Transform:
    """An ITK transform, of any affine kind, a displacement field, or a composite of these.

    Raises
    ------
    FormatError
        If it is of another kind, such as a B-spline, or not three-dimensional.
    """
    if transform.GetDimension() != 3:
        raise FormatError(f"A transform has three dimensions, but {name} has {transform.GetDimension()}.")
    parts = [transform]
    if transform.GetName() == "CompositeTransform":
        transform.FlattenTransform()
        parts = [transform.GetNthTransform(n) for n in reversed(range(transform.GetNumberOfTransforms()))]
    result = Transform()
    for part in parts:
        if part.GetName() == "DisplacementFieldTransform":
            step = Transform(field=_field(part))
        elif part.IsLinear():
            step = Transform(_matrix(part))
        else:
            raise FormatError(
                f"{name} holds a {part.GetName()}, but affine maps and displacement fields can be used; convert it to "
                "a displacement field with the program that made it."
            )
        result = result.then(step)
    return result


def _field(transform: ItkTransform) -> DisplacementField:
    image = transform.GetDisplacementField()
    vectors = _library().GetArrayFromImage(image).transpose(2, 1, 0, 3)
    return DisplacementField(flip_vectors(vectors.astype(np.float32)), itk.affine_of(image))


def _matrix(transform: ItkTransform) -> FloatArray:
    """The RAS matrix of a linear transform, from where it takes the origin and the unit vectors."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, 3] = origin
    matrix[:3, :3] = np.column_stack([transform.TransformPoint(unit) for unit in np.eye(3).tolist()])
    matrix[:3, :3] -= origin[:, np.newaxis]
    return flip_matrix(matrix)


def to_itk(transform: Transform) -> ItkTransform:
    """The transform as ITK has it: an AffineTransform, or the composite [affine, displacement field].

    Raises
    ------
    GeometryError
        If the field's grid is sheared, which ITK cannot express.
    """
    library = _library()
    matrix = flip_matrix(transform.matrix)
    affine: ItkTransform = library.AffineTransform(3)
    affine.SetMatrix(matrix[:3, :3].ravel().tolist())
    affine.SetTranslation(matrix[:3, 3].tolist())
    if transform.field is None:
        return affine
    if transform.field.affine.is_sheared:
        raise GeometryError(
            "ITK's displacement fields lie on grids with right angles, but this one is sheared; resample it first."
        )
    vectors = flip_vectors(transform.field.array.astype(np.float64))
    image = itk.to_image(Volume(vectors, transform.field.affine, extra_axis="channel"))
    composite: ItkTransform = library.CompositeTransform([affine, library.DisplacementFieldTransform(image)])
    return composite


def write(transform: Transform, path: Path) -> None:
    """Write a transform file of ITK; a deformation only fits .h5.

    Raises
    ------
    GeometryError
        If the field's grid is sheared.
    ResourceError
        If the machine refuses.
    """
    converted = to_itk(transform)
    with replacing(path, path.suffix.lower()) as temporary:
        try:
            _library().WriteTransform(converted, str(temporary))
        except RuntimeError as error:
            raise ResourceError(
                f"{path} could not be written; check the free space or choose another place to save."
            ) from error
