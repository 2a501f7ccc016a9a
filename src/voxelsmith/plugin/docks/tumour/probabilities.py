"""Probabilities: image layers that glow where a region is likely.

Owns them for the layer of one run. They go when they are no longer wanted, or when the dock speaks of another layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from voxelsmith.core.regions import REGION_COLOURS, REGIONS, Region
from voxelsmith.plugin.canvas import remove_layers
from voxelsmith.plugin.docks.offered import PREVIEW
from voxelsmith.plugin.layers import NAMESPACE, from_stored, placement
from voxelsmith.segment.tumour.result import TumourResult

_OPACITY = 0.8


class Probabilities:
    """The probabilities of one result.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    on_change
        Called when other ones can be shown or are shown.

    Attributes
    ----------
    layers : dict
        By region, those that are shown.
    """

    def __init__(self, viewer: Any, on_change: Callable[[], None]) -> None:
        self._viewer, self._on_change = viewer, on_change
        self._labels: Any = None
        self._result: TumourResult | None = None
        self.layers: dict[Region, Any] = {}
        viewer.layers.events.removed.connect(self._on_removed)

    def close(self) -> None:
        """Let go of the viewer."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    @property
    def possible(self) -> Collection[Region]:
        """The regions whose probability can be shown."""
        return REGIONS if self._result is not None else ()

    def of(self, labels: Any, result: TumourResult | None) -> None:
        """Speak of the result that a layer was made from; None if it is not known."""
        for region in [*self.layers]:
            self.show(region, False)
        self._labels, self._result = labels, result
        self._on_change()

    def show(self, region: Region, wanted: bool) -> None:
        """Show the probability of a region, or no longer."""
        if not wanted and region in self.layers:
            remove_layers(self._viewer, [self.layers.pop(region)])
        elif wanted and region not in self.layers and self._result is not None:
            layer = self._made(region, self._result)
            self.layers[region] = layer
            self._viewer.layers.insert(self._viewer.layers.index(self._labels), layer)
        self._on_change()

    def _made(self, region: Region, result: TumourResult) -> Any:
        from napari.layers import Image
        from napari.utils.colormaps import Colormap

        # Unlikely voxels are transparent, so that the tissue below is seen.
        ends = np.array([(*REGION_COLOURS[region], 0.0), (*REGION_COLOURS[region], 1.0)])
        array = result.probabilities[REGIONS.index(region)].astype(np.float32)
        return Image(
            from_stored(self._labels, array),
            name=f"{region} probability",
            colormap=Colormap(ends, name=f"probability {region}"),
            contrast_limits=(0, 1),
            blending="translucent",
            opacity=_OPACITY,
            metadata={NAMESPACE: {PREVIEW: True}},
            **placement(self._labels),
        )

    def _on_removed(self, event: Any) -> None:
        gone = [region for region, layer in self.layers.items() if layer is event.value]
        for region in gone:
            del self.layers[region]
        if gone:
            self._on_change()
