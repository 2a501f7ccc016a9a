"""View of the Prompt dock: widgets, signals and setters.

Owns what the dock looks like at any width from 320 pixels up. It computes nothing and knows no layer: it says what the
user asked for, and shows what :mod:`controller` tells it to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)
from superqt import QLabeledRangeSlider

from voxelsmith.plugin.docks.dock import Dock
from voxelsmith.plugin.docks.fold import Fold
from voxelsmith.plugin.docks.prompt import keys
from voxelsmith.plugin.docks.prompt.accepted_part import AcceptedList
from voxelsmith.plugin.docks.prompt.controller import PromptController
from voxelsmith.plugin.docks.prompt.engine_part import EnginePart
from voxelsmith.plugin.docks.prompt.parts import combo_box, grid_part, label_for
from voxelsmith.plugin.docks.prompt.targets import Row
from voxelsmith.plugin.docks.prompt.threshold_part import ThresholdPart
from voxelsmith.plugin.docks.prompt.word_part import WordPart
from voxelsmith.plugin.progress_bar import JobProgressBar
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.engine import EngineInfo
from voxelsmith.segment.segvol import words

_TOOLS = {"points": "&Points", "box": "&Box", "scribbles": "S&cribble"}
_NO_NAME = "Name of the object (optional)"
_TOOL_TIPS = {
    "points": "Click on the object. Ctrl+click or Alt+click says background",
    "box": "Drag a rectangle on a slice of any axis; draw a second one, or use the slider, to set the depth",
    "scribbles": "Paint over the object. Hold Ctrl to paint background",
}


class PromptDock(Dock):
    """Prompted segmentation of the objects in an image.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari passes its viewer under this name.
    """

    choice_made = Signal(str, str)
    """Which layer choice ("image", "mask", "target") and the name chosen."""
    asked = Signal(str)
    """An action of :data:`keys.KEYS` other than a tool."""
    tool_chosen = Signal(str)
    polarity_chosen = Signal(bool)
    live_toggled = Signal(bool)
    depth_chosen = Signal(int, int)
    engine_chosen = Signal(str)
    engines_opening = Signal()
    run_chosen = Signal(object)
    weights_wanted = Signal()
    word_said = Signal(str)
    threshold_chosen = Signal(float)
    probability_toggled = Signal(bool)

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.runner = JobRunner(napari_viewer, self)
        self.choices = {kind: combo_box() for kind in ("image", "mask", "target")}
        self._session_widgets: list[QWidget] = []
        self.content.setContentsMargins(6, 6, 6, 6)
        self.accepted, self.engine_part, self.threshold_part = AcceptedList(), EnginePart(), ThresholdPart()
        self.word_part = WordPart(words.matching)
        self.engine_part.chosen.connect(self.engine_chosen)
        self.engine_part.opening.connect(self.engines_opening)
        self.engine_part.run_chosen.connect(self.run_chosen)
        self.engine_part.weights_wanted.connect(self.weights_wanted)
        self.word_part.said.connect(self.word_said)
        self.threshold_part.moved.connect(self.threshold_chosen)
        self.threshold_part.probability_toggled.connect(self.probability_toggled)
        for part in (
            self._image_part(),
            self.engine_part,
            self.word_part,
            self._tool_part(),
            self._run_part(),
            self.threshold_part,
            self._accept_part(),
            self._mask_part(),
            Fold("Accepted objects", self.accepted, opened=True),
        ):
            self.content.addWidget(part)
        self.content.addStretch(1)
        self._add_shortcuts()
        self.set_session(False)
        self.controller = PromptController(self, napari_viewer, self.runner)

    # -- parts -------------------------------------------------------------------------------------------------

    def _image_part(self) -> QWidget:
        part, grid = grid_part()
        grid.addWidget(label_for("&Image", self.choices["image"]), 0, 0)
        grid.addWidget(self.choices["image"], 0, 1)
        self.choices["image"].setToolTip("The image to segment; of a time series, the frame that is shown")
        self.session_button = self._action("session", "&Start", "Make the prompt layers on this image")
        grid.addWidget(self.session_button, 0, 2)
        grid.setColumnStretch(1, 1)
        self.choices["image"].activated.connect(lambda: self._announce("image"))
        return part

    def _tool_part(self) -> QWidget:
        part, grid = grid_part()
        self.tools = QButtonGroup(self)
        self.tool_buttons: dict[str, QPushButton] = {}
        for n, (tool, text) in enumerate(_TOOLS.items()):
            button = QPushButton(text)
            button.setCheckable(True)
            button.setToolTip(f"{_TOOL_TIPS[tool]} ({keys.shown(tool)})")
            button.clicked.connect(lambda _=False, tool=tool: self.tool_chosen.emit(tool))
            self.tools.addButton(button)
            self.tool_buttons[tool] = button
            grid.addWidget(button, 0, n)
        self.polarity_button = QPushButton()
        self.polarity_button.setCheckable(True)
        self.polarity_button.setToolTip(f"Whether you mark the object or the background ({keys.shown('polarity')})")
        self.polarity_button.toggled.connect(lambda background: self.polarity_chosen.emit(not background))
        grid.addWidget(self.polarity_button, 1, 0, 1, 3)
        self.depth_label = QLabel()
        self.depth_slider = QLabeledRangeSlider(Qt.Orientation.Horizontal)
        self.depth_slider.setTracking(False)
        self.depth_slider.setEdgeLabelMode(QLabeledRangeSlider.EdgeLabelMode.NoLabel)
        self.depth_slider.setToolTip("First and last slice of the box along the axis that its rectangle does not span")
        self.depth_slider.valueChanged.connect(lambda ends: self.depth_chosen.emit(int(ends[0]), int(ends[1])))
        grid.addWidget(self.depth_label, 2, 0, 1, 3)
        grid.addWidget(self.depth_slider, 3, 0, 1, 3)
        self._session_widgets.append(part)
        self.set_polarity(True)
        self.set_depth(None)
        return part

    def _run_part(self) -> QWidget:
        part, grid = grid_part()
        self.live_box = QCheckBox("&Live update")
        self.live_box.setChecked(True)
        self.live_box.setToolTip(f"Segment after every prompt ({keys.shown('live')})")
        self.live_box.toggled.connect(self.live_toggled)
        self.run_button = self._action("run", "&Run", "Segment with the present prompts")
        grid.addWidget(self.live_box, 0, 0)
        grid.addWidget(self.run_button, 0, 1)
        self.undo_button = self._action("undo", "&Undo", "Take back the last prompt or accepted object")
        self.redo_button = self._action("redo", "R&edo", "Do again what was taken back")
        self.reset_button = self._action("reset", "Rese&t", "Clear all prompts of this object; Undo brings them back")
        line = QHBoxLayout()
        for button in (self.undo_button, self.redo_button, self.reset_button):
            line.addWidget(button)
        grid.addLayout(line, 1, 0, 1, 2)
        self.progress = JobProgressBar(self.runner)
        self.progress.cancel_button.setToolTip(f"Stop the computation; nothing is changed ({keys.shown('cancel')})")
        grid.addWidget(self.progress, 2, 0, 1, 2)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        grid.addWidget(self.status, 3, 0, 1, 2)
        self._session_widgets += [self.live_box]
        return part

    def _accept_part(self) -> QWidget:
        part, grid = grid_part()
        grid.addWidget(label_for("Labels", self.choices["target"]), 0, 0)
        grid.addWidget(self.choices["target"], 0, 1)
        self.choices["target"].setToolTip("The Labels layer that accepted objects are added to")
        self.choices["target"].activated.connect(lambda: self._announce("target"))
        self.name_edit = QLineEdit()
        self.name_edit.setPlaceholderText(_NO_NAME)
        self.name_edit.setToolTip("Kept with the label, and written to files that can hold it")
        grid.addWidget(label_for("&Name", self.name_edit), 1, 0)
        grid.addWidget(self.name_edit, 1, 1)
        self.overwrite_box = QCheckBox("&Overwrite other labels")
        self.overwrite_box.setToolTip(f"Let the object take voxels of accepted ones ({keys.shown('overwrite')})")
        grid.addWidget(self.overwrite_box, 2, 0, 1, 2)
        self.accept_button = self._action("accept", "&Accept", "Add the previewed object to the labels")
        grid.addWidget(self.accept_button, 3, 0, 1, 2)
        grid.setColumnStretch(1, 1)
        self._session_widgets += [self.name_edit, self.overwrite_box]
        return part

    def _mask_part(self) -> QWidget:
        part, grid = grid_part()
        grid.addWidget(self.choices["mask"], 0, 0)
        self.choices["mask"].setToolTip("A Labels layer with a rough or earlier mask; it may be on another grid")
        self.choices["mask"].activated.connect(lambda: self._announce("mask"))
        self.mask_button = self._action("mask", "&Use", "Start this object from the mask")
        grid.addWidget(self.mask_button, 0, 1)
        self.selected_only_box = QCheckBox("Only its selected label")
        self.selected_only_box.setToolTip("Use the label that is selected in that layer, instead of all of its labels")
        grid.addWidget(self.selected_only_box, 1, 0, 1, 2)
        grid.setColumnStretch(0, 1)
        return Fold("Start from a mask", part)

    def _action(self, action: str, text: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(f"{tip} ({keys.shown(action)})")
        button.clicked.connect(lambda: self.asked.emit(action))
        return button

    def _add_shortcuts(self) -> None:
        """The same keys while the dock, and not the canvas, has the focus."""
        for action in keys.KEYS:
            shortcut = QShortcut(QKeySequence(keys.qt_sequence(action)), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(lambda action=action: self.press(action))

    def _announce(self, kind: str) -> None:
        self.choice_made.emit(kind, self.choices[kind].currentText())

    # -- what the user says ------------------------------------------------------------------------------------

    def press(self, action: str) -> None:
        """Do what the key of an action does."""
        if action in self.tool_buttons or action == "word":
            self.tool_chosen.emit(action)
        elif action == "polarity":
            self.polarity_button.toggle()
        elif action == "live":
            self.live_box.toggle()
        elif action == "overwrite":
            self.overwrite_box.toggle()
        else:
            self.asked.emit(action)

    @property
    def live(self) -> bool:
        """Whether every prompt is answered at once."""
        return self.live_box.isChecked()

    @property
    def overwrite(self) -> bool:
        """Whether the user allows taking voxels of other labels."""
        return self.overwrite_box.isChecked()

    @property
    def probability_wanted(self) -> bool:
        """Whether the user wants to see the probabilities."""
        return self.threshold_part.box.isChecked()

    @property
    def object_name(self) -> str:
        """What the user calls the object."""
        return self.name_edit.text().strip()

    @property
    def only_selected(self) -> bool:
        """Whether only the selected label of the mask layer is meant."""
        return self.selected_only_box.isChecked()

    # -- what the user sees ------------------------------------------------------------------------------------

    def set_choices(self, kind: str, names: Sequence[str], current: str | None) -> None:
        """Offer layers by name."""
        combo = self.choices[kind]
        with QSignalBlocker(combo):
            combo.clear()
            combo.addItems(list(names))
            combo.setCurrentIndex(names.index(current) if current in names else 0)

    def set_session(self, running: bool) -> None:
        """Switch between choosing an image and prompting on it."""
        self.session_button.setText("&Finish" if running else "&Start")
        tip = "Remove the prompt layers; what is not accepted is kept as a layer" if running else "Make prompt layers"
        self.session_button.setToolTip(f"{tip} ({keys.shown('session')})")
        self.choices["image"].setEnabled(not running)
        for widget in self._session_widgets:
            widget.setEnabled(running)
        self.set_possible(frozenset())

    def set_possible(self, actions: frozenset[str]) -> None:
        """Enable the buttons of what can be done now: any of run, undo, redo, reset, accept and mask."""
        for action in ("run", "undo", "redo", "reset", "accept", "mask"):
            getattr(self, f"{action}_button").setEnabled(action in actions)

    def set_tool(self, tool: str) -> None:
        """Show which tool is active."""
        self.tool_buttons[tool].setChecked(True)

    def set_tools(self, tools: frozenset[str]) -> None:
        """Enable the tools that the engine reads; the line for words is there only with those that read words."""
        for tool, button in self.tool_buttons.items():
            button.setEnabled(tool in tools)
        self.word_part.setVisible("word" in tools)

    def set_word(self, word: str) -> None:
        """Show the word for the object, which also names it unless the user does."""
        self.word_part.set_word(word)
        self.name_edit.setPlaceholderText(word or _NO_NAME)

    def focus_word(self) -> None:
        """Let the user type a word."""
        self.word_part.take_focus()

    def set_polarity(self, positive: bool) -> None:
        """Show whether the object or the background is marked."""
        with QSignalBlocker(self.polarity_button):
            self.polarity_button.setChecked(not positive)
        self.polarity_button.setText("● &Marking the object" if positive else "✕ &Marking the background")

    def set_depth(self, title: str | None, first: int = 0, last: int = 0, count: int = 1) -> None:
        """Show the depth of the box among ``count`` slices; None hides it."""
        for widget in (self.depth_label, self.depth_slider):
            widget.setVisible(title is not None)
        if title is not None:
            self.depth_label.setText(title)
            with QSignalBlocker(self.depth_slider):
                self.depth_slider.setRange(0, count - 1)
                self.depth_slider.setValue((first, last))

    def set_status(self, text: str) -> None:
        """Show a sentence about the last step."""
        self.status.setText(text)

    def set_engines(self, infos: Sequence[EngineInfo], chosen: str) -> None:
        """Offer engines, and show which one is chosen."""
        self.engine_part.set_engines(infos, chosen)

    def offer_weights(self, title: str) -> None:
        """Offer to get the weights of an engine by its title; nothing hides the offer."""
        self.engine_part.offer_weights(title)

    def set_threshold(self, value: float, why_not: str) -> None:
        """Show the threshold; a reason why it cannot be moved disables it."""
        self.threshold_part.set_threshold(value, why_not)

    def set_probability(self, shown: bool) -> None:
        """Show whether there is a probability layer."""
        self.threshold_part.set_probability(shown)

    def set_maker(self, text: str) -> None:
        """Say which engine made the mask shown."""
        self.threshold_part.set_maker(text)

    def set_object_name(self, name: str) -> None:
        """Fill in the name of the object."""
        self.name_edit.setText(name)

    def set_accepted(self, rows: Sequence[Row]) -> None:
        """List the accepted objects."""
        self.accepted.set_rows(rows)
