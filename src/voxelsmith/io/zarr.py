"""OME-Zarr images and labels, versions 0.4 and 0.5, as lazy arrays.

Owns the reading of the ``multiscales`` metadata. The volume's array is level 0 as a dask array; nothing is loaded until
it is looked at. The whole pyramid, level 0 first and in the same order of axes, is in ``metadata["levels"]``. A group
under ``labels/`` or with the ``image-label`` attribute is read as labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import FormatError
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io.microscopy import arrangement, grid_affine, millimetres, preferred_unit

LEVELS_KEY = "levels"

_MARKERS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
_DEFAULT_AXES = "tczyx"


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr group or array."""
    return any((folder / marker).is_file() for marker in _MARKERS)


def read(path: Path) -> Volume | LabelVolume:
    """Read an OME-Zarr image or label group lazily.

    Raises
    ------
    FormatError
        If the folder is no OME-Zarr image, or has both several time points and several channels.
    GeometryError
        If its voxel sizes are not positive.
    """
    import dask.array as da

    from_array: Any = da.from_array
    group, about = _image_group(path)
    multiscale = about["multiscales"][0]
    datasets = multiscale["datasets"]
    try:
        stored = [from_array(group[dataset["path"]]) for dataset in datasets]
    except (KeyError, ValueError, OSError) as error:
        raise FormatError(
            f"{path.name} announces arrays that are not there ({error}); copy the whole folder."
        ) from error
    names, lengths = _axes(multiscale, stored[0].ndim)
    order, extra_axis = arrangement(names, stored[0].shape, path.name)
    scale, translation = _transform(multiscale, datasets[0], len(names), path.name)
    position = {name: n for n, name in enumerate(names)}
    sizes = [(scale[position[a]], translation[position[a]], lengths[position[a]]) for a in "xyz" if a in position]
    notes: tuple[str, ...] = ()
    if any(length is None for _, _, length in sizes):
        notes = ("the file does not say its unit of length; micrometres were taken",)
    units_mm = [length or 1e-3 for _, _, length in sizes]
    spacing = [size * mm for (size, _, _), mm in zip(sizes, units_mm, strict=True)]
    origin = [start * mm for (_, start, _), mm in zip(sizes, units_mm, strict=True)]
    if len(sizes) == 2:
        spacing, origin = [*spacing, spacing[0]], [*origin, 0.0]
    levels = tuple(_arranged(array, order, "z" in position) for array in stored)
    is_labels = "image-label" in about or path.resolve().parent.name == "labels"
    return (LabelVolume if is_labels else Volume)(
        levels[0],
        grid_affine(spacing, origin, path.name),
        units=preferred_unit(units_mm[0]),
        extra_axis=extra_axis,
        history=notes,
        metadata={LEVELS_KEY: levels},
    )


def _image_group(path: Path) -> tuple[Any, Mapping[str, Any]]:
    """The group that holds the pyramid, and its OME metadata."""
    import zarr

    try:
        group: Any = zarr.open_group(path, mode="r")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise FormatError(
            f"{path.name} is no OME-Zarr image ({error}); choose the folder of the image group."
        ) from error
    about = group.attrs.get("ome", group.attrs)
    if about.get("multiscales") and about["multiscales"][0].get("datasets"):
        return group, about
    if "bioformats2raw.layout" in about and (path / "0").is_dir():
        return _image_group(path / "0")
    if "labels" in about:
        raise FormatError(
            f"{path} holds several label images; open one of {', '.join(map(str, about['labels']))} in it."
        )
    if "plate" in about or "well" in about:
        raise FormatError(f"{path.name} is a plate of many images; open the folder of one field in it.")
    raise FormatError(
        f"An OME-Zarr image has 'multiscales' metadata, but {path.name} has {sorted(group.attrs) or 'none'}; choose "
        "the folder of the image group."
    )


def _axes(multiscale: Mapping[str, Any], ndim: int) -> tuple[list[str], list[float | None]]:
    """Letter of each axis, and its unit in millimetres (None where it has none)."""
    axes = multiscale.get("axes") or list(_DEFAULT_AXES[-ndim:])
    dicts = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in axes]
    return [str(axis.get("name", "?")).lower() for axis in dicts], [millimetres(axis.get("unit")) for axis in dicts]


def _transform(
    multiscale: Mapping[str, Any], dataset: Mapping[str, Any], ndim: int, name: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Scale and translation of level 0, those of the whole pyramid applied after its own."""
    scale, translation = np.ones(ndim), np.zeros(ndim)
    steps: Sequence[Mapping[str, Any]] = [
        *dataset.get("coordinateTransformations", []),
        *multiscale.get("coordinateTransformations", []),
    ]
    for step in steps:
        kind = step.get("type")
        values = step.get(str(kind))
        if kind == "identity":
            continue
        if kind not in ("scale", "translation") or not isinstance(values, Sequence) or len(values) != ndim:
            raise FormatError(
                f"Scales and translations with {ndim} numbers are understood, but {name} says {dict(step)}."
            )
        if kind == "scale":
            scale, translation = scale * values, translation * values
        else:
            translation = translation + values
    return scale, translation


def _arranged(array: Any, order: Sequence[int], has_z: bool) -> npt.NDArray[Any]:
    """A dask array as [i, j, k] or [i, j, k, n]; axes that are not in ``order`` have length 1."""
    dropped = tuple(n for n in range(array.ndim) if n not in order)
    kept = sorted(order)
    arranged: npt.NDArray[Any] = array.squeeze(dropped).transpose([kept.index(n) for n in order])
    return arranged if has_z else arranged[:, :, np.newaxis]
