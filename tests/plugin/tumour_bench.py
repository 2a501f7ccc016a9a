"""A phantom of a brain with a tumour in four sequences, a network that cuts it out, and the Tumour dock on both."""

import threading
from dataclasses import replace

import numpy as np

from voxelsmith.core.affine import Affine
from voxelsmith.core.regions import CONVENTIONS
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.tumour.settings_part import SettingsPart
from voxelsmith.plugin.docks.tumour.view import TumourDock
from voxelsmith.plugin.layers import layer_data
from voxelsmith.segment.tumour.names import MODALITIES, MODALITY_TITLES

SHAPE, SPACING = (40, 48, 40), 4.0
# Grey values of brain, whole tumour, core and enhancing tumour.
GREY = {"t1": (60, 50, 35, 40), "t1c": (60, 55, 45, 140), "t2": (50, 110, 100, 90), "flair": (50, 130, 100, 90)}


def depth():
    """Depths 0 to 3 of the phantom, and -1 outside the brain."""
    axes = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    brain = sum((axis / half) ** 2 for axis, half in zip(axes, (16, 20, 15), strict=True)) < 1
    radius = np.sqrt(sum((axis - middle) ** 2 for axis, middle in zip(axes, (6, 4, 2), strict=True)))
    depths = np.select([radius < 3, radius < 5, radius < 7.5], [3, 2, 1], 0).astype(np.int8)
    return np.where(brain, depths, np.int8(-1))


def affine():
    return Affine.from_spacing((SPACING,) * 3)


def sequence(modality, depths=None):
    """One sequence of the phantom, 0 outside the brain."""
    depths = depth() if depths is None else depths
    rng = np.random.default_rng(MODALITIES.index(modality))
    values = np.array(GREY[modality], np.float32)[np.maximum(depths, 0)] + rng.normal(0, 2, SHAPE)
    return Volume(np.where(depths < 0, 0, values).astype(np.float32), affine(), MODALITY_TITLES[modality])


class FakeNetwork:
    """Cuts what is bright: FLAIR for the whole tumour, T1 with contrast for what enhances, and its middle for the core.

    ``gate`` stops it at each window until it is open.
    """

    identity = "phantom"
    modalities = MODALITIES
    side, multiple = 32, 8

    def __init__(self):
        self.gate, self.reached = threading.Event(), threading.Event()
        self.gate.set()
        self.windows = 0

    def __call__(self, images, available):
        self.windows += 1
        self.reached.set()
        self.gate.wait(20)
        t1, t1c, t2, flair = images
        whole = (flair if available[3] else t2) > 1.0
        enhancing = t1c > 1.5
        core = (t1 < -4) & whole | enhancing
        return np.stack([whole | core, core, enhancing]).astype(np.float32)

    def synthetic(self, available):
        return tuple(m for m, there in zip(self.modalities, available, strict=True) if not there)


def work_coarsely(monkeypatch):
    """Make a run as coarse as the phantom, so that it takes no time, and a preview half as fine."""
    as_usual = SettingsPart.settings.fget
    monkeypatch.setattr(SettingsPart, "settings", property(lambda part: replace(as_usual(part), spacing=SPACING)))
    monkeypatch.setattr("voxelsmith.segment.tumour.request.PREVIEW_SPACING", 2 * SPACING)


class Bench:
    """A dock on a viewer with the phantom."""

    def __init__(self, qtbot, viewer, monkeypatch, modalities=MODALITIES, volumes=None):
        self.qtbot, self.viewer = qtbot, viewer
        self.network = FakeNetwork()
        self.loaded = []

        def load(source, available, device):
            self.loaded.append((source, tuple(available), device))
            return self.network

        monkeypatch.setattr("voxelsmith.plugin.docks.tumour.jobs.load_network", load)
        work_coarsely(monkeypatch)
        for modality in modalities:
            self.add((volumes or {}).get(modality) or sequence(modality))
        self.dock = TumourDock(viewer)
        qtbot.addWidget(self.dock, before_close_func=lambda _: self.network.gate.set())
        self.looked()

    def add(self, volume):
        data, arguments, kind = layer_data(volume)
        return getattr(self.viewer, f"add_{kind}")(data, **arguments)

    @property
    def layers(self):
        return [layer.name for layer in self.viewer.layers]

    @property
    def result(self):
        return self.dock.results.layer

    @property
    def findings(self):
        return self.dock.slots.findings.text()

    @property
    def status(self):
        return self.dock.status.text()

    @property
    def note(self):
        return self.dock.result.note.text()

    @property
    def rows(self):
        table = self.dock.result.table
        items = [table.topLevelItem(n) for n in range(table.topLevelItemCount())]
        return [[item.text(column) for column in range(item.columnCount())] for item in items]

    def chosen(self, slot):
        return self.dock.slots.combos[slot].currentText()

    def pick(self, combo, text):
        combo.setCurrentIndex(combo.findText(text))
        combo.activated.emit(combo.currentIndex())

    def choose(self, slot, name):
        self.pick(self.dock.slots.combos[slot], name)
        self.looked()

    def looked(self):
        """Wait until what is chosen was looked at."""
        self.dock.controller.look()
        self.qtbot.waitUntil(lambda: not self.dock.controller.looking, timeout=30000)

    def measured(self):
        self.qtbot.waitUntil(lambda: not self.dock.results.measures.busy, timeout=30000)

    def run(self, button=None):
        (button or self.dock.run_button).click()
        self.settle()

    def settle(self):
        self.qtbot.waitUntil(lambda: not self.dock.runner.running, timeout=60000)
        self.measured()


def truth(convention="brats2018"):
    """Labels of the phantom."""
    return CONVENTIONS[convention].labels(np.maximum(depth(), 0).astype(np.uint8))
