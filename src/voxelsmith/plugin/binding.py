"""Binding: have the layers that a job reads changed since it started?

Owns the watch over identity, data and transform of a few layers. Editing a Labels layer, replacing the data of any
layer, moving it, and removing it from the viewer all count; looking at it does not. napari reports an undone brush
stroke in the same way as a change of slice, so the voxels of Labels layers are also compared by checksum.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

_WATCHED = ("data", "paint", "labels_update", "scale", "translate", "rotate", "shear", "affine", "units")


class Binding:
    """Watches layers from its creation until :meth:`release`.

    Parameters
    ----------
    viewer
        The viewer whose layers they are.
    layers
        What to watch; each must be in the viewer.
    """

    def __init__(self, viewer: Any, layers: Iterable[Any]) -> None:
        self._layer_list = viewer.layers
        self._layers = tuple(layers)
        self._changed: set[int] = set()
        self._checksums = {id(layer): _checksum(layer) for layer in self._layers}
        for layer in self._layers:
            for emitter in self._emitters(layer):
                emitter.connect(self._on_change)

    @staticmethod
    def _emitters(layer: Any) -> list[Any]:
        return [getattr(layer.events, name) for name in _WATCHED if hasattr(layer.events, name)]

    def _on_change(self, event: Any) -> None:
        self._changed.add(id(event.source))

    def broken(self) -> str | None:
        """What happened to a layer, as the end of a sentence; None if nothing did."""
        for layer in self._layers:
            if layer not in self._layer_list:
                return f"{layer.name!r} was removed"
            if id(layer) in self._changed or self._checksums[id(layer)] != _checksum(layer):
                return f"{layer.name!r} was changed"
        return None

    def release(self) -> None:
        """Stop watching."""
        for layer in self._layers:
            for emitter in self._emitters(layer):
                emitter.disconnect(self._on_change)
        self._layers = ()


def _checksum(layer: Any) -> int:
    """Of the voxels of a Labels layer in memory; 0 for other layers, which are not edited in place."""
    from napari.layers import Labels

    if not isinstance(layer, Labels) or not isinstance(layer.data, np.ndarray):
        return 0
    # In the order of the memory, so that a transposed view is not copied.
    return zlib.crc32(np.ascontiguousarray(layer.data.ravel(order="K")).data)
