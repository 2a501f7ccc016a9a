"""A pair of images in a viewer with the Register dock, and jobs that stop where a test wants them to."""

import threading

from registration_pairs import blobs, known_map, moved
from voxelsmith.core.progress import Progress
from voxelsmith.core.transform import Transform
from voxelsmith.plugin.docks.register.jobs import Picture
from voxelsmith.plugin.docks.register.view import RegisterDock
from voxelsmith.plugin.layers import layer_data
from voxelsmith.register.request import RegistrationRequest, RegistrationSettings
from voxelsmith.register.result import Preview, Step


class Bench:
    """A dock, its viewer, and the truth about the pair in it."""

    def __init__(self, qtbot, viewer, affine=None):
        self.qtbot, self.viewer = qtbot, viewer
        self.fixed = blobs(affine=affine)
        self.matrix = known_map(self.fixed, angle=6, scale=(1, 1, 1), shift=(2, -1, 1))
        self.moving = moved(self.fixed, self.matrix)
        for volume in (self.fixed, self.moving):
            data, kwargs, _ = layer_data(volume)
            viewer.add_image(data, **kwargs)
        self.dock = RegisterDock(viewer)
        self.jobs = []
        qtbot.addWidget(self.dock, before_close_func=lambda _: self.open_gates())
        self.outcomes = []
        self.dock.outcome_made.connect(self.outcomes.append)
        self.looked()

    @property
    def controller(self):
        return self.dock.controller

    @property
    def layers(self):
        return [layer.name for layer in self.viewer.layers]

    @property
    def checks(self):
        return self.dock.checks.text.text()

    def looked(self):
        """Wait until what is chosen was looked at."""
        self.controller.look()
        self.qtbot.waitUntil(lambda: not self.controller.looking, timeout=30000)

    def choose(self, part, name):
        combo = self.dock.inputs.combos[part]
        combo.setCurrentIndex(combo.findText(name))
        combo.activated.emit(combo.currentIndex())
        self.looked()

    def set_parameter(self, key, value):
        combo = self.dock.settings.widgets[key]
        combo.setCurrentIndex(combo.findData(value))
        combo.activated.emit(combo.currentIndex())

    def rigid_only(self):
        """The quickest registration there is."""
        self.dock.settings.widgets["deform"].setChecked(False)
        self.set_parameter("model", "rigid")
        self.looked()

    def run(self):
        self.dock.run_button.click()
        self.settle()

    def open_gates(self):
        for job in self.jobs:
            job.gate.set()

    def settle(self):
        self.qtbot.waitUntil(lambda: not self.dock.runner.running, timeout=30000)


class GatedJob:
    """Instead of a registration: one picture if asked, then nothing until the gate opens."""

    def __init__(self, bench, pictured=True):
        self.gate, self.seen = threading.Event(), threading.Event()
        request = RegistrationRequest(bench.fixed, bench.moving, settings=RegistrationSettings())
        steps = tuple(Step("affine", 0, n, n / 3) for n in range(3))
        self.preview = Preview(request, Transform(bench.matrix), steps, "header", ("A note.",))
        self.warped = self.preview.warped()
        self.picture = Picture(self.preview, self.warped) if pictured else None
        self.ended = False
        bench.jobs.append(self)

    def __call__(self, *args):
        try:
            yield Progress(1, 3, "first", self.picture)
            self.seen.set()
            self.gate.wait(20)
            yield Progress(2, 3, "second", self.picture)
        finally:
            self.ended = True
