"""Writers: what napari calls to save a layer.

Owns the contract with npe2: data and attributes of one layer come in, the paths that were written go out. Geometry
comes from the layer's transform (:mod:`voxelsmith.plugin.layers`), the header from its metadata, if it has any.
"""

from __future__ import annotations

from typing import Any

from voxelsmith.plugin.layers import layer_to_volume


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save an Image layer; the ending of the path chooses the format."""
    return _write(path, data, attributes, "image")


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save a Labels layer; the ending of the path chooses the format."""
    return _write(path, data, attributes, "labels")


def _write(path: str, data: Any, attributes: dict[str, Any], layer_type: str) -> list[str]:
    from napari.layers import Layer

    from voxelsmith import io

    layer = Layer.create(data, attributes, layer_type)
    return [str(io.write(layer_to_volume(layer), path))]
