"""Live preview: the layer that shows how far a run has come.

Owns one Image layer, half transparent over the fixed image, from the first level to the end of the run. The moving
image, and what belongs to it, is hidden from then on, as it would lie between the two, and shown again if nothing comes
of the run. If the user deletes the preview, it stays away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from voxelsmith.core.volume import Volume
from voxelsmith.plugin.canvas import remove_layers
from voxelsmith.plugin.docks.offered import PREVIEW
from voxelsmith.plugin.layers import NAMESPACE, from_stored, placement
from voxelsmith.plugin.windows import first_window

_OPACITY = 0.5


class LivePreview:
    """The preview of one run.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    fixed, moving : napari.layers.Image
        The images of the run.
    beside
        Further layers of the moving side: mask, labels and landmarks.
    """

    def __init__(self, viewer: Any, fixed: Any, moving: Any, beside: Iterable[Any] = ()) -> None:
        self._viewer, self._fixed, self._moving = viewer, fixed, moving
        self._hidden = [layer for layer in (moving, *beside) if layer.visible]
        self.layer: Any = None

    def show(self, warped: Volume) -> None:
        """Show the moving image as it lies on the fixed grid now."""
        data = from_stored(self._fixed, warped.array)
        if self.layer is None:
            self.layer = self._made(data, warped)
            self._viewer.add_layer(self.layer)
            self._show_moving(False)
        elif self.layer in self._viewer.layers:
            self.layer.data = data

    def remove(self, *, finished: bool) -> None:
        """Take the preview away; unless the run has finished, what was hidden is shown again."""
        if self.layer is not None:
            remove_layers(self._viewer, [self.layer])
            self._show_moving(not finished)
        elif finished:
            self._show_moving(False)

    def _show_moving(self, shown: bool) -> None:
        for layer in self._hidden:
            layer.visible = shown

    def _made(self, data: Any, warped: Volume) -> Any:
        from napari.layers import Image

        limits = first_window(warped) if self._moving.rgb else tuple(self._moving.contrast_limits)
        return Image(
            data,
            name=f"{self._moving.name} · registering",
            contrast_limits=limits,
            colormap="gray" if self._moving.rgb else self._moving.colormap,
            opacity=_OPACITY,
            blending="translucent",
            metadata={NAMESPACE: {PREVIEW: True}},
            **placement(self._fixed),
        )
