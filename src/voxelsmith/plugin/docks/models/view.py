"""View of the Models dock.

Owns widgets, signals and setters; it decides nothing. The controller fills it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QCheckBox, QFileDialog, QGridLayout, QGroupBox, QLabel, QListWidget, QPushButton, QSizePolicy
from superqt import QElidingLabel

from voxelsmith.plugin.docks.dock import Dock
from voxelsmith.plugin.docks.models.controller import ModelsController
from voxelsmith.plugin.progress_bar import JobProgressBar
from voxelsmith.plugin.runner import JobRunner

ACTIONS = {
    "get": ("&Get…", "Download the weights, after you agreed to size and licence; goes on where it was stopped"),
    "verify": ("&Verify", "Read the files and check that they are those that were published, or that first arrived"),
    "remove": ("&Remove…", "Delete what was downloaded or added"),
    "add": ("A&dd file…", "Use a file with weights that you have; it is recognised by its tensors"),
}
_LIST_HEIGHT = 180


class ModelsDock(Dock):
    """List, fetch, add, check and remove trained networks.

    Parameters
    ----------
    napari_viewer : napari.Viewer or napari.components.ViewerModel

    Attributes
    ----------
    chosen : Signal(int)
        Position in the list given to :meth:`set_models`.
    asked_for : Signal(str)
        "get", "verify" or "remove", of the chosen network.
    file_chosen : Signal(str, bool)
        A file with weights, and whether it is to stay where it is.
    answered : Signal(bool)
        What the user said to :meth:`ask`.
    """

    chosen = Signal(int)
    asked_for = Signal(str)
    file_chosen = Signal(str, bool)
    answered = Signal(bool)

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.runner = JobRunner(napari_viewer, self)
        self.models = QListWidget()
        self.models.setToolTip("Networks that ship with the plugin, and those that can be fetched")
        self.models.setSizeAdjustPolicy(QListWidget.SizeAdjustPolicy.AdjustToContents)
        self.models.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
        self.models.setMaximumHeight(_LIST_HEIGHT)
        self.models.setSpacing(2)
        self.models.currentRowChanged.connect(self.chosen)
        self.facts = QLabel()
        self.facts.setWordWrap(True)
        self.facts.setTextFormat(Qt.TextFormat.RichText)
        self.facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._page = QUrl()
        self.page = QPushButton("Open source &page")
        self.page.setToolTip("Show in the browser where the weights come from")
        self.page.clicked.connect(lambda: QDesktopServices.openUrl(self._page))
        self.file = QElidingLabel()
        self.file.setElideMode(Qt.TextElideMode.ElideLeft)
        self.file.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.progress = JobProgressBar(self.runner)
        self.content.addWidget(self.models)
        self.content.addLayout(self._buttons())
        self.content.addWidget(self._question())
        self.content.addWidget(self.progress)
        self.content.addWidget(self.facts)
        self.content.addWidget(self.file)
        self.content.addWidget(self.page)
        self.content.addStretch(1)
        self.controller = ModelsController(self, self.runner)
        self.closed.connect(self.controller.close)

    def _buttons(self) -> QGridLayout:
        self.buttons: dict[str, QPushButton] = {}
        grid = QGridLayout()
        for place, (action, (text, tip)) in enumerate(ACTIONS.items()):
            button = QPushButton(text)
            button.setToolTip(tip)
            grid.addWidget(button, *((0, place) if action != "add" else (1, 0)))
            self.buttons[action] = button
        for action in ("get", "verify", "remove"):
            self.buttons[action].clicked.connect(lambda _=False, a=action: self.asked_for.emit(a))
        self.buttons["add"].clicked.connect(self._ask_file)
        self.link = QCheckBox("&Leave it in its place")
        self.link.setToolTip("Link to an added file instead of copying it; it must then stay where it is")
        grid.addWidget(self.link, 1, 1, 1, 2)
        return grid

    def _question(self) -> QGroupBox:
        self.question = QGroupBox()
        self.question_text = QLabel()
        self.question_text.setWordWrap(True)
        self.question_text.setTextFormat(Qt.TextFormat.PlainText)
        self.yes, self.no = QPushButton(), QPushButton("&Not now")
        self.no.setToolTip("Leave everything as it is")
        grid = QGridLayout(self.question)
        grid.addWidget(self.question_text, 0, 0, 1, 2)
        for column, (button, answer) in enumerate(((self.yes, True), (self.no, False))):
            button.clicked.connect(lambda _=False, a=answer: self.answered.emit(a))
            grid.addWidget(button, 1, column)
        self.question.hide()
        return self.question

    def set_models(self, lines: Sequence[tuple[str, str]], chosen: int) -> None:
        """Show each network by its title and its state, and which one is chosen (-1 for none)."""
        with QSignalBlocker(self.models):
            self.models.clear()
            self.models.addItems([f"{title}\n{state}" for title, state in lines])
            self.models.setCurrentRow(chosen)

    def set_facts(self, html: str, page: str = "", file: str = "") -> None:
        """Show what is known of the chosen network, offer the page that it comes from, and tell where its file lies."""
        self.facts.setText(html)
        self._page = QUrl(page)
        self.page.setVisible(bool(page))
        self.file.setText(file)
        self.file.setToolTip(file)

    def set_possible(self, actions: Collection[str]) -> None:
        """Enable what can be done now."""
        for action, button in self.buttons.items():
            button.setEnabled(action in actions)
        self.link.setEnabled("add" in actions)

    def ask(self, text: str, verb: str) -> None:
        """Put a question in the dock; the focus is on the answer that changes nothing."""
        self.question_text.setText(text)
        self.yes.setText(f"&Yes, {verb}")
        self.yes.setToolTip(f"Agree to this, and {verb}")
        self.question.show()
        self.no.setFocus()

    def drop_question(self) -> None:
        """Take the question away."""
        self.question.hide()

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Add a file with weights")
        if path:
            self.file_chosen.emit(path, self.link.isChecked())
