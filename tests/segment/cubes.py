"""An engine that a test can foretell: cubes around clicks, on a grid of a few voxels."""

import numpy as np

from voxelsmith.core.progress import Progress
from voxelsmith.core.prompts import Box, Point
from voxelsmith.segment.engine import Segmentation, check_request

GRID = (7, 6, 5)
SIDE = 1


class Cubes:
    """A cube around every positive point, less one around every negative one."""

    title = "Cubes"
    accepts = frozenset({Point, Box})

    def __init__(self, name="cubes"):
        self.name, self.calls = name, 0

    def segment(self, request):
        check_request(request, self)
        yield Progress(0, 1)
        self.calls += 1
        mask = cubes([(p.voxel, p.positive) for p in request.prompts.points])
        if not mask.any():
            return Segmentation(request, Box((0, 0, 0), (0, 0, 0)), mask[:1, :1, :1], self.name)
        box = Box.around(mask)
        return Segmentation(request, box, mask[box.slices], self.name)


def cubes(clicks):
    """The same on the whole grid, for the model."""
    mask = np.zeros(GRID, bool)
    for wanted in (True, False):
        for (i, j, k), positive in clicks:
            if positive == wanted:
                mask[max(0, i - SIDE) : i + 2, max(0, j - SIDE) : j + 2, max(0, k - SIDE) : k + 2] = positive
    return mask


def put(running, update):
    """Bring an array up to date as a viewer does."""
    if update.changed is not None:
        assert update.mask.shape == update.changed.shape
        running[update.changed.slices] = update.mask
