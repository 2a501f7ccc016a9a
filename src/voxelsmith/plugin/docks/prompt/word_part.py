"""Word part of the dock: naming the object, for engines that read words.

Owns the line with its list of names, and which keys the line keeps to itself. What is being typed is not overwritten
until the session's word changes or the user has said it.
"""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QStringListModel, Qt, Signal
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import QCompleter, QGridLayout, QLineEdit, QPushButton, QWidget

from voxelsmith.plugin.docks.prompt import keys
from voxelsmith.plugin.docks.prompt.parts import label_for

_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
_STEPS = (QKeySequence.StandardKey.Undo, QKeySequence.StandardKey.Redo)
_VISIBLE_NAMES = 10


class WordPart(QWidget):
    """A line for a word, with completion.

    Parameters
    ----------
    suggest
        From a beginning, which may be empty, to names, the best first.

    Attributes
    ----------
    said : Signal(str)
        The word that the user gave with Enter or took from the list; empty to take it away.
    """

    said = Signal(str)

    def __init__(self, suggest: Callable[[str], list[str]]) -> None:
        super().__init__()
        self._suggest = suggest
        self._word = ""
        self._typing = False
        self.edit = _WordEdit()
        self.edit.setPlaceholderText("What to find, such as liver")
        self.edit.setToolTip(
            f"A word for the object, in English; Enter says it, Down lists what is known ({keys.shown('word')})"
        )
        self._names = QStringListModel(suggest(""), self)
        self.completer = QCompleter(self._names, self)
        self.completer.setCompletionMode(QCompleter.CompletionMode.UnfilteredPopupCompletion)
        self.completer.setMaxVisibleItems(_VISIBLE_NAMES)
        self.completer.activated[str].connect(self.say)
        self.completer.highlighted[str].connect(self._begin)
        self.edit.setCompleter(self.completer)
        if (popup := self.completer.popup()) is not None:
            # Only what has a parent in the window takes its theme.
            popup.setParent(self, Qt.WindowType.Popup)
        self.edit.textEdited.connect(self._complete)
        self.edit.returnPressed.connect(lambda: self.say(self.edit.text()))
        self.clear_button = QPushButton("✕")
        self.clear_button.setToolTip("Take the word away; the other prompts stay")
        self.clear_button.setFixedWidth(36)
        self.clear_button.clicked.connect(lambda: self.say(""))
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        grid.addWidget(label_for("&Word", self.edit), 0, 0)
        grid.addWidget(self.edit, 0, 1)
        grid.addWidget(self.clear_button, 0, 2)
        grid.setColumnStretch(1, 1)
        self.set_word("")

    def _begin(self) -> None:
        self._typing = True

    def _complete(self, text: str) -> None:
        self._begin()
        self._names.setStringList(self._suggest(text))

    def say(self, word: str) -> None:
        """Announce a word."""
        self._typing = False
        self.said.emit(word.strip())

    def set_word(self, word: str) -> None:
        """Show the word of the object; what is being typed stays unless the word is another one now."""
        if self._typing and word == self._word:
            return
        self._word, self._typing = word, False
        self.clear_button.setEnabled(bool(word))
        # A text that is set has nothing to undo.
        if self.edit.text() != word or self.edit.isUndoAvailable():
            self.edit.setText(word)
            self._names.setStringList(self._suggest(""))

    def take_focus(self) -> None:
        """Let the user type."""
        self.activateWindow()
        self.edit.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.edit.selectAll()


class _WordEdit(QLineEdit):
    """A line that keeps Enter to itself, lists names on Down, and undoes nothing but typing."""

    def event(self, event: QEvent | None) -> bool:
        if isinstance(event, QKeyEvent):
            if event.type() == QEvent.Type.ShortcutOverride:
                if event.key() in _ENTER:
                    event.accept()
                    return True
                if any(event.matches(step) for step in _STEPS) and not (
                    self.isUndoAvailable() or self.isRedoAvailable()
                ):
                    event.ignore()
                    return False
            elif event.type() == QEvent.Type.KeyPress and event.key() in (Qt.Key.Key_Down, *_ENTER):
                self._press(event)
                # What is left over would reach the list of names, and then the viewer.
                event.accept()
                return True
        return bool(super().event(event))

    def _press(self, event: QKeyEvent) -> None:
        completer = self.completer()
        if event.key() == Qt.Key.Key_Down:
            if completer is not None:
                completer.complete()
            return
        if completer is not None and (names := completer.popup()) is not None:
            names.hide()
        super().event(event)
