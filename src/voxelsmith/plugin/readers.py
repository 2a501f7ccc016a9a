"""Readers: what napari calls to open files.

Owns the contract with npe2. :func:`get_reader` answers at once, from names and a few bytes, whether a path is ours;
the function that it returns reads. Errors keep the sentence that :mod:`voxelsmith.io` gave them. A folder with
several DICOM series opens none of them; the message names them, and the Volumes dock lets the user pick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeAlias

from voxelsmith.plugin.layers import LayerData, layer_data

Paths: TypeAlias = str | Sequence[str]

_FEW = 64


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """The reader for one or several paths, or None if any of them is not ours."""
    paths = _as_list(path)
    return read_layers if paths and all(_is_ours(p) for p in paths) else None


def read_layers(path: Paths) -> list[LayerData]:
    """Read each path into a layer of its own.

    Raises
    ------
    VoxelsmithError
        With a sentence about the first path that cannot be opened.
    """
    from voxelsmith import io

    return [layer_data(io.read(p)) for p in _as_list(path)]


def _as_list(path: Paths) -> list[Path]:
    return [Path(p) for p in ([path] if isinstance(path, str | Path) else path)]


def _is_ours(path: Path) -> bool:
    from voxelsmith.io import READ_PATTERNS
    from voxelsmith.io.dicom import is_dicom
    from voxelsmith.io.zarr import is_zarr

    if path.is_dir():
        return is_zarr(path) or any(is_dicom(file) for file in _some_files(path))
    if any(fnmatch(path.name.lower(), pattern) for pattern in READ_PATTERNS):
        return True
    return path.is_file() and is_dicom(path)


def _some_files(folder: Path) -> list[Path]:
    """The first files of a folder; enough to tell a DICOM series from a folder of other things."""
    found = []
    for entry in folder.iterdir():
        if entry.is_file():
            found.append(entry)
        if len(found) == _FEW:
            break
    return found
