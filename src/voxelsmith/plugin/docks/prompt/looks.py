"""Looks: how the prompt layers are made and what they look like.

Owns names, colours and symbols. Object and background differ in symbol as well as in colour, so that they can be told
apart without seeing colours; the palette is readable on grey images and with common colour deficiencies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from voxelsmith.core.prompts import Grid
from voxelsmith.plugin.docks.prompt.translate import BACKGROUND, OBJECT
from voxelsmith.plugin.layers import NAMESPACE, grid_of, labels_like, namespaced, placement, stored_axes

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Points, Shapes

POLARITY = {True: "object", False: "background"}
HELPER = "prompt_layer"
"""Key in our part of a layer's metadata that marks a layer of a session."""

_GREEN, _RED, _YELLOW, _BLUE = "#2fbf71", "#ff4d3d", "#ffd23f", "#3fa7ff"
# In 3-D, marks inside the object stay visible.
_ON_TOP = "translucent_no_depth"
_SYMBOLS = {POLARITY[True]: "disc", POLARITY[False]: "x"}
_COLORS = {POLARITY[True]: _GREEN, POLARITY[False]: _RED}


def is_helper(layer: Any) -> bool:
    """Whether a layer belongs to a session."""
    return HELPER in namespaced(layer)


def _mark(kind: str) -> dict[str, Any]:
    return {NAMESPACE: {HELPER: kind}}


def points_layer(image: Image) -> Points:
    """An empty layer for clicks."""
    from napari.layers import Points

    layer = Points(
        ndim=len(stored_axes(image)),
        name=f"{image.name} · points",
        features={"polarity": np.empty(0, dtype=object)},
        size=max(3.0, 0.025 * max(grid_of(image))),
        border_color="white",
        face_color=_GREEN,
        blending=_ON_TOP,
        metadata=_mark("points"),
        **placement(image),
    )
    layer.canvas_size_limits = (8, 24)
    layer.locked = True
    return layer


def mark_polarity(layer: Points) -> None:
    """Give every point the symbol and colour of its polarity."""
    polarity = layer.features["polarity"].tolist()
    if polarity:
        layer.symbol = [_SYMBOLS[p] for p in polarity]
        layer.face_color = [_COLORS[p] for p in polarity]


def box_layer(image: Image) -> Shapes:
    """An empty layer for rectangles."""
    from napari.layers import Shapes

    layer = Shapes(
        ndim=len(stored_axes(image)),
        name=f"{image.name} · box",
        blending=_ON_TOP,
        metadata=_mark("box"),
        **box_style(grid_of(image)),
        **placement(image),
    )
    layer.current_edge_color = _YELLOW
    layer.current_face_color = "transparent"
    layer.current_edge_width = box_style(grid_of(image))["edge_width"]
    layer.locked = True
    return layer


def box_style(grid: Grid, thin: bool = False) -> dict[str, Any]:
    """Arguments of a rectangle, or of thin edges in 3-D, that outlines the object and hides nothing of it."""
    width = max(0.5, 0.006 * max(grid)) / (2 if thin else 1)
    return {"edge_color": _YELLOW, "face_color": "transparent", "edge_width": width}


def scribble_layer(image: Image, data: Any) -> Labels:
    """A layer for strokes on ``data``: 1 object, 2 background."""
    layer = _labels(image, data, "scribbles", {OBJECT: _GREEN, BACKGROUND: _RED}, 0.8)
    layer.selected_label = OBJECT
    layer.brush_size = max(3, round(0.02 * max(grid_of(image))))
    return layer


def preview_layer(image: Image, data: Any) -> Labels:
    """The layer that shows ``data``, the mask that the prompts give."""
    return _labels(image, data, "preview", {OBJECT: _BLUE}, 0.45)


def _labels(image: Image, data: Any, kind: str, colors: dict[int, str], opacity: float) -> Labels:
    from napari.utils.colormaps import CyclicLabelColormap
    from vispy.color import Color

    # One colour for each value of a byte: a DirectLabelColormap would say the same, but napari compiles code for it.
    table = np.zeros((256, 4), dtype=np.float32)
    for value, color in colors.items():
        table[value] = Color(color).rgba
    layer = labels_like(image, data, name=f"{image.name} · {kind}")
    layer.colormap = CyclicLabelColormap(colors=table)
    layer.opacity = opacity
    layer.metadata[NAMESPACE] = namespaced(layer) | {HELPER: kind}
    layer.locked = True
    return layer


def probability_layer(image: Image, data: Any) -> Image:
    """A layer that glows where the object is likely; ``data`` are probabilities."""
    from napari.layers import Image as ImageLayer
    from napari.utils.colormaps import Colormap, ensure_colormap

    # Unlikely voxels are transparent, so that the map is seen on dark and on bright tissue.
    colors = np.array(ensure_colormap("inferno").colors)
    colors[:, 3] = np.linspace(0, 1, len(colors))
    layer = ImageLayer(
        data,
        name=f"{image.name} · probability",
        colormap=Colormap(colors, name="probability", display_name="probability"),
        contrast_limits=(0, 1),
        blending="translucent",
        opacity=0.7,
        metadata=_mark("probability"),
        **placement(image),
    )
    layer.locked = True
    return layer


def kept_preview(image: Image, data: Any) -> Labels:
    """An ordinary Labels layer with the mask of a session that ended before it was accepted."""
    return labels_like(image, np.array(data), name=f"{image.name} · not accepted")
