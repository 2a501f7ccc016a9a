"""NRRD, MHA and MHD through SimpleITK.

Owns the exchange with ITK images, whose world is LPS and whose arrays run [k, j, i]. A vector image becomes a channel
axis, a fourth dimension a time axis. MetaImage is always written as one file, also when it is called .mhd, so that
header and voxels cannot come apart. Label names travel as the segment fields that 3D Slicer writes into .seg.nrrd.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, GeometryError, InputError, ResourceError
from voxelsmith.core.volume import ExtraAxis, LabelVolume, Volume
from voxelsmith.io.atomic import replacing
from voxelsmith.io.voxel_types import storable

NAMES_KEY = "label_names"

# A SimpleITK.Image; the library has no types to check against.
Image: TypeAlias = Any


def read(path: Path) -> Volume:
    """Read an NRRD or MetaImage file.

    Raises
    ------
    FormatError
        If ITK cannot read the file or it has more than one axis beyond space.
    GeometryError
        If its axes do not span space.
    InputError
        If its voxels are complex numbers.
    """
    import SimpleITK

    try:
        image: Image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise FormatError(
            f"{path.name} is damaged, truncated or not what its name says ({_reason(error)}); fetch or export it again."
        ) from error
    if "complex" in image.GetPixelIDTypeAsString():
        raise InputError(f"Volumes hold real numbers, but {path.name} holds complex ones; export its magnitude first.")
    array, extra_axis = _array(image, path.name)
    names = _label_names(image)
    return Volume(array, affine_of(image), extra_axis=extra_axis, metadata={NAMES_KEY: names} if names else {})


def _reason(error: RuntimeError) -> str:
    """The last line of ITK's message, without the object's address."""
    last = str(error).strip().splitlines()[-1]
    return re.sub(r"^.*?(ERROR:|\(0x[0-9a-f]+\):)\s*|^\[nrrd\]\s*", "", last).strip()


def _array(image: Image, name: str) -> tuple[npt.NDArray[Any], ExtraAxis | None]:
    """Voxels as [i, j, k] or [i, j, k, n], and what n is."""
    import SimpleITK

    rank, channels, size = image.GetDimension(), image.GetNumberOfComponentsPerPixel(), image.GetSize()
    frames = size[3] if rank > 3 else 1
    if rank > 4 or (frames > 1 and channels > 1):
        raise FormatError(
            f"A volume has one axis beyond space at most, time or channel, but {name} has size {size} with {channels} "
            "components a voxel; split it first."
        )
    array: npt.NDArray[Any] = SimpleITK.GetArrayFromImage(image).transpose()
    if channels > 1:
        array = np.moveaxis(array, 0, -1)
    if rank == 2:
        array = array[:, :, np.newaxis]
    if rank == 4 and frames == 1:
        array = array[:, :, :, 0]
    return array, "time" if frames > 1 else "channel" if channels > 1 else None


def affine_of(image: Image) -> Affine:
    """The affine of an ITK image, in RAS millimetres."""
    rank = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (rank, rank))
    space = min(rank, 3)
    matrix = np.eye(4)
    matrix[:space, :space] = direction[:space, :space] * image.GetSpacing()[:space]
    matrix[:space, 3] = image.GetOrigin()[:space]
    return Affine.from_lps(matrix)


def _label_names(image: Image) -> dict[int, str]:
    names = {}
    for key in image.GetMetaDataKeys():
        match = re.fullmatch(r"(Segment\d+)_LabelValue", key)
        if match and image.HasMetaDataKey(f"{match[1]}_Name"):
            names[int(image.GetMetaData(key))] = image.GetMetaData(f"{match[1]}_Name")
    return names


def write(volume: Volume, path: Path) -> None:
    """Write a volume as NRRD or MetaImage, compressed.

    Raises
    ------
    GeometryError
        If its axes are sheared, which these formats' readers do not expect.
    InputError
        If its voxels are complex numbers.
    ResourceError
        If the machine refuses.
    """
    import SimpleITK

    if volume.affine.is_sheared:
        raise GeometryError(
            f"{path.suffix} files hold axes at right angles, but {volume.name!r} has sheared ones; save it as .nii.gz "
            "or resample it first."
        )
    image = to_image(volume)
    suffix = ".mha" if path.suffix.lower() == ".mhd" else path.suffix.lower()
    with replacing(path, suffix) as temporary:
        try:
            SimpleITK.WriteImage(image, str(temporary), True)
        except RuntimeError as error:
            raise ResourceError(
                f"{path} could not be written ({_reason(error)}); check the free space or choose another place to save."
            ) from error


def to_image(volume: Volume) -> Image:
    """A volume as an ITK image, which cannot express sheared axes."""
    import SimpleITK

    array = storable(volume.array)
    channel = volume.extra_axis == "channel"
    axes = (2, 1, 0, 3) if channel else range(array.ndim - 1, -1, -1)
    image: Image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.transpose(*axes)), isVector=channel)
    rank = image.GetDimension()
    matrix = volume.affine.lps
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    direction = np.eye(rank)
    direction[:3, :3] = matrix[:3, :3] / spacing
    image.SetDirection(direction.ravel().tolist())
    image.SetSpacing([*spacing.tolist(), 1.0][:rank])
    image.SetOrigin([*matrix[:3, 3].tolist(), 0.0][:rank])
    if isinstance(volume, LabelVolume):
        for n, (value, name) in enumerate(sorted(volume.names.items())):
            fields = {"ID": f"Segment_{value}", "Name": " ".join(name.split()), "LabelValue": str(value), "Layer": "0"}
            for field, text in fields.items():
                image.SetMetaData(f"Segment{n}_{field}", text)
    return image
