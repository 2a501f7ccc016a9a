"""Prompt layers: the four napari layers of a session, on the grid of its image.

Owns points, box, scribbles and preview: making and removing them, which of them is the active tool, the polarity of
what is drawn next, and showing what the session holds. Reports each change that the user makes; changes made here are
not reported. What the layers mean as prompts is told by :mod:`translate` and :mod:`boxes`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QTimer

from voxelsmith.core.errors import PromptError
from voxelsmith.core.prompts import Box, Point, Prompt
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.canvas import make_current, remove_layers
from voxelsmith.plugin.docks.prompt import looks, ray
from voxelsmith.plugin.docks.prompt.boxes import Rectangle, edges, outline
from voxelsmith.plugin.docks.prompt.translate import BACKGROUND, OBJECT, paint
from voxelsmith.plugin.layers import from_ijk, from_stored, to_ijk
from voxelsmith.segment.engine import Segmentation

if TYPE_CHECKING:
    from napari.layers import Image

TOOLS = ("points", "box", "scribbles")
_CLICK_PIXELS = 5
_MODES = {"points": "add", "box": "add_rectangle", "scribbles": "paint"}


class PromptLayers:
    """The layers of one session.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Where they are shown.
    image
        The layer that they lie on.
    volume
        What the session computes on, for picking in 3-D.
    on_change
        Called with "points", "box" or "scribbles" when the user has changed that layer.
    on_error
        Called with an error that a click has caused.

    Attributes
    ----------
    ink, mask : uint8 array, shape (I, J, K)
        Scribbles and preview in stored axes; the layers show views of them.
    positive
        Whether what is drawn next says "object"; holding Ctrl turns it round.
    shown
        What the preview shows, None if nothing.
    redrawn
        Whether the last change of the box layer moved an outline, rather than adding a rectangle.
    """

    def __init__(
        self,
        viewer: Any,
        image: Image,
        volume: Volume,
        on_change: Callable[[str], None],
        on_error: Callable[[PromptError], None],
    ) -> None:
        self._viewer, self._image, self._volume = viewer, image, volume
        self._on_change, self._on_error = on_change, on_error
        self.ink = np.zeros(volume.grid, dtype=np.uint8)
        self.mask = np.zeros(volume.grid, dtype=np.uint8)
        self.shown: Segmentation | None = None
        self._box: Box | None = None
        self._flipped = False
        self._listening = True
        self.redrawn = False
        self.positive = True
        self.tool = "points"
        self.layers: dict[str, Any] = {}
        self.add_missing()
        # The user may delete them too, with napari's button.
        viewer.layers.events.end_batch.connect(make_current)
        viewer.dims.events.point.connect(self._follow_slice)
        viewer.dims.events.order.connect(self._follow_slice)
        viewer.dims.events.ndisplay.connect(self._follow_display)

    def add_missing(self) -> list[str]:
        """Make the layers that are not in the viewer, empty; returns which."""
        makers = {
            "preview": lambda: looks.preview_layer(self._image, from_stored(self._image, self.mask)),
            "scribbles": lambda: looks.scribble_layer(self._image, from_stored(self._image, self.ink)),
            "box": lambda: looks.box_layer(self._image),
            "points": lambda: looks.points_layer(self._image),
        }
        missing = [kind for kind in makers if self.layers.get(kind) not in self._viewer.layers]
        for kind in missing:
            layer = self._viewer.add_layer(makers[kind]())
            self.layers[kind] = layer
            if kind == "points":
                layer.events.data.connect(self._points_edited)
                layer.mouse_drag_callbacks.insert(0, self._press)
            elif kind == "box":
                layer.events.data.connect(self._box_edited)
            elif kind == "scribbles":
                layer.events.paint.connect(self._scribbled)
                layer.mouse_drag_callbacks.insert(0, self._press)
        return missing

    def remove(self) -> None:
        """Take the layers out of the viewer and listen no more."""
        self.disconnect()
        remove_layers(self._viewer, self.layers.values())

    def disconnect(self) -> None:
        """Listen no more."""
        self._listening = False
        self._viewer.layers.events.end_batch.disconnect(make_current)
        dims = self._viewer.dims.events
        dims.point.disconnect(self._follow_slice)
        dims.order.disconnect(self._follow_slice)
        dims.ndisplay.disconnect(self._follow_display)
        self.layers["points"].events.data.disconnect(self._points_edited)
        self.layers["box"].events.data.disconnect(self._box_edited)
        self.layers["scribbles"].events.paint.disconnect(self._scribbled)
        for kind in ("points", "scribbles"):
            self.layers[kind].mouse_drag_callbacks.remove(self._press)

    # -- what is drawn next ------------------------------------------------------------------------------------

    def activate(self, tool: str) -> None:
        """Make a layer the active one, ready to draw; rectangles and strokes are drawn on slices only."""
        self.tool = tool
        layer = self.layers[tool]
        self._viewer.layers.selection.active = layer
        layer.mode = _MODES[tool] if self._viewer.dims.ndisplay == 2 else "pan_zoom"

    def set_positive(self, positive: bool) -> None:
        """Whether what is drawn next says "object" or "background"."""
        self.positive = positive
        self.layers["scribbles"].selected_label = OBJECT if positive else BACKGROUND

    def _press(self, layer: Any, event: Any) -> Generator[None, None, None]:
        flip = "Control" in event.modifiers or (layer is self.layers["points"] and "Alt" in event.modifiers)
        self._flipped = flip and event.button == 1
        if layer is self.layers["scribbles"]:
            layer.selected_label = OBJECT if self.positive != self._flipped else BACKGROUND
        start = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        near = np.linalg.norm(np.array(event.pos) - start) < _CLICK_PIXELS
        picking = layer is self.layers["points"] and self.tool == "points" and len(event.dims_displayed) == 3
        if picking and near and event.button == 1:
            self._pick(event)

    def _pick(self, event: Any) -> None:
        """Place a point where a click in 3-D means it to be."""
        ends = self._image.get_ray_intersections(event.position, event.view_direction, event.dims_displayed)
        try:
            if ends[0] is None:
                raise PromptError("The click missed the image; click on what is rendered of it.")
            start, end = to_ijk(self._image, np.stack(ends))
            index = ray.pick(self._volume.array, self.mask, start, end, self.positive != self._flipped)
        except PromptError as error:
            self._on_error(error)
            return
        self.layers["points"].add(from_ijk(self.layers["points"], [index])[0])

    # -- what the user did -------------------------------------------------------------------------------------

    def _points_edited(self, event: Any) -> None:
        if event.action not in ("added", "removed", "changed"):
            return
        layer = self.layers["points"]
        if event.action == "added":
            polarity = layer.features["polarity"].to_numpy(dtype=object, copy=True)
            new = [index % len(polarity) for index in event.data_indices]
            polarity[new] = looks.POLARITY[self.positive != self._flipped]
            self._flipped = False
            layer.features = {"polarity": polarity}
        self._on_change("points")
        looks.mark_polarity(layer)

    def _box_edited(self, event: Any) -> None:
        if event.action in ("added", "removed", "changed"):
            self.redrawn = event.action == "changed"
            self._on_change("box")

    def _scribbled(self, event: Any) -> None:
        """Look at the stroke once it is there: of some tools napari reports it before it writes it."""
        QTimer.singleShot(0, self._read_stroke)

    def _read_stroke(self) -> None:
        if self._listening:
            self._on_change("scribbles")

    # -- what the layers say -----------------------------------------------------------------------------------

    def points(self) -> list[Point]:
        """The points as prompts, in the order of the layer."""
        layer = self.layers["points"]
        indices = np.round(to_ijk(layer, layer.data), 3)
        positive = layer.features["polarity"] == looks.POLARITY[True]
        return [Point((i, j, k), bool(p)) for (i, j, k), p in zip(indices.tolist(), positive, strict=True)]

    def rectangle(self) -> Rectangle | None:
        """The rectangle that was drawn or changed last.

        Raises
        ------
        PromptError
            If it has no area or lies outside the image.
        """
        layer = self.layers["box"]
        return Rectangle.from_corners(to_ijk(layer, layer.data[-1]), self._volume.grid) if layer.nshapes else None

    # -- what the session holds --------------------------------------------------------------------------------

    def show_prompts(self, prompts: Sequence[Prompt], kinds: Iterable[str] = TOOLS) -> None:
        """Make layers show exactly these prompts."""
        for kind in kinds:
            if kind == "points":
                self._show_points([p for p in prompts if isinstance(p, Point)])
            elif kind == "scribbles":
                paint(self.ink, prompts)
                self.layers["scribbles"].refresh()
            else:
                self._box = next((p for p in reversed(prompts) if isinstance(p, Box)), None)
                self._draw_box()

    def show_mask(self, segmentation: Segmentation | None) -> None:
        """Make the preview show a mask, or nothing; only the boxes that change are written."""
        if self.shown is not None:
            self.mask[self.shown.box.slices] = 0
        self.shown = segmentation
        if segmentation is not None:
            self.mask[segmentation.box.slices] = segmentation.mask
        self.layers["preview"].refresh()

    def _show_points(self, points: Sequence[Point]) -> None:
        layer = self.layers["points"]
        with layer.events.data.blocker():
            layer.selected_data = set()
            layer.data = from_ijk(layer, [p.index for p in points])
            layer.features = {"polarity": np.array([looks.POLARITY[p.positive] for p in points], dtype=object)}
        looks.mark_polarity(layer)

    def _outline(self) -> npt.NDArray[np.float64] | None:
        """Corners of the box on the shown slice, in voxel indices."""
        sliced = self._sliced_axis()
        if self._box is None or sliced is None:
            return None
        axis, at = sliced
        return outline(self._box, axis, at)

    def _sliced_axis(self) -> tuple[int, int] | None:
        """Stored axis that is sliced, and the slice shown; None in 3-D."""
        dims, layer = self._viewer.dims, self.layers["box"]
        if dims.ndisplay == 3:
            return None
        hidden = [axis - (dims.ndim - layer.ndim) for axis in dims.not_displayed]
        hidden = [axis for axis in hidden if axis >= 0]
        if len(hidden) > 1:
            return None
        at = to_ijk(layer, [layer.world_to_data(dims.point[-layer.ndim :])])[0]
        unit = np.zeros(layer.ndim)
        unit[hidden] = 1
        axis = int(np.argmax(to_ijk(layer, [unit])[0])) if hidden else self._flat_axis()
        return axis, int(np.floor(at[axis] + 0.5))

    def _flat_axis(self) -> int:
        """The stored axis that a 2-D layer lacks."""
        layer = self.layers["box"]
        return int(np.argmin(to_ijk(layer, [np.ones(layer.ndim)])[0]))

    def _draw_box(self) -> None:
        layer = self.layers["box"]
        if self._box is not None and self._viewer.dims.ndisplay == 3 and layer.ndim == 3:
            shapes, kind = [from_ijk(layer, line) for line in edges(self._box)], "line"
        else:
            corners = self._outline()
            shapes, kind = ([] if corners is None else [from_ijk(layer, corners)]), "rectangle"
        with layer.events.data.blocker():
            layer.selected_data = set()
            layer.data = []
            if shapes:
                layer.add(shapes, shape_type=kind, **looks.box_style(self._volume.grid, thin=kind == "line"))

    def _follow_slice(self, event: Any = None) -> None:
        if self._box is not None and self._viewer.dims.ndisplay == 2:
            self._draw_box()

    def _follow_display(self, event: Any = None) -> None:
        self._draw_box()
        if self._viewer.layers.selection.active is self.layers[self.tool]:
            self.activate(self.tool)
