"""A desk: the Prompt dock's controller on a viewer model, with a specified view and a fast engine."""

import threading
from unittest.mock import MagicMock

import numpy as np

from voxelsmith.core.progress import Progress
from voxelsmith.core.prompts import Box, MaskPrompt, Point, Scribble
from voxelsmith.plugin.docks.prompt.controller import PromptController
from voxelsmith.plugin.docks.prompt.view import PromptDock
from voxelsmith.plugin.layers import from_ijk, to_stored
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.engine import Segmentation, check_request

BRIGHT = Box((6, 8, 4), (12, 15, 8))


class ThresholdEngine:
    """Bright voxels in the box, or everywhere, without the voxels that are marked as background."""

    name = "threshold"
    title = "Threshold"
    accepts = frozenset({Point, Box, Scribble, MaskPrompt})

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.calls = 0

    def segment(self, request):
        check_request(request, self)
        self.calls += 1
        yield Progress(0, 2, "waiting")
        while not self.gate.wait(0.005):
            yield Progress(1, 2, "waiting")
        full = Box((0, 0, 0), tuple(n - 1 for n in request.image.grid))
        box = request.prompts.boxes[-1] if request.prompts.boxes else full
        mask = request.image.array[box.slices] > 50
        for i, j, k in request.prompts.seeds(False):
            if box.contains((i, j, k)):
                mask[i - box.lo[0], j - box.lo[1], k - box.lo[2]] = False
        return Segmentation(request, box, mask, self.name)


class Desk:
    """A viewer with a controller on it."""

    def __init__(self, qtbot, viewer, engine=None):
        self.qtbot, self.viewer = qtbot, viewer
        self.view = MagicMock(spec=PromptDock)
        self.view.probability_wanted = False
        self.view.live, self.view.overwrite, self.view.only_selected, self.view.object_name = True, False, False, ""
        self.view.press.side_effect = lambda action: self.controller.do(action)
        self.runner = JobRunner(viewer)
        self.engine = ThresholdEngine() if engine is None else engine
        self.controller = PromptController(self.view, viewer, self.runner, self.engine)

    @property
    def live(self):
        return self.controller.prompting

    @property
    def layers(self):
        return self.live.layers.layers

    @property
    def mask(self):
        """The preview in stored axes."""
        return to_stored(self.layers["preview"], np.asarray(self.layers["preview"].data)) != 0

    @property
    def status(self):
        return self.view.set_status.call_args.args[0]

    @property
    def possible(self):
        return self.view.set_possible.call_args.args[0]

    def settle(self):
        self.qtbot.waitUntil(lambda: not self.runner.running)

    def start(self):
        self.controller.start()
        return self

    def click(self, index, positive=True):
        self.controller.set_positive(positive)
        layer = self.layers["points"]
        layer.add(from_ijk(layer, [index])[0])

    def draw(self, lo, hi, axis=2):
        a = min({0, 1, 2} - {axis})
        corners = np.array([lo, lo, hi, hi], dtype=float)
        corners[1, a], corners[3, a] = hi[a], lo[a]
        layer = self.layers["box"]
        layer.add(from_ijk(layer, corners), shape_type="rectangle")

    def scribble(self, index, positive=True):
        layer = self.layers["scribbles"]
        layer.n_edit_dimensions = 3
        layer.brush_size = 1
        layer.paint(tuple(from_ijk(layer, [index])[0].astype(int)), 1 if positive else 2)
        self.qtbot.waitUntil(lambda: any(isinstance(p, Scribble) for p in self.live.prompts))


def bright_block(shape=(20, 24, 14), dtype=np.float32):
    """An image [i, j, k] whose voxels in BRIGHT are bright."""
    array = np.zeros(shape, dtype)
    array[BRIGHT.slices] = 100
    return array
