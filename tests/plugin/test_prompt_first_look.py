"""The Prompt dock shows a first, coarse answer while the engine looks closer."""

import threading

import numpy as np
import pytest
from desk import BRIGHT, Desk

from blob import BlobEngine
from voxelsmith.core.progress import Progress
from voxelsmith.core.prompts import Box
from voxelsmith.segment.engine import Segmentation

CLICK = (9, 10, 6)
COARSE = BRIGHT.grown(2)


class TwoLooks(BlobEngine):
    """A block around everything first; a blob when the gate opens."""

    name = "two-looks"
    title = "Two looks"

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()

    def segment(self, request):
        yield Progress(0, 2, partial=Segmentation(request, COARSE, np.ones(COARSE.shape, dtype=bool), self.name))
        while not self.gate.wait(0.005):
            yield Progress(1, 2)
        return (yield from super().segment(request))


@pytest.fixture
def looks(desk, qtbot):
    """A desk with such an engine, at its first look."""
    desk.controller.close()
    made = Desk(qtbot, desk.viewer, TwoLooks())
    made.start().click(CLICK)
    qtbot.waitUntil(lambda: made.mask.any())
    yield made
    made.engine.gate.set()
    made.controller.close()


def test_the_first_look_is_shown_and_cannot_be_accepted(looks):
    assert Box.around(looks.mask) == COARSE
    assert looks.status.startswith(f"First look: {looks.mask.sum():,} voxels")
    assert "accept" not in looks.possible
    assert looks.live.session.segmentation() is None
    looks.engine.gate.set()
    looks.settle()
    assert "accept" in looks.possible
    np.testing.assert_array_equal(looks.mask, looks.live.session.mask())
    assert Box.around(looks.mask) != COARSE


def test_cancel_takes_the_first_look_back(looks):
    looks.engine.gate.set()
    looks.settle()
    before = looks.mask
    looks.engine.gate.clear()
    for click in ((10, 10, 6), (11, 11, 6)):
        looks.click(click)
        looks.qtbot.waitUntil(lambda: Box.around(looks.mask) == COARSE)
    looks.controller.do("cancel")
    looks.settle()
    np.testing.assert_array_equal(looks.mask, before)
    assert looks.status == "Stopped; the preview shows earlier prompts."


def test_another_click_supersedes_it(looks):
    looks.click((10, 10, 6))
    looks.engine.gate.set()
    looks.settle()
    assert looks.engine.calls == 1
    np.testing.assert_array_equal(looks.mask, looks.live.session.mask())
