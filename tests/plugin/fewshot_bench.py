"""A two-class image in a viewer with the Few-shot dock, and an engine that stops where a test wants it to."""

import threading

import numpy as np

from voxelsmith.core.affine import Affine
from voxelsmith.core.progress import Progress
from voxelsmith.core.prompts import Box
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.fewshot.view import FewShotDock
from voxelsmith.plugin.layers import from_ijk, layer_data, to_stored
from voxelsmith.segment.canvas import SlicePreview
from voxelsmith.segment.proposal import Proposal, Provenance

GRID = (20, 24, 12)
UNSURE = (3, 8, 5)
"""Slices from the least sure one on."""


def truth():
    """Two blocks, 1 and 2, in slices 2 to 9."""
    labels = np.zeros(GRID, np.uint8)
    labels[3:9, 4:12, 2:10] = 1
    labels[11:17, 10:20, 2:10] = 2
    return labels


def body(seed=0, name="scan", affine=None):
    """An image of it, with the left on the left."""
    array = 100 * truth() + np.random.default_rng(seed).normal(0, 10, GRID)
    return Volume(array.astype(np.float32), affine or Affine.from_spacing((1, 1, 2.5)), name)


class Engine:
    """Instead of an engine: the slice in view, a gate, then the truth."""

    def __init__(self):
        self.gate, self.seen = threading.Event(), threading.Event()
        self.gate.set()
        self.requests = []
        self.labels = truth()

    def __call__(self, request):
        self.requests.append(request)
        if request.view is not None:
            early = self.labels[:, :, request.view]
            yield Progress(1, 3, "early", SlicePreview(2, request.view, early, refined=False))
        self.seen.set()
        while not self.gate.wait(0.005):
            yield Progress(1, 3, "waiting")
        image, support = request.query, request.support
        confidence = np.full(GRID[2], 0.9, np.float32)
        for rank, index in enumerate(UNSURE):
            confidence[index] = 0.1 + 0.1 * rank
        confidence[0] = np.nan
        hashes = tuple(e.content_hash for e in support.enabled)
        return Proposal(
            image.labels(self.labels, "proposal", support.names),
            (1, 2),
            np.zeros((2, *GRID), np.float16),
            Box((0, 0, 0), tuple(n - 1 for n in GRID)),
            2,
            confidence,
            Provenance("same-volume", image.fingerprint(), hashes),
            ("A note.",),
        )


class Bench:
    """A dock, its viewer, and an engine."""

    def __init__(self, qtbot, viewer, monkeypatch, affine=None):
        self.qtbot, self.viewer, self.engine = qtbot, viewer, Engine()
        monkeypatch.setattr("voxelsmith.plugin.docks.fewshot.proposing.propose", self.engine)
        self.image = self.open(body(affine=affine))
        self.dock = FewShotDock(viewer)
        qtbot.addWidget(self.dock, before_close_func=lambda _: self.engine.gate.set())
        self.settle()

    def open(self, volume):
        data, kwargs, kind = layer_data(volume)
        return getattr(self.viewer, f"add_{kind}")(data, **kwargs)

    @property
    def controller(self):
        return self.dock.controller

    @property
    def support(self):
        return self.controller.support

    @property
    def target(self):
        return self.controller.choices.target

    @property
    def labels(self):
        """The target in stored axes, to read and write."""
        return to_stored(self.target, self.target.data)

    @property
    def shown(self):
        """What the preview shows, in stored axes."""
        layer = self.controller.proposing.preview.layer
        return None if layer is None else np.array(to_stored(layer, np.asarray(layer.data)))

    @property
    def names(self):
        return [layer.name for layer in self.viewer.layers]

    @property
    def status(self):
        return self.dock.status.text()

    def settle(self):
        quiet = self.controller._quiet_runner
        self.qtbot.waitUntil(lambda: not (self.dock.runner.running or quiet.running), timeout=20000)

    def look_at(self, index, axis=2):
        voxel = [n // 2 for n in GRID]
        voxel[axis] = index
        self.viewer.dims.point = self.image.data_to_world(from_ijk(self.image, [voxel])[0])

    def choose(self, kind, name):
        combo = self.dock.choices[kind]
        combo.setCurrentIndex(combo.findText(name))
        combo.activated.emit(combo.currentIndex())
        self.settle()

    def add_slice(self, index, labels=None):
        """Paint a slice as it is in truth, or otherwise, and add it."""
        if self.target is None:
            self.dock.classes.paint_button.click()
        self.look_at(index)
        self.labels[:, :, index] = truth()[:, :, index] if labels is None else labels
        self.dock.support.buttons["slice"].click()
        self.settle()

    def press(self, action):
        self.dock.proposal.buttons[action].click()
        self.settle()

    def propose(self):
        self.dock.propose_button.click()
        self.settle()
