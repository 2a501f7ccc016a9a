"""Preview: the layer that shows a proposal.

Owns its colours, its place over the image, and what it shows: the slice in view as soon as an engine has an answer for
it, then the whole proposal; after a computation was stopped what it showed before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from voxelsmith.core.support import Colour, SupportSet
from voxelsmith.core.volume import smallest_label_dtype
from voxelsmith.plugin.canvas import remove_layers
from voxelsmith.plugin.docks.offered import PREVIEW
from voxelsmith.plugin.docks.prompt.looks import HELPER
from voxelsmith.plugin.docks.register.place import Place
from voxelsmith.plugin.layers import NAMESPACE, from_stored, labels_like, namespaced, to_stored
from voxelsmith.segment.canvas import SlicePreview
from voxelsmith.segment.proposal import Proposal

KIND = "proposal"
_OPACITY = 0.5
_FEWEST_COLOURS, _MOST_COLOURS = 256, 65536


def colour_map(colours: Mapping[int, Colour]) -> Any:
    """napari's colours for label values; values that are not named are grey."""
    from napari.utils.colormaps import CyclicLabelColormap

    # One colour for each value: a DirectLabelColormap would say the same, but napari compiles code for it.
    count = min(max(_FEWEST_COLOURS, max(colours, default=0) + 1), _MOST_COLOURS)
    table = np.full((count, 4), (0.6, 0.6, 0.6, 1), dtype=np.float32)
    table[0] = 0
    for value, colour in colours.items():
        table[value % count] = (*colour, 1)
    return CyclicLabelColormap(colors=table)


def colours_of(support: SupportSet) -> dict[int, Colour]:
    """Label value to colour."""
    return {c.value: c.colour for c in support.classes if c.colour is not None}


class Preview:
    """The proposal layer of a viewer, which is there while there is something to show.

    Parameters
    ----------
    viewer : napari.components.ViewerModel

    Attributes
    ----------
    layer : napari.layers.Labels or None
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self.layer: Any = None

    def show_slice(self, image: Any, early: SlicePreview, support: SupportSet, before: Proposal | None) -> None:
        """Show an early answer for one slice over the proposal before it, or over nothing."""
        if self.layer is None or not np.can_cast(early.labels.dtype, self.layer.data.dtype):
            self._put(image, None if before is None else before.labels.array, support)
        view = to_stored(self.layer, self.layer.data)
        view[(*(slice(None),) * early.axis, early.index)] = early.labels
        self.layer.refresh()

    def show(self, image: Any, proposal: Proposal | None, support: SupportSet) -> None:
        """Show a proposal; None takes the layer away."""
        if proposal is None:
            self.remove()
            return
        self._put(image, proposal.labels.array, support)
        made = proposal.provenance
        self.layer.metadata[NAMESPACE] = namespaced(self.layer) | {
            "names": dict(proposal.labels.names),
            "provenance": {
                "engine": made.engine,
                "image": made.image,
                "support": list(made.support),
                "settings": made.settings,
            },
        }

    def colour(self, support: SupportSet) -> None:
        """Use the colours that the classes have now."""
        if self.layer is not None:
            self.layer.colormap = colour_map(colours_of(support))

    def remove(self) -> None:
        """Take the layer away."""
        if self.layer is not None:
            layer, self.layer = self.layer, None
            remove_layers(self._viewer, [layer])

    def leave(self) -> None:
        """Leave the layer to the user as an ordinary one."""
        if self.layer is None:
            return
        layer, self.layer = self.layer, None
        ours = namespaced(layer)
        layer.metadata[NAMESPACE] = {key: value for key, value in ours.items() if key not in (HELPER, PREVIEW)}
        layer.locked = False
        layer.name = layer.name.replace(f" · {KIND}", " · not accepted")

    def _put(self, image: Any, stored: Any, support: SupportSet) -> None:
        """Fill the layer with a copy of a stored array, or with nothing; make it if it is not there."""
        place = Place.of_layer(image)
        values = [*support.values, 0 if stored is None else int(stored.max(initial=0))]
        dtype = smallest_label_dtype(max(values))
        data = from_stored(place.frame, np.zeros(place.grid, dtype) if stored is None else np.array(stored, dtype))
        if self.layer is not None:
            self.layer.data = data
            return
        layer = labels_like(image, data, name=f"{image.name} · {KIND}")
        layer.colormap = colour_map(colours_of(support))
        layer.opacity = _OPACITY
        layer.metadata[NAMESPACE] = namespaced(layer) | {HELPER: KIND, PREVIEW: True}
        layer.locked = True
        self.layer = layer
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(layer)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active
