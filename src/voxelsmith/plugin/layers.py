"""Layers: the one place where a Volume and a napari layer meet.

Owns the translation in both directions; :mod:`voxelsmith.plugin.placement` explains how a grid is placed in napari's
world. In short: the world is (S, P, L) millimetres; the data of a layer are a transposed view of the stored array,
and ``axis_labels`` name the stored axes, "k", "j", "i" for most files, with "t" in front for time. Layers whose
labels do not say so are taken as (k, j, i), which is what ITK makes of an array (z, y, x). ``scale`` is the spacing,
``affine`` the rest, ``units`` are millimetres (time is counted in frames, unit "pixel").

What napari has no field for travels in ``metadata["voxelsmith"]``: the true affine and grid, the preferred unit,
history, label names, and what the source file said. Whoever draws over a layer goes through its voxel indices
(:func:`to_ijk`, :func:`from_ijk`) and gives the new layer the same :func:`placement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.volume import ExtraAxis, LabelVolume, Volume
from voxelsmith.plugin import placement as place
from voxelsmith.plugin.windows import first_window

if TYPE_CHECKING:
    from napari.layers import Image, Labels

LayerData: TypeAlias = tuple[Any, dict[str, Any], str]
NAMESPACE = "voxelsmith"

_AXES = "ijk"
_OWN_KEYS = {"affine", "grid", "name", "units", "history", "names"}
_LEVELS = "levels"
_MILLIMETRES = ("mm",) * 3
_KNOWN = place.KnownGrids()


def layer_data(volume: Volume) -> LayerData:
    """What napari needs to show a volume.

    Parameters
    ----------
    volume
        Any volume; a time axis becomes the first layer axis, a channel axis one layer a channel, and three or four
        unnamed channels of bytes a colour image. ``metadata["levels"]``, arrays of falling resolution, become a
        multiscale layer.

    Returns
    -------
    tuple
        Data (a view), arguments of the layer, and "image" or "labels". The grey values of an image in memory are set so
        that a few bright voxels leave the rest visible.
    """
    order = place.stored_order(volume.affine)
    drawn = place.drawn_affine(volume.affine, volume.grid)
    _KNOWN.remember(volume.affine, volume.grid)
    scale, affine = place.layer_transform(drawn, order)
    kwargs: dict[str, Any] = {
        "name": volume.name,
        "scale": scale,
        "affine": affine,
        "units": _MILLIMETRES,
        "axis_labels": tuple(_AXES[axis] for axis in order),
        "metadata": {NAMESPACE: _metadata(volume)},
    }
    arrays = list(volume.metadata.get(_LEVELS) or [volume.array])
    if volume.extra_axis == "time":
        arrays = [array.transpose(3, *order) for array in arrays]
        kwargs["scale"] = np.array([1.0, *scale])
        kwargs["affine"] = np.block([[np.eye(1), np.zeros((1, 4))], [np.zeros((4, 1)), affine]])
        kwargs["units"] = ("pixel", *_MILLIMETRES)
        kwargs["axis_labels"] = ("t", *kwargs["axis_labels"])
    else:
        arrays = [array.transpose(*order, *range(3, array.ndim)) for array in arrays]
    if volume.extra_axis == "channel":
        kwargs |= _channel_arguments(volume)
    elif not isinstance(volume, LabelVolume) and (window := first_window(volume)) is not None:
        kwargs["contrast_limits"] = window
    if len(arrays) > 1:
        kwargs["multiscale"] = True
    return arrays if len(arrays) > 1 else arrays[0], kwargs, "labels" if isinstance(volume, LabelVolume) else "image"


def _channel_arguments(volume: Volume) -> dict[str, Any]:
    count = volume.array.shape[3]
    named = volume.metadata.get("channel_names")
    if count in (3, 4) and volume.array.dtype == np.uint8 and named is None:
        return {"rgb": True}
    windows = [first_window(replace(volume, array=volume.array[..., n], extra_axis=None)) for n in range(count)]
    limits = {"contrast_limits": windows} if None not in windows else {}
    names = named if named is not None and len(named) == count else [f"channel {n}" for n in range(count)]
    return {"channel_axis": 3, "name": [f"{volume.name} · {name}" for name in names]} | limits


def _metadata(volume: Volume) -> dict[str, Any]:
    own = {
        "affine": volume.affine.matrix.tolist(),
        "grid": list(volume.grid),
        "name": volume.name,
        "units": volume.units,
        "history": list(volume.history),
    }
    if isinstance(volume, LabelVolume):
        own["names"] = dict(volume.names)
    return {key: value for key, value in volume.metadata.items() if key != _LEVELS} | own


def stored_axes(layer: Any) -> tuple[int, ...]:
    """Which stored axis (0 i, 1 j, 2 k) each spatial axis of a layer is; a 2-D layer has two.

    Raises
    ------
    InputError
        If the layer has more axes than time and space.
    """
    if not 2 <= layer.ndim <= 4:
        raise InputError(
            f"A layer has 2 or 3 axes of space and at most one of time, but {layer.name!r} has {layer.ndim}; "
            "split it first."
        )
    labels = layer.axis_labels[-3:]
    if len(set(labels)) == len(labels) and set(labels) <= set(_AXES):
        return tuple(_AXES.index(label) for label in labels)
    return tuple(range(len(labels)))[::-1]


def to_ijk(layer: Any, coordinates: npt.ArrayLike) -> FloatArray:
    """Turn data coordinates of a layer, shape (N, ndim), into stored voxel indices (i, j, k), shape (N, 3)."""
    axes = stored_axes(layer)
    points = np.asarray(coordinates, dtype=np.float64).reshape(-1, layer.ndim)
    ijk = np.zeros((len(points), 3))
    ijk[:, list(axes)] = points[:, -len(axes) :]
    return ijk


def from_ijk(layer: Any, ijk: npt.ArrayLike, frame: float = 0.0) -> FloatArray:
    """Turn stored voxel indices (i, j, k), shape (N, 3), into data coordinates of a layer, shape (N, ndim)."""
    axes = stored_axes(layer)
    points = np.asarray(ijk, dtype=np.float64).reshape(-1, 3)
    out = np.full((len(points), layer.ndim), frame)
    out[:, -len(axes) :] = points[:, list(axes)]
    return out


def to_stored(layer: Any, array: Any) -> Any:
    """View an array in the axes of a layer, (..space) or (t, ..space) or (..space, channel), as [i, j, k(, n)].

    Missing axes of 2-D layers get length 1.
    """
    axes = stored_axes(layer)
    if array.ndim not in (len(axes), len(axes) + 1):
        raise InputError(
            f"An array on {layer.name!r} has {len(axes)} axes of space and at most one more, got {array.ndim}."
        )
    extra = array.ndim - len(axes)
    leading = extra if layer.ndim == 4 else 0
    space = [int(np.argsort(axes)[n]) + leading for n in range(len(axes))]
    other = [0] if leading else [len(axes)] * extra
    view = array.transpose(*space, *other)
    for missing in sorted(set(range(3)) - set(axes)):
        view = view[(slice(None),) * missing + (None,)]
    return view


def from_stored(layer: Any, array: Any) -> Any:
    """View a stored array [i, j, k] or [i, j, k, n] in the axes of a layer; the inverse of :func:`to_stored`."""
    axes = stored_axes(layer)
    for missing in sorted(set(range(3)) - set(axes), reverse=True):
        array = array[(slice(None),) * missing + (0,)]
    space = [int(np.argsort(np.argsort(axes))[n]) for n in range(len(axes))]
    other = list(range(len(axes), array.ndim))
    return array.transpose(*other, *space) if layer.ndim == 4 else array.transpose(*space, *other)


def namespaced(layer: Any) -> dict[str, Any]:
    """Our part of a layer's metadata, empty if there is none."""
    ours = layer.metadata.get(NAMESPACE, {})
    return dict(ours) if isinstance(ours, Mapping) else {}


def layer_affine(layer: Any) -> Affine:
    """The true affine of a layer's grid.

    Raises
    ------
    GeometryError
        If the transform of the layer flattens space, or its units are not lengths.
    """
    axes = stored_axes(layer)
    matrix = _index_to_world(layer)
    if len(axes) == 2:
        # The missing axis gets the mean of the two voxel sizes.
        third = ({0, 1, 2} - set(axes)).pop()
        size = np.linalg.norm(matrix[:2, :2], axis=0).mean()
        matrix = np.block([[np.array([[size]]), np.zeros((1, 3))], [np.zeros((3, 1)), matrix]])
        axes = (third, *axes)
    drawn = place.affine_of_transform(matrix, (axes[0], axes[1], axes[2]))
    grid = grid_of(layer)
    ours = namespaced(layer)
    if len(stored_axes(layer)) == 3 and "affine" in ours:
        i, j, k = ours.get("grid", grid)
        return place.true_affine(drawn, Affine(ours["affine"]), (int(i), int(j), int(k)))
    return _KNOWN.find(drawn, grid)


def _index_to_world(layer: Any) -> FloatArray:
    """Homogeneous matrix from spatial layer indices to the world in millimetres."""
    from napari.utils.transforms import CompositeAffine

    inner = CompositeAffine(layer.scale, layer.translate, rotate=layer.rotate, shear=layer.shear, ndim=layer.ndim)
    matrix: FloatArray = np.asarray(layer.affine.affine_matrix) @ np.asarray(inner.affine_matrix)
    space = [*range(layer.ndim - len(stored_axes(layer)), layer.ndim), layer.ndim]
    factors = [_to_millimetres(layer, unit) for unit in layer.units[-len(stored_axes(layer)) :]]
    return np.diag([*factors, 1.0]) @ matrix[np.ix_(space, space)]


def _to_millimetres(layer: Any, unit: Any) -> float:
    """Millimetres in a pint unit; a pixel counts as one."""
    if str(unit) in ("pixel", "dimensionless", ""):
        return 1.0
    if not unit.is_compatible_with("mm"):
        raise GeometryError(f"The axes of {layer.name!r} are lengths, got the unit {unit}; set it to mm.")
    return float((1 * unit).to("mm").magnitude)


def grid_of(layer: Any) -> place.Grid:
    """Number of voxels of a layer along the stored axes i, j, k."""
    shape = np.shape(_full_resolution(layer))
    spatial = shape[: layer.ndim][-len(stored_axes(layer)) :]
    grid = [1, 1, 1]
    for axis, length in zip(stored_axes(layer), spatial, strict=True):
        grid[axis] = int(length)
    return grid[0], grid[1], grid[2]


def _full_resolution(layer: Any) -> Any:
    data = layer.data[0] if layer.multiscale else layer.data
    if hasattr(data, "transpose"):
        return data
    from dask.array import from_array

    lazy: Any = from_array
    return lazy(data)


def layer_to_volume(layer: Any) -> Volume:
    """The volume that an Image or Labels layer shows, without a copy.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
        Wherever it comes from; 2-D layers become one slice, colour images get a channel axis, of a multiscale layer the
        full resolution is taken, and dask arrays stay lazy.

    Returns
    -------
    Volume or LabelVolume
        LabelVolume for a Labels layer.

    Raises
    ------
    InputError
        If the layer is of another type or has too many axes.
    GeometryError
        If its transform or units are unusable.
    """
    from napari.layers import Image, Labels

    if not isinstance(layer, Image | Labels):
        raise InputError(f"An Image or Labels layer is needed, but {layer.name!r} is {type(layer).__name__}.")
    ours = namespaced(layer)
    array = to_stored(layer, _full_resolution(layer))
    extra: ExtraAxis | None = None
    if array.ndim == 4:
        extra = "time" if layer.ndim == 4 else "channel"
    fields: dict[str, Any] = {
        "array": array,
        "affine": layer_affine(layer),
        "name": layer.name,
        "units": ours.get("units") or ("um" if str(layer.units[-1]) == "micrometer" else "mm"),
        "extra_axis": extra,
        "history": tuple(ours.get("history", ())),
        "metadata": {key: value for key, value in ours.items() if key not in _OWN_KEYS},
    }
    return LabelVolume(**fields, names=label_names(layer)) if isinstance(layer, Labels) else Volume(**fields)


def label_names(layer: Labels) -> dict[int, str]:
    """Names of the label values: those in our metadata, else columns "index" and "name" of the layer's features."""
    if names := namespaced(layer).get("names"):
        return {int(value): str(name) for value, name in names.items()}
    if {"index", "name"} <= set(layer.features.columns):
        return {int(row["index"]): str(row["name"]) for _, row in layer.features.iterrows()}
    return {}


def placement(layer: Any) -> dict[str, Any]:
    """The arguments that make a layer of any type lie on the spatial axes of this one."""
    space = slice(-len(stored_axes(layer)), None)
    shear = np.asarray(layer.shear)
    full = np.asarray(layer.affine.affine_matrix)
    rows = [*range(layer.ndim)[space], layer.ndim]
    if shear.ndim == 1 and layer.ndim == 4:
        # The upper triangle of four axes runs (tk, tj, ti, kj, ki, ji).
        shear = shear[3:]
    elif shear.ndim == 2:
        shear = shear[space, space]
    return {
        "scale": np.array(layer.scale[space]),
        "translate": np.array(layer.translate[space]),
        "rotate": np.array(layer.rotate[space, space]),
        "shear": np.array(shear),
        "affine": full[np.ix_(rows, rows)].copy(),
        "units": tuple(layer.units[space]),
        "axis_labels": tuple(layer.axis_labels[space]),
    }


def labels_like(layer: Image | Labels, data: Any = None, name: str = "labels") -> Labels:
    """A Labels layer on the spatial grid of another layer.

    Parameters
    ----------
    layer
        The image to label; of a time series, one frame's grid is taken.
    data : integer array in the axes of the layer
        Default: background everywhere, 8-bit.
    name
        Name of the new layer.
    """
    from napari.layers import Labels

    shape = from_stored_shape(layer)
    if data is None:
        data = np.zeros(shape, dtype=np.uint8)
    elif tuple(data.shape) != shape:
        raise GeometryError(f"Labels on {layer.name!r} have shape {shape}, got {tuple(data.shape)}.")
    ours = {key: value for key, value in namespaced(layer).items() if key != "names"}
    return Labels(data, name=name, metadata={NAMESPACE: ours | {"name": name}} if ours else {}, **placement(layer))


def from_stored_shape(layer: Any) -> tuple[int, ...]:
    """Shape of one frame of a layer in its own spatial axes."""
    grid = grid_of(layer)
    return tuple(grid[axis] for axis in stored_axes(layer))
