"""The Prompt dock as a widget: what it emits and shows, and that it fits."""

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton

from voxelsmith.plugin.docks.prompt import keys
from voxelsmith.plugin.docks.prompt.targets import Row
from voxelsmith.plugin.docks.prompt.view import PromptDock


@pytest.fixture
def dock(qtbot):
    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 5, 6)), name="an image with quite a long name, as file names of scans often are")
    dock = PromptDock(viewer)
    qtbot.addWidget(dock)
    return dock


def test_it_fits_into_320_pixels(dock, qtbot):
    dock.set_session(True)
    dock.set_depth("Box depth along k: slices 100 to 228, 151 mm", 100, 228, 512)
    dock.set_accepted([Row(65535, "left lateral ventricle, frontal horn", 1234567, 1234.5, (1, 0, 0, 1))])
    dock.resize(320, 900)
    with qtbot.waitExposed(dock):
        dock.show()
    content = dock.status.parentWidget().parentWidget()
    assert dock.width() == 320
    assert content.width() <= 320
    assert content.minimumSizeHint().width() <= 320


def test_every_action_shows_its_key(dock):
    tips = [button.toolTip() for button in dock.findChildren(QAbstractButton)]
    for action in set(keys.KEYS) - {"preview"}:
        assert any(f"({keys.shown(action)})" in tip for tip in tips), action


@pytest.mark.parametrize("action", ["run", "undo", "redo", "reset", "accept", "mask"])
def test_buttons_ask_for_their_action(dock, qtbot, action):
    dock.set_session(True)
    dock.set_possible(frozenset({action}))
    with qtbot.waitSignal(dock.asked) as asked:
        getattr(dock, f"{action}_button").click()
    assert asked.args == [action]


def test_keys_work_while_the_dock_has_the_focus_but_not_while_typing(dock, qtbot):
    dock.set_session(True)
    with qtbot.waitActive(dock):
        dock.show()
        dock.activateWindow()
    dock.session_button.setFocus()
    with qtbot.waitSignal(dock.tool_chosen) as chosen:
        qtbot.keyClick(dock.session_button, Qt.Key.Key_B)
    assert chosen.args == ["box"]
    dock.name_edit.setFocus()
    with qtbot.assertNotEmitted(dock.tool_chosen):
        qtbot.keyClicks(dock.name_edit, "bps")
    assert dock.object_name == "bps"


def test_toggles_announce_what_they_say(dock, qtbot):
    dock.set_session(True)
    with qtbot.waitSignal(dock.polarity_chosen) as polarity:
        dock.press("polarity")
    assert polarity.args == [False]
    with qtbot.waitSignal(dock.live_toggled):
        dock.press("live")
    assert not dock.live
    dock.press("overwrite")
    assert dock.overwrite


def test_showing_a_depth_does_not_announce_one(dock, qtbot):
    with qtbot.assertNotEmitted(dock.depth_chosen):
        dock.set_depth("depth", 3, 9, 20)
    assert not dock.depth_slider.isHidden()
    with qtbot.waitSignal(dock.depth_chosen) as chosen:
        dock.depth_slider.setValue((4, 9))
    assert chosen.args == [4, 9]
    dock.set_depth(None)
    assert dock.depth_slider.isHidden()


def test_an_image_is_chosen_and_started(dock):
    assert "long name" in dock.choices["image"].currentText()
    dock.session_button.click()
    assert dock.controller.prompting is not None
    assert dock.session_button.text() == "&Finish"
    dock.session_button.click()
    assert dock.controller.prompting is None


def test_closing_ends_the_session(dock):
    dock.session_button.click()
    dock.close()
    assert dock.controller.prompting is None


def test_a_part_folds_under_its_title(dock, qtbot):
    with qtbot.waitExposed(dock):
        dock.show()
    title = next(b for b in dock.findChildren(QAbstractButton) if "Start from a mask" in b.text())
    assert not dock.mask_button.isVisible()
    title.click()
    assert dock.mask_button.isVisible()
    title.click()
    assert not dock.mask_button.isVisible()
