"""Drawings: how the results of a registration look as layers.

Owns colours, names and sizes of the layers that show a deformation and compare two images. Each is marked, so that it
is not offered as an image to register.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.offered import PREVIEW
from voxelsmith.plugin.docks.register.place import Place
from voxelsmith.plugin.layers import NAMESPACE
from voxelsmith.register import looks
from voxelsmith.register.jacobian_map import JacobianMap
from voxelsmith.register.looks import Arrows, Plane

_ON_TOP = "translucent_no_depth"
_LINE_COLOR = "#ffd23f"
_BLUE, _ORANGE = np.array([0.25, 0.65, 1, 1]), np.array([1, 0.6, 0.15, 1])
_SHADES, _GAMMA = 255, 0.7
_MARK = {PREVIEW: True}
_NARROWEST = 0.25


def arrows_layer(place: Place, name: str, longest: float) -> Any:
    """An empty layer for arrows, coloured by their length up to ``longest`` millimetres."""
    from napari.layers import Vectors

    return Vectors(
        np.zeros((1, 2, 3)),
        features={"length_mm": np.zeros(1)},
        edge_color="length_mm",
        edge_colormap="turbo",
        edge_contrast_limits=(0.0, max(longest, 1e-6)),
        vector_style="arrow",
        name=name,
        blending=_ON_TOP,
        metadata={NAMESPACE: _MARK},
        **place.arguments,
    )


def show_arrows(layer: Any, place: Place, arrows: Arrows, step: float) -> None:
    """Put arrows that are ``step`` millimetres apart into a layer."""
    starts, ends = place.coordinates(arrows.starts), place.coordinates(arrows.ends)
    limits = layer.edge_contrast_limits
    layer.data = np.stack([starts, ends - starts], axis=1)
    layer.features = {"length_mm": arrows.lengths}
    layer.edge_contrast_limits = limits
    layer.edge_color = "length_mm"
    layer.edge_width = _width(place, step, 0.12)


def lines_layer(place: Place, name: str) -> Any:
    """An empty layer for the lines of a deformed grid."""
    from napari.layers import Vectors

    return Vectors(
        np.zeros((1, 2, 3)),
        edge_color=_LINE_COLOR,
        vector_style="line",
        name=name,
        blending=_ON_TOP,
        opacity=0.9,
        metadata={NAMESPACE: _MARK},
        **place.arguments,
    )


def show_lines(layer: Any, place: Place, lines: list[Any], plane: Plane | None, step: float) -> None:
    """Put the lines of a grid, ``step`` millimetres apart, into a layer; on a plane they stay on it."""
    pieces = looks.segments(lines)
    if plane is not None:
        # What leaves the slice is drawn where it is seen from.
        pieces[..., plane.axis] = plane.index
    starts, ends = place.coordinates(pieces[:, 0]), place.coordinates(pieces[:, 1])
    layer.data = np.stack([starts, ends - starts], axis=1)
    layer.edge_width = _width(place, step, 0.06 if plane is not None else 0.02)


def _width(place: Place, step: float, share: float) -> float:
    """A line width in voxels that is a share of a step."""
    return max(_NARROWEST, share * step / float(place.affine.spacing.min()))


def jacobian_layer(place: Place, found: JacobianMap) -> Any:
    """The Jacobian map: clear where volumes stay, orange where they grow, blue where they shrink or fold."""
    return place.layer(
        found.volume,
        colormap=_diverging("jacobian", alpha_between=0.0),
        contrast_limits=(0, 2),
        opacity=0.8,
        blending="translucent",
        marks=_MARK,
    )


def checkerboard_layer(place: Place, board: Volume) -> Any:
    """Both images laid out like a chessboard."""
    return place.layer(board, colormap="gray", contrast_limits=(0, 1), marks=_MARK)


def difference_layer(place: Place, difference: Volume) -> Any:
    """Fixed minus warped: orange where the fixed image is brighter, blue where the warped one is, black where alike."""
    return place.layer(
        difference, colormap=_diverging("difference", alpha_between=1.0), contrast_limits=(-1, 1), marks=_MARK
    )


def _diverging(name: str, alpha_between: float) -> Any:
    """From blue over black, of this opacity, to orange."""
    from napari.utils.colormaps import Colormap

    between = np.array([0, 0, 0, alpha_between])
    share = np.abs(np.linspace(-1, 1, _SHADES))[:, np.newaxis] ** _GAMMA
    ends = np.where(np.linspace(-1, 1, _SHADES)[:, np.newaxis] < 0, _BLUE, _ORANGE)
    colors = share * ends + (1 - share) * between
    if alpha_between == 0:
        colors[:, :3] = ends[:, :3]
    return Colormap(colors, name=name, display_name=name)
