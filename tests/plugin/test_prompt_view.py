"""The Prompt dock as a widget: what it emits and shows, and that it fits."""

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QLineEdit, QStyle, QStyleOptionComboBox

from voxelsmith.plugin.docks.prompt import keys
from voxelsmith.plugin.docks.prompt.engine_part import EnginePart
from voxelsmith.plugin.docks.prompt.targets import Row
from voxelsmith.plugin.docks.prompt.view import PromptDock
from voxelsmith.segment.engine import EngineInfo, engine_infos

INFOS = [
    EngineInfo("a", "Training-free random walk", "Bright things.", "BSD-3-Clause", "0.1 s a prompt", ""),
    EngineInfo("b", "A learned engine with quite a long title", "All things <3.", "CC-BY-4.0", "2 s a prompt", ""),
]


@pytest.fixture
def dock(qtbot):
    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 5, 6)), name="an image with quite a long name, as file names of scans often are")
    dock = PromptDock(viewer)
    qtbot.addWidget(dock)
    return dock


def test_it_fits_into_320_pixels(dock, qtbot):
    dock.set_session(True)
    dock.set_engines(INFOS, "b")
    dock.offer_weights("A learned engine")
    dock.set_tools(frozenset({"points", "box", "word"}))
    dock.set_word("left ventricle of the heart, without its muscle")
    dock.set_maker("Mask by A learned engine with quite a long title, threshold 0.55")
    dock.set_threshold(0.55, "")
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
    tips = [widget.toolTip() for kind in (QAbstractButton, QLineEdit) for widget in dock.findChildren(kind)]
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


def test_an_engine_is_chosen_by_name_and_described(qtbot):
    part = EnginePart()
    qtbot.addWidget(part)
    with qtbot.assertNotEmitted(part.chosen):
        part.set_engines(INFOS, "b")
    assert part.combo.currentText() == INFOS[1].title
    assert "All things &lt;3. 2 s a prompt · CC-BY-4.0" in part.note.text()
    part.combo.setCurrentIndex(0)
    with qtbot.waitSignal(part.chosen) as chosen:
        part.combo.activated.emit(0)
    assert chosen.args == ["a"]
    assert "BSD-3-Clause" in part.note.text()


def test_the_title_of_every_engine_fits(dock, qtbot):
    part = dock.engine_part
    dock.resize(320, 900)
    with qtbot.waitExposed(dock):
        dock.show()
    box = QStyleOptionComboBox()
    box.initFrom(part.combo)
    parts = QStyle.ComplexControl.CC_ComboBox, box, QStyle.SubControl.SC_ComboBoxEditField, part.combo
    room = part.combo.style().subControlRect(*parts).width()
    widths = {i.title: part.combo.fontMetrics().horizontalAdvance(i.title) for i in engine_infos()}
    assert {title: width for title, width in widths.items() if width > room} == {}


def test_missing_weights_are_offered(qtbot):
    part = EnginePart()
    qtbot.addWidget(part)
    assert part.weights_button.isHidden()
    part.offer_weights("SegVol")
    assert not part.weights_button.isHidden()
    assert "SegVol" in part.weights_button.text()
    with qtbot.waitSignal(part.weights_wanted):
        part.weights_button.click()
    part.offer_weights("")
    assert part.weights_button.isHidden()


def test_the_threshold_is_moved_and_put_back_unless_there_is_a_reason(dock, qtbot):
    part = dock.threshold_part
    assert not part.slider.isEnabled()
    assert "press Start" in part.slider.toolTip()
    with qtbot.assertNotEmitted(dock.threshold_chosen):
        dock.set_threshold(0.7, "")
    with qtbot.waitSignal(dock.threshold_chosen) as chosen:
        part.slider.setValue(0.31)
    assert chosen.args == [0.31]
    with qtbot.waitSignal(dock.threshold_chosen) as chosen:
        part.reset_button.click()
    assert chosen.args == [0.5]
    dock.set_threshold(0.5, "This engine gives no probabilities")
    assert not part.slider.isEnabled()
    assert not part.reset_button.isEnabled()
    assert part.slider.toolTip() == "This engine gives no probabilities"


@pytest.mark.parametrize(
    ("key", "value"), [(Qt.Key.Key_Right, 0.51), (Qt.Key.Key_Left, 0.49), (Qt.Key.Key_PageUp, 0.6)]
)
def test_keys_move_the_threshold(dock, qtbot, key, value):
    dock.set_threshold(0.5, "")
    with qtbot.waitActive(dock):
        dock.show()
        dock.activateWindow()
    dock.threshold_part.slider.setFocus()
    qtbot.keyClick(dock.threshold_part.slider.focusProxy(), key)
    assert dock.threshold_part.slider.value() == pytest.approx(value)


def test_showing_probabilities_is_announced_by_the_user_only(dock, qtbot):
    with qtbot.waitSignal(dock.probability_toggled) as toggled:
        dock.threshold_part.box.click()
    assert toggled.args == [True]
    assert dock.probability_wanted
    with qtbot.assertNotEmitted(dock.probability_toggled):
        dock.set_probability(False)
    assert not dock.probability_wanted


def test_tools_can_be_disabled(dock):
    dock.set_session(True)
    dock.set_tools(frozenset({"points"}))
    assert [tool for tool, button in dock.tool_buttons.items() if button.isEnabled()] == ["points"]


def test_an_accepted_object_says_who_made_it(dock):
    dock.set_accepted([Row(1, "nodule", 10, 1.0, (1, 0, 0, 1), "Mask by Gaussian blob")])
    assert dock.accepted.topLevelItem(0).toolTip(1) == "Mask by Gaussian blob"
