"""The line for words: what it announces, what it suggests, and which keys it keeps to itself."""

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from voxelsmith.plugin.docks.prompt.view import PromptDock


@pytest.fixture
def dock(qtbot):
    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 5, 6)))
    dock = PromptDock(viewer)
    qtbot.addWidget(dock)
    dock.set_session(True)
    dock.set_tools(frozenset({"points", "word"}))
    with qtbot.waitActive(dock):
        dock.show()
        dock.activateWindow()
    return dock


@pytest.fixture
def said(dock):
    """What was announced."""
    words = []
    dock.word_said.connect(words.append)
    return words


@pytest.fixture
def edit(dock):
    dock.focus_word()
    return dock.word_part.edit


def suggested(dock):
    popup = dock.word_part.completer.popup()
    return [popup.model().index(n, 0).data() for n in range(popup.model().rowCount())] if popup.isVisible() else []


def test_it_is_there_only_with_engines_that_read_words(dock):
    assert dock.word_part.isVisible()
    dock.set_tools(frozenset({"points", "box"}))
    assert not dock.word_part.isVisible()


def test_enter_says_the_word_and_accepts_nothing(dock, said, edit, qtbot):
    with qtbot.assertNotEmitted(dock.asked):
        qtbot.keyClicks(edit, " portal sinus ")
        assert said == []
        qtbot.keyClick(edit, Qt.Key.Key_Return)
        assert said == ["portal sinus"]
        edit.clear()
        qtbot.keyClick(edit, Qt.Key.Key_Enter)
    assert said == ["portal sinus", ""]


def test_letters_are_typed_and_choose_no_tool(dock, edit, qtbot):
    with qtbot.assertNotEmitted(dock.tool_chosen):
        qtbot.keyClicks(edit, "bps")
    assert edit.text() == "bps"


def test_names_are_suggested_by_any_of_their_words_and_synonyms(dock, edit, qtbot):
    qtbot.keyClicks(edit, "kidn")
    assert suggested(dock)[0] == "kidney"
    assert "left kidney" in suggested(dock)
    edit.selectAll()
    qtbot.keyClicks(edit, "ivc")
    assert suggested(dock) == ["inferior vena cava"]
    edit.selectAll()
    qtbot.keyClicks(edit, "xyzzy")
    assert suggested(dock) == []


def test_a_name_is_taken_from_the_list_by_keys(dock, said, edit, qtbot):
    qtbot.keyClicks(edit, "ivc")
    popup = dock.word_part.completer.popup()
    qtbot.keyClick(popup, Qt.Key.Key_Down)
    assert edit.text() == "inferior vena cava"
    qtbot.keyClick(popup, Qt.Key.Key_Return)
    assert not popup.isVisible()
    assert said == ["inferior vena cava"]


def test_a_name_is_taken_from_the_list_by_mouse(dock, said, edit, qtbot):
    qtbot.keyClicks(edit, "splee")
    popup = dock.word_part.completer.popup()
    place = popup.visualRect(popup.model().index(0, 0)).center()
    qtbot.mouseClick(popup.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert said == ["spleen"]


def test_enter_takes_what_was_typed_and_not_what_is_suggested(dock, said, edit, qtbot):
    qtbot.keyClicks(edit, "liv")
    qtbot.keyClick(dock.word_part.completer.popup(), Qt.Key.Key_Return)
    assert said == ["liv"]


def test_down_lists_all_names(dock, edit, qtbot):
    qtbot.keyClick(edit, Qt.Key.Key_Down)
    assert len(suggested(dock)) > 200


def test_the_word_of_the_object_is_shown_but_does_not_disturb_typing(dock, edit, qtbot):
    dock.set_word("liver")
    assert (edit.text(), dock.name_edit.placeholderText()) == ("liver", "liver")
    edit.selectAll()
    qtbot.keyClicks(edit, "spl")
    dock.set_word("liver")
    assert edit.text() == "spl"
    dock.set_word("")
    assert edit.text() == ""


def test_a_refused_word_gives_way_to_the_one_before(dock, edit, qtbot):
    dock.set_word("liver")
    edit.selectAll()
    qtbot.keyClicks(edit, "??")
    qtbot.keyClick(edit, Qt.Key.Key_Return)
    dock.set_word("liver")
    assert edit.text() == "liver"


def test_clear_takes_the_word_away(dock, said):
    button = dock.word_part.clear_button
    assert not button.isEnabled()
    dock.set_word("liver")
    button.click()
    assert said == [""]


def test_undo_takes_back_typing_and_otherwise_the_last_step(dock, edit, qtbot):
    control = Qt.KeyboardModifier.ControlModifier
    qtbot.keyClicks(edit, "liv")
    with qtbot.assertNotEmitted(dock.asked):
        qtbot.keyClick(edit, Qt.Key.Key_Z, control)
    assert edit.text() == ""
    qtbot.keyClicks(edit, "liver")
    qtbot.keyClick(edit, Qt.Key.Key_Return)
    dock.set_word("liver")
    with qtbot.waitSignal(dock.asked) as asked:
        qtbot.keyClick(edit, Qt.Key.Key_Z, control)
    assert asked.args == ["undo"]
    with qtbot.waitSignal(dock.asked) as asked:
        qtbot.keyClick(edit, Qt.Key.Key_Z, control | Qt.KeyboardModifier.ShiftModifier)
    assert asked.args == ["redo"]


def test_its_key_leads_to_it(dock, edit, qtbot):
    dock.set_word("liver")
    dock.session_button.setFocus()
    with qtbot.waitSignal(dock.tool_chosen) as chosen:
        qtbot.keyClick(dock.session_button, Qt.Key.Key_W)
    assert chosen.args == ["word"]
    dock.focus_word()
    assert edit.hasFocus()
    assert edit.selectedText() == "liver"
