"""Networks that the user trained are engines of the Prompt dock."""

import json
import os
from dataclasses import asdict

import numpy as np
import pytest
import torch
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from voxelsmith.core.errors import FormatError
from voxelsmith.models.unet import Architecture, UNet, levels_for
from voxelsmith.plugin.docks.prompt import engines
from voxelsmith.plugin.docks.prompt.engine_part import OTHER_RUN, EnginePart
from voxelsmith.segment.engine import engine_infos
from voxelsmith.segment.plan import Normalisation, Plan
from voxelsmith.segment.trained import TrainedModel
from voxelsmith.train.trained_runs import DESCRIPTION

CLICK = (9, 10, 6)


def model():
    """A network with its first weights."""
    plan = Plan("2d", 2, "RAS", (3.0, 1.0, 1.5), (1, 32, 32), (1,), ("block",), Normalisation())
    strides, kernels = levels_for(plan.ordered_spacing[1:], plan.patch[1:])
    architecture = Architecture(inputs=1, outputs=2, width=4, strides=strides, kernels=kernels)
    torch.manual_seed(0)
    return TrainedModel(plan, architecture, UNet(architecture).state_dict(), "mine")


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Makes run folders that are listed; loading them gives :func:`model` and is counted."""
    monkeypatch.setenv("VOXELSMITH_RUNS", str(tmp_path / "home"))
    loaded = []

    def load(folder, **more):
        loaded.append(folder.name)
        return model()

    monkeypatch.setattr(engines, "load_model", load)

    def make(name, parent="home", at=1000):
        folder = tmp_path / parent / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint.pt").write_bytes(b"")
        os.utime(folder / "checkpoint.pt", (at, at))
        record = {"version": 1, "recipe": "tvunet", "plan": asdict(model().plan)}
        (folder / DESCRIPTION).write_text(json.dumps(record))
        return folder

    make.loaded = loaded
    return make


def offered(desk):
    desk.controller.list_engines()
    infos, chosen = desk.view.set_engines.call_args.args
    return [info.title for info in infos if info.name.startswith("trained:")], chosen


def test_runs_are_offered_when_the_user_turns_to_the_list(desk, trained):
    assert offered(desk)[0] == []
    trained("liver-1")
    trained("liver-2", at=2000)
    assert offered(desk)[0] == ["Trained: liver-2", "Trained: liver-1"]
    info = desk.view.set_engines.call_args.args[0][-1]
    assert info.good_at.startswith("block · relative brightness · slices of 3 x 1 x 1.5 mm voxels")


def test_a_session_runs_on_a_trained_network(desk, trained):
    name = f"trained:{trained('liver-1')}"
    desk.controller.list_engines()
    desk.controller.choose_engine(name)
    desk.start()
    desk.settle()
    assert desk.live.session.engine.title == "Trained: mine"
    desk.click(CLICK)
    desk.settle()
    shown = desk.live.session.segmentation()
    assert shown.engine == name
    assert shown.mask.any()
    assert trained.loaded == ["liver-1"]
    assert desk.view.set_engines.call_args.args[1] == name


def test_a_network_that_was_trained_on_is_loaded_anew(desk, trained):
    name = f"trained:{trained('liver-1')}"
    desk.controller.list_engines()
    desk.start().click(CLICK)
    desk.settle()
    for chosen in (name, "threshold", name):
        desk.controller.choose_engine(chosen)
        desk.settle()
    assert trained.loaded == ["liver-1"]
    desk.controller.choose_engine("threshold")
    trained("liver-1", at=3000)
    desk.controller.list_engines()
    desk.controller.choose_engine(name)
    desk.settle()
    assert trained.loaded == ["liver-1", "liver-1"]


def test_the_chosen_run_stays_when_its_folder_goes(desk, trained):
    folder = trained("liver-1")
    desk.controller.list_engines()
    desk.controller.choose_engine(f"trained:{folder}")
    (folder / "checkpoint.pt").unlink()
    assert offered(desk) == (["Trained: liver-1"], f"trained:{folder}")


def test_a_run_elsewhere_is_offered_from_then_on(desk, trained, told):
    folder = trained("spleen-1", parent="elsewhere")
    desk.controller.choose_run(folder)
    assert offered(desk) == (["Trained: spleen-1"], f"trained:{folder}")
    desk.controller.choose_run(folder.parent)
    assert "should be the folder of a run" in told[-1]
    assert offered(desk)[1] == f"trained:{folder}"


def test_a_model_that_cannot_be_read_leaves_the_session_as_it_is(desk, trained, told, monkeypatch):
    name = f"trained:{trained('liver-1')}"

    def broken(folder):
        raise FormatError("The checkpoint is damaged.")

    monkeypatch.setattr(engines, "load_model", broken)
    desk.controller.list_engines()
    desk.start().click(CLICK)
    desk.settle()
    before = desk.mask
    desk.controller.choose_engine(name)
    desk.settle()
    assert "damaged" in told[-1]
    assert desk.view.set_engines.call_args.args[1] == "threshold"
    np.testing.assert_array_equal(desk.mask, before)


class TestPart:
    @pytest.fixture
    def part(self, qtbot):
        part = EnginePart()
        qtbot.addWidget(part)
        part.set_engines(engine_infos(), "training-free")
        part.show()
        return part

    def test_the_last_entry_asks_for_a_folder(self, part, qtbot, monkeypatch, tmp_path):
        monkeypatch.setattr(
            "voxelsmith.plugin.docks.prompt.engine_part.QFileDialog.getExistingDirectory", lambda *_: str(tmp_path)
        )
        last = part.combo.count() - 1
        assert part.combo.itemText(last) == OTHER_RUN
        before = part.note.text()
        with qtbot.waitSignal(part.run_chosen) as caught, qtbot.assertNotEmitted(part.chosen):
            part.combo.setCurrentIndex(last)
            part.combo.activated.emit(last)
        assert caught.args == [tmp_path]
        assert part.combo.currentText() == "Training-free random walk"
        assert part.note.text() == before

    def test_no_folder_changes_nothing(self, part, qtbot, monkeypatch):
        monkeypatch.setattr(
            "voxelsmith.plugin.docks.prompt.engine_part.QFileDialog.getExistingDirectory", lambda *_: ""
        )
        with qtbot.assertNotEmitted(part.run_chosen):
            part.combo.activated.emit(part.combo.count() - 1)

    def test_turning_to_the_list_is_told(self, part, qtbot):
        with qtbot.waitSignal(part.opening):
            QTest.mousePress(part.combo, Qt.MouseButton.LeftButton)
        part.combo.hidePopup()
