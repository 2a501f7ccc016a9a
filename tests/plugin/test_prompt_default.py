"""The engine that answers where nobody chose one: the network, with the same mask in dock, Python and command line."""

import threading

import numpy as np
import pytest
from desk import BRIGHT, Desk

from voxelsmith.cli import run
from voxelsmith.core.prompts import Box, Point
from voxelsmith.io import read_labels, write
from voxelsmith.plugin.docks.prompt.controller import PromptController
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment import network
from voxelsmith.segment.engine import engine_infos
from voxelsmith.segment.session import PromptSession

INSIDE, OUTSIDE = (11, 14, 7), (12, 9, 5)


@pytest.fixture
def desk(desk, qtbot):
    """A desk that was given no engine."""
    desk.controller.close()
    made = Desk(qtbot, desk.viewer)
    made.controller.close()
    made.runner = JobRunner(desk.viewer)
    made.controller = PromptController(made.view, desk.viewer, made.runner)
    yield made
    made.controller.close()


def test_dock_python_and_command_line_give_the_same_mask_by_the_network(desk, tmp_path):
    desk.start().draw(BRIGHT.lo, BRIGHT.hi)
    desk.settle()
    desk.click(INSIDE)
    desk.settle()
    desk.click(OUTSIDE, positive=False)
    desk.settle()
    box, *clicks = desk.live.prompts
    assert isinstance(box, Box)
    assert clicks == [Point(INSIDE), Point(OUTSIDE, positive=False)]
    assert desk.mask.any()

    volume = desk.live.source.volume
    session = PromptSession()
    session.set_image(volume)
    session.prompt([box, *clicks])

    image, out = write(volume, tmp_path / "image.nii.gz"), tmp_path / "mask.nii.gz"
    corners, inside, outside = (",".join(map(str, index)) for index in ((*box.lo, *box.hi), INSIDE, OUTSIDE))
    prompts = ["--box", corners, "--point", inside, "--negative-point", outside]
    assert run(["segment", str(image), "--out", str(out), "--quiet", *prompts]) == 0

    assert engine_infos()[0].name == "promptable"
    assert {s.segmentation().engine for s in (desk.live.session, session)} == {"promptable"}
    np.testing.assert_array_equal(desk.mask, session.mask())
    np.testing.assert_array_equal(desk.mask, read_labels(out).array == 1)


def test_it_is_loaded_by_the_worker_of_the_first_prompt(desk, monkeypatch):
    threads, load = [], network.import_torch
    monkeypatch.setattr(network, "import_torch", lambda: (threads.append(threading.current_thread()), load()))
    network.shipped_network.cache_clear()
    desk.start()
    assert threads == []
    desk.click(INSIDE)
    desk.settle()
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_without_its_weights_a_sentence_says_so_and_the_user_chooses_another(desk, told, monkeypatch, tmp_path):
    (tmp_path / "promptable.safetensors").write_bytes(b"no weights")
    monkeypatch.setenv("VOXELSMITH_WEIGHTS", str(tmp_path))
    network.shipped_network.cache_clear()
    desk.start().draw(BRIGHT.lo, BRIGHT.hi)
    desk.settle()
    assert "damaged" in told[-1]
    assert "choose the engine training-free" in told[-1]
    assert desk.status == told[-1]
    assert not desk.mask.any()
    assert desk.live.session.engine.name == "promptable"
    desk.controller.choose_engine("training-free")
    desk.settle()
    assert desk.live.session.segmentation().engine == "training-free"
    assert desk.mask.any()
