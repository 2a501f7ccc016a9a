"""Transform files: what the dock writes and reads, by the kinds that people know.

Owns the list of kinds that the user chooses from; the formats themselves are :mod:`voxelsmith.io.transforms`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, GeometryError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.sampling import Grid
from voxelsmith.core.transform import Transform
from voxelsmith.io.transforms import read_transform, write_transform
from voxelsmith.io.transforms.ants import write_ants
from voxelsmith.io.transforms.folder import AFFINE_FILE, FIELD_FILE, read_folder, write_folder
from voxelsmith.register.applying import invert_job

READ_FILTER = "Transforms (*.h5 *.hdf5 *.nii *.nii.gz *.mat *.tfm *.txt *.npz)"


@dataclass(frozen=True)
class TransformFormat:
    """A kind of file; ``ending`` is empty where files are named otherwise, ``deforms`` says what fits in."""

    title: str
    ending: str = ""
    is_folder: bool = False
    deforms: bool = True

    @property
    def filter(self) -> str:
        """For a file dialog."""
        return f"{self.title} (*{self.ending})"


FORMATS: dict[str, TransformFormat] = {
    "h5": TransformFormat(".h5 ITK composite", ".h5"),
    "nii.gz": TransformFormat(".nii.gz ITK, ANTs field", ".nii.gz"),
    "ants": TransformFormat("ANTs affine + warps"),
    "folder": TransformFormat("Folder to open here again", is_folder=True),
    "tfm": TransformFormat(".tfm ITK affine", ".tfm", deforms=False),
    "mat": TransformFormat(".mat ITK, ANTs affine", ".mat", deforms=False),
    "txt": TransformFormat(".txt 4x4 matrix, RAS", ".txt", deforms=False),
    "npz": TransformFormat(".npz Learn2Reg", ".npz"),
}
"""The kinds to write, the usual one first."""


def require_fits(transform: Transform, key: str) -> None:
    """Raise FormatError if a format of :data:`FORMATS` cannot hold a transform."""
    if transform.field is not None and not FORMATS[key].deforms:
        raise FormatError(
            f"{FORMATS[key].ending} files hold affine maps, but this transform deforms; choose "
            f"{FORMATS['h5'].title} or {FORMATS['nii.gz'].title}."
        )


def read_job(path: Path, fixed: tuple[Affine, Grid] | None) -> Job[Transform]:
    """Job that reads a transform from a file, or a registration's folder.

    ``fixed`` is the grid of the fixed image, which .npz files need.
    """
    yield Progress(0, 0, path.name)
    if path.is_dir():
        return read_folder(path)
    return read_transform(path, *(fixed or (None, None)))


def write_job(transform: Transform, key: str, path: Path, onto: tuple[Affine, Grid] | None) -> Job[list[Path]]:
    """Job that writes a transform.

    Parameters
    ----------
    transform
        In the direction to be saved.
    key
        Of :data:`FORMATS`.
    path
        The file; for ANTs the beginning of the names; or the folder.
    onto
        Grid of the image onto which the transform brings another one, on which fields are sampled; by default that of
        the transform's own field.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    FormatError, GeometryError, ResourceError
        As :func:`voxelsmith.io.transforms.write_transform` does.
    """
    if key == "ants":
        inverse = None
        if (field := transform.field) is not None:
            backward, _ = yield from invert_job(Transform(field=field), field.affine, field.grid)
            inverse = backward.field
        yield Progress(0, 0, f"Writing {path.name}")
        return write_ants(transform, path, inverse)
    yield Progress(0, 0, f"Writing {path.name}")
    if key == "folder":
        write_folder(transform, path, *(onto or _own_grid(transform)))
        return [path / FIELD_FILE, path / AFFINE_FILE]
    if not path.name.lower().endswith(FORMATS[key].ending):
        path = path.with_name(path.name + FORMATS[key].ending)
    return [write_transform(transform, path, *(onto or (None, None)))]


def _own_grid(transform: Transform) -> tuple[Affine, Grid]:
    if transform.field is None:
        raise GeometryError(
            "A folder holds the transform sampled on a grid, but no image says which; choose one under Grid."
        )
    return transform.field.affine, transform.field.grid
