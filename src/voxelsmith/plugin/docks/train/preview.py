"""Preview: what the network answers, as layers over the image.

Owns two of them. Labels in the colours of the painted ones show the slice in view while the network learns, and the
whole volume after it was applied; a map glows where the answer is unsure. A layer that the user removes stays away
until it is asked for again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.volume import smallest_label_dtype
from voxelsmith.plugin.canvas import remove_layers
from voxelsmith.plugin.docks.offered import PREVIEW
from voxelsmith.plugin.docks.prompt.looks import HELPER, probability_layer
from voxelsmith.plugin.docks.train.jobs import entropy_levels
from voxelsmith.plugin.layers import NAMESPACE, from_stored, grid_of, labels_like, namespaced, to_stored
from voxelsmith.segment.trained import cut
from voxelsmith.train.tvunet import Preview as Answer

LABELS, UNSURE = "labels", "uncertainty"
_KINDS = {LABELS: "learning", UNSURE: "uncertainty"}
_OPACITY = 0.5
_HIGHEST = 255


class Preview:
    """The layers of one viewer that show what a network answers.

    Parameters
    ----------
    viewer : napari.components.ViewerModel

    Attributes
    ----------
    image : napari.layers.Image or None
        What the answer is about.
    wanted : set of str
        Which of "labels" and "uncertainty" are to be shown.
    layers : dict
        Those that are there.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self.image: Any = None
        self.wanted = {LABELS}
        self.layers: dict[str, Any] = {}
        self._shown: dict[str, tuple[Any, ...]] = {}
        self._painted: Any = None

    def of(self, image: Any, painted: Any = None) -> None:
        """Speak of an image from now on; a labels layer lends its colours. Another image takes the layers away."""
        if image is not self.image:
            self.remove()
        self.image, self._painted = image, painted

    def prepare(self) -> None:
        """Put the wanted layers in place, empty, so that nothing has to be built when an answer comes."""
        if self.image is None:
            return
        for kind in sorted(self.wanted):
            self.show(kind, np.zeros(grid_of(self.image), np.uint8))

    def show_slice(self, answer: Answer) -> None:
        """Show the answer for one slice, and nothing in the others."""
        if self.image is None or self.image not in self._viewer.layers:
            return
        likely = answer.probabilities.astype(np.float32) / _HIGHEST
        at = (*(slice(None),) * answer.axis, answer.slice.index)
        for kind in sorted(self.wanted):
            values: npt.NDArray[Any] = cut(likely, answer.classes) if kind == LABELS else entropy_levels(likely)
            layer = self.layers.get(kind)
            if layer is None or not np.can_cast(values.dtype, layer.data.dtype) or kind not in self._shown:
                highest = max(answer.classes) if kind == LABELS else _HIGHEST
                layer = self._put(kind, np.zeros(grid_of(self.image), smallest_label_dtype(highest)))
            stored = to_stored(layer, layer.data)
            if kind in self._shown:
                stored[self._shown[kind]] = 0
            stored[at] = values
            self._shown[kind] = at
            layer.refresh()

    def show(self, kind: str, stored: npt.NDArray[Any]) -> None:
        """Show an array of the image's grid, which is not copied."""
        if self.image in self._viewer.layers and kind in self.wanted:
            self._shown.pop(kind, None)
            self._put(kind, stored)

    def toggle(self, kind: str, wanted: bool) -> None:
        """Show one of the layers from now on, or no longer."""
        if wanted:
            self.wanted.add(kind)
        else:
            self.wanted.discard(kind)
            self._take_away([kind])

    def forget(self, layer: Any) -> str | None:
        """The user removed a layer; says which of ours it was."""
        kind = next((kind for kind, one in self.layers.items() if one is layer), None)
        if kind is not None:
            del self.layers[kind]
            self._shown.pop(kind, None)
            self.wanted.discard(kind)
        return kind

    def remove(self) -> None:
        """Take both layers away."""
        self._take_away(list(self.layers))

    def _take_away(self, kinds: list[str]) -> None:
        gone = [self.layers.pop(kind) for kind in kinds if kind in self.layers]
        for kind in kinds:
            self._shown.pop(kind, None)
        if gone:
            remove_layers(self._viewer, gone)

    def _put(self, kind: str, stored: npt.NDArray[Any]) -> Any:
        """Give a layer its voxels; make it if it is not there."""
        data = from_stored(self.image, stored)
        if kind in self.layers:
            self.layers[kind].data = data
            return self.layers[kind]
        layer = self._made(kind, data)
        self.layers[kind] = layer
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(layer)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active
        return layer

    def _made(self, kind: str, data: Any) -> Any:
        name = f"{self.image.name} · {_KINDS[kind]}"
        if kind == UNSURE:
            layer = probability_layer(self.image, data)
            layer.name, layer.contrast_limits = name, (0, _HIGHEST)
        else:
            layer = labels_like(self.image, data, name=name)
            layer.opacity = _OPACITY
            if self._painted is not None:
                layer.colormap = self._painted.colormap
        layer.metadata[NAMESPACE] = namespaced(layer) | {HELPER: _KINDS[kind], PREVIEW: True}
        layer.locked = True
        return layer
