"""What the commands about transforms share: opening one, and making the folder for one."""

from __future__ import annotations

from pathlib import Path

from voxelsmith.core.errors import ResourceError
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import Volume
from voxelsmith.io.transforms import read_transform
from voxelsmith.io.transforms.folder import read_folder


def open_transform(path: Path, fixed: Volume | None = None) -> Transform:
    """Read a transform from a file, or from the folder that ``voxelsmith register`` wrote."""
    if path.is_dir():
        return read_folder(path)
    return read_transform(path) if fixed is None else read_transform(path, fixed.affine, fixed.grid)


def make_folder(path: Path) -> Path:
    """The folder, made if it is not there; ResourceError if it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"The folder {path} cannot be made ({error.strerror}); choose another one with --out-dir."
        ) from error
    return path
