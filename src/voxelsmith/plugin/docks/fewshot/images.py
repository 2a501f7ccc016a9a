"""Images: the volumes that are computed on.

Owns that one image layer is one volume object for as long as the layer stays as it is, so that engines see at once
which examples were painted on the image itself, and nothing is read twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from voxelsmith.core.errors import InputError
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.prompt.source import Source, frame_shown, image_source
from voxelsmith.plugin.layers import stored_axes


@dataclass(frozen=True, eq=False)
class _Known:
    data: Any
    source: Source


class Images:
    """The volumes of image layers.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Whose frame counts where a layer has a time axis.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._known: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()

    def source(self, layer: Any) -> Source:
        """What a layer shows, without reading any voxel.

        Raises
        ------
        InputError
            If the layer is a single 2-D image or has too many axes.
        GeometryError
            If its transform is unusable.
        ResourceError
            If it is not in memory and too large to be loaded.
        """
        if len(stored_axes(layer)) < 3:
            raise InputError(
                f"Few-shot goes from slice to slice of a 3-D image, but {layer.name!r} is a single 2-D image; open a "
                "stack of slices."
            )
        fresh = image_source(layer, frame_shown(self._viewer, layer))
        known = self._known.get(layer)
        if (
            known is not None
            and known.data is layer.data
            and known.source.frame == fresh.frame
            and known.source.volume.affine.allclose(fresh.volume.affine)
        ):
            return known.source
        self._known[layer] = _Known(layer.data, fresh)
        return fresh

    def remember(self, layer: Any, source: Source, volume: Volume) -> None:
        """From now on use a volume that was loaded from a source, unless the layer has changed meanwhile."""
        known = self._known.get(layer)
        if known is not None and known.source is source:
            self._known[layer] = _Known(known.data, Source(volume, source.frame, source.note))
