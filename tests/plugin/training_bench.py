"""A scan with two painted objects in a viewer with the Train dock, and a training that does what a test tells it to."""

import threading
from contextlib import contextmanager

import numpy as np

from voxelsmith.core.affine import Affine
from voxelsmith.core.progress import Cancelled, Progress
from voxelsmith.core.prompts import Box
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.train.jobs import Account
from voxelsmith.plugin.docks.train.view import TrainDock
from voxelsmith.plugin.layers import from_ijk, labels_like, layer_data, to_stored
from voxelsmith.segment.proposal import Proposal, Provenance
from voxelsmith.train.history import HISTORY, History, Row
from voxelsmith.train.state import TrainingState
from voxelsmith.train.tvunet import Preview, ShowSlice, Trained

GRID = (20, 24, 12)
PAINTED = (3, 5, 7, 9)
LEAST_SURE = 1


def truth():
    """Two blocks, 1 and 4, in slices 2 to 9."""
    labels = np.zeros(GRID, np.uint8)
    labels[3:9, 4:12, 2:10] = 1
    labels[11:17, 10:20, 2:10] = 4
    return labels


def row(step, loss=1.0, score=None):
    """A row of a history."""
    validation = None if score is None else {"score": score}
    return Row(step, {"loss": loss}, 1e-3, step / 10, 1.0, 1.0, 0, validation)


class FakeTraining:
    """Instead of a training in a process: reports until the gate opens, and remembers what it is told.

    It stands for both the job and the process at the end of the line.
    """

    def __init__(self):
        self.gate, self.seen = threading.Event(), threading.Event()
        self.plans, self.sent, self.ended = [], [], 0
        self.state = TrainingState.training
        self.error = None
        self.preview = None
        self.steps = (row(5, 2.0), row(10, 1.0, 0.5))
        self.notes = ("A note.",)

    def __call__(self, plan, line):
        self.plans.append(plan)
        self.state = TrainingState.preparing
        line.process, line.classes = self, frozenset({1, 4})
        account = Account(TrainingState.preparing, Progress(0, 40, "Preparing"))
        try:
            yield Progress(0, 40, "", account)
            self.state = TrainingState.training
            plan.folder.mkdir(parents=True, exist_ok=True)
            (plan.folder / HISTORY).write_text("")
            while not self.gate.wait(0.01):
                if self.state is TrainingState.stopping:
                    raise Cancelled("The training was stopped.")
                if self.error is not None:
                    raise self.error
                progress = Progress(10, 40, "step 10")
                account = Account(self.state, progress, self.steps, self.notes, self.preview, 0.25, 7.5)
                yield Progress(10, 40, "step 10", account)
                self.seen.set()
            return Trained(History(self.steps, 40, 40, 0.5, 10), plan.folder, "hash", self.notes)
        finally:
            self.ended += 1

    def pause(self):
        self.state = TrainingState.paused

    def resume(self):
        self.state = TrainingState.training

    def stop(self):
        self.state = TrainingState.stopping

    def send(self, message):
        self.sent.append(message)


def preview_of(labels, index, classes=(1, 4)):
    """A preview that is sure of some labels in a slice along k."""
    likely = np.stack([255 * (labels[:, :, index] == value) for value in classes]).astype(np.uint8)
    return Preview(ShowSlice(index), 2, classes, likely, 10)


def answer(image):
    """A proposal for an image: the truth, not quite sure, with a speck of class 1."""
    labels = truth()
    labels[18, 1, 6] = 1
    likely = np.stack([np.where(labels == value, 0.8, 0.1) for value in (1, 4)]).astype(np.float16)
    confidence = np.full(GRID[2], 0.9, np.float32)
    confidence[LEAST_SURE] = 0.2
    whole = Box((0, 0, 0), tuple(n - 1 for n in GRID))
    provenance = Provenance("trained", image.fingerprint(), ("hash",), "scan-1")
    named = image.labels(labels, "proposal", {1: "ball", 4: "rod"})
    return Proposal(named, (1, 4), likely, whole, 2, confidence, provenance, ("Look twice.",))


class Bench:
    """A dock, its viewer, its layers, and the fake training."""

    def __init__(self, qtbot, viewer, folder, monkeypatch):
        self.qtbot, self.viewer, self.folder = qtbot, viewer, folder
        monkeypatch.setenv("VOXELSMITH_RUNS", str(folder))
        self.looked_in = []
        monkeypatch.setattr("voxelsmith.plugin.docks.train.controller.look_also_in", self.looked_in.append)
        self.fake = FakeTraining()
        monkeypatch.setattr("voxelsmith.plugin.docks.train.training.training", self.fake)
        array = (100 * truth() + np.random.default_rng(0).normal(0, 10, GRID)).astype(np.float32)
        self.volume = Volume(array, Affine.from_spacing((1, 1, 2.5)), "scan")
        data, arguments, _ = layer_data(self.volume)
        self.image = viewer.add_image(data, **arguments)
        self.labels = viewer.add_layer(labels_like(self.image, name="painted"))
        self.paint(PAINTED)
        self.dock = TrainDock(viewer)
        qtbot.addWidget(self.dock, before_close_func=lambda _: self.fake.gate.set())
        self.go(5)

    @property
    def controller(self):
        return self.dock.controller

    @property
    def stored(self):
        """The voxels of the labels layer as [i, j, k]."""
        return to_stored(self.labels, self.labels.data)

    @property
    def preview(self):
        return self.controller.preview.layers

    def paint(self, slices):
        for index in slices:
            self.stored[:, :, index] = truth()[:, :, index]
        self.labels.refresh()

    def go(self, index):
        """Show a slice along k."""
        self.viewer.dims.point = self.image.data_to_world(from_ijk(self.image, [(5, 5, index)])[0])
        self.qtbot.wait(1)

    def add(self):
        self.dock.data.buttons["painted"].click()
        self.qtbot.waitUntil(lambda: self.dock.data.classes.rowCount() == 2)

    def train(self):
        """Begin, and wait until the training has reported a step."""
        self.dock.training.train_button.click()
        self.reached(TrainingState.training)

    def reached(self, state):
        self.qtbot.waitUntil(lambda: self.controller.training.state is state, timeout=20000)

    def finish(self):
        self.fake.gate.set()
        self.reached(TrainingState.stopped)

    def apply(self, monkeypatch):
        """Apply a model that gives :func:`answer`."""

        def job(source, material, folder, *, best, device):
            yield Progress(1, 2, "Segmenting")
            self.applied = (folder, best, device)
            self.told = [(one.axis, one.slices) for one in material]
            return source.volume, answer(source.volume)

        monkeypatch.setattr("voxelsmith.plugin.docks.train.applying.application", job)
        self.ask("apply")
        assert self.controller.applying.proposal is not None

    def ask(self, action):
        self.dock.result.buttons[action].click()
        self.qtbot.waitUntil(lambda: not self.dock.runner.running, timeout=20000)


@contextmanager
def bench_for(qtbot, viewer, tmp_path, monkeypatch):
    """A bench whose training ends with the test."""
    bench = Bench(qtbot, viewer, tmp_path / "runs", monkeypatch)
    yield bench
    bench.fake.gate.set()
    bench.controller.close()
