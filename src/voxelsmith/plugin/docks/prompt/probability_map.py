"""Probability map: an optional layer over the preview that shows how likely each voxel is.

Owns that layer from the moment the user asks for it to the end of the session. It belongs to the session like the
prompt layers: it is no image to choose, and it goes with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.prompts import Box, Grid
from voxelsmith.plugin.canvas import remove_layers
from voxelsmith.plugin.docks.prompt import looks
from voxelsmith.plugin.layers import from_stored
from voxelsmith.segment.engine import Probability

if TYPE_CHECKING:
    from napari.layers import Image


class ProbabilityMap:
    """The layer of one session.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Where it is shown.
    image, grid
        The layer that it lies on, and its number of voxels along i, j and k.

    Attributes
    ----------
    layer : napari.layers.Image or None
        None unless the user wants it.
    """

    def __init__(self, viewer: Any, image: Image, grid: Grid) -> None:
        self._viewer, self._image, self._grid = viewer, image, grid
        self._box: Box | None = None
        self._values: npt.NDArray[Any] = np.zeros(0)
        self.layer: Image | None = None

    @property
    def is_lost(self) -> bool:
        """Whether somebody has taken the layer out of the viewer."""
        return self.layer is not None and self.layer not in self._viewer.layers

    def add(self, above: Any) -> None:
        """Make the layer, empty, over another one; what is selected stays so."""
        if self.layer is not None:
            return
        self._values = np.zeros(self._grid, dtype=np.float16)
        self._box = None
        self.layer = looks.probability_layer(self._image, from_stored(self._image, self._values))
        active = self._viewer.layers.selection.active
        self._viewer.layers.insert(self._viewer.layers.index(above) + 1, self.layer)
        self._viewer.layers.selection.active = active

    def show(self, probability: Probability | None) -> None:
        """Show probabilities at the image's own voxels, or none; does nothing without a layer."""
        if self.layer is None:
            return
        if self._box is not None:
            self._values[self._box.slices] = 0
        self._box = None
        if probability is not None:
            self._box = probability.region.box
            self._values[self._box.slices] = probability.values
        self.layer.refresh()

    def remove(self) -> None:
        """Take the layer away."""
        if self.layer is not None:
            remove_layers(self._viewer, [self.layer])
        self.layer, self._box, self._values = None, None, np.zeros(0)
