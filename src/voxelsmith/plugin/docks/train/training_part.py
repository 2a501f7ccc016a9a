"""Training part of the dock: buttons, what the training is doing, and its curve."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QProgressBar, QPushButton, QWidget

from voxelsmith.core.progress import Progress
from voxelsmith.plugin.docks.train.curve import LearningCurve
from voxelsmith.plugin.runner import on_bar
from voxelsmith.train.history import Row
from voxelsmith.train.state import TrainingState

TRAIN_KEY, STOP_KEY = "Ctrl+Return", "Escape"
_WAITING = {TrainingState.preparing, TrainingState.stopping}


class TrainingPart(QWidget):
    """Widgets that are about the running training.

    Attributes
    ----------
    train_wanted : Signal()
        A new training.
    pause_wanted, resume_wanted, stop_wanted : Signal()
        Of the training that runs, or, to resume, of the chosen run.
    labels_wanted : Signal()
        The training is to go on with the labels as they are now.
    preview_toggled : Signal(str, bool)
        "labels" or "uncertainty".
    """

    train_wanted = Signal()
    pause_wanted = Signal()
    resume_wanted = Signal()
    stop_wanted = Signal()
    labels_wanted = Signal()
    preview_toggled = Signal(str, bool)

    def __init__(self) -> None:
        super().__init__()
        self._state = TrainingState.idle
        self.train_button = QPushButton("&Train")
        self.train_button.setToolTip(f"Begin a new training on the annotated slices ({TRAIN_KEY})")
        self.train_button.clicked.connect(lambda: self.train_wanted.emit())
        self.pause_button = QPushButton("&Pause")
        self.pause_button.clicked.connect(self._pause_or_resume)
        self.stop_button = QPushButton("&Stop")
        self.stop_button.setToolTip(f"End the training; it leaves a checkpoint and can be resumed ({STOP_KEY})")
        self.stop_button.clicked.connect(lambda: self.stop_wanted.emit())
        self.labels_button = QPushButton("&Use labels as painted now")
        self.labels_button.setToolTip("The training takes in what was painted or added since, at its next epoch")
        self.labels_button.clicked.connect(lambda: self.labels_wanted.emit())
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.state_label, self.notes = QLabel(), QLabel()
        for label in (self.state_label, self.notes):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        # A label with selectable text is painted several times for each new one, and the whole window with it.
        self.notes.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.curve = LearningCurve()
        self.boxes = {"labels": QCheckBox("Preview"), "uncertainty": QCheckBox("Uncertaint&y")}
        self.boxes["labels"].setToolTip("A layer with the network's answer, for the slice in view while it learns")
        self.boxes["uncertainty"].setToolTip("A layer that glows where the answer is unsure")
        self.boxes["labels"].setChecked(True)
        for kind, box in self.boxes.items():
            box.toggled.connect(lambda on, k=kind: self.preview_toggled.emit(k, bool(on)))
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        for column, button in enumerate((self.train_button, self.pause_button, self.stop_button)):
            grid.addWidget(button, 0, column)
        wide: tuple[QWidget, ...] = (self.bar, self.state_label, self.curve, self.labels_button, self.notes)
        for row, widget in enumerate(wide, start=1):
            grid.addWidget(widget, row, 0, 1, 3)
        grid.addWidget(self.boxes["labels"], 6, 0)
        grid.addWidget(self.boxes["uncertainty"], 6, 1, 1, 2)
        self.set_state(TrainingState.idle, trainable=False, resumable=False)
        self.set_notes(())

    def _pause_or_resume(self) -> None:
        (self.pause_wanted if self._state is TrainingState.training else self.resume_wanted).emit()

    def set_state(self, state: TrainingState, *, trainable: bool, resumable: bool) -> None:
        """Enable what can be done in a state; ``resumable`` is whether the chosen run can go on."""
        self._state = state
        running = state in _WAITING or state in {TrainingState.training, TrainingState.paused}
        self.train_button.setEnabled(trainable and not running)
        pausing = state is TrainingState.training or state in _WAITING
        self.pause_button.setText("&Pause" if pausing else "&Resume")
        self.pause_button.setToolTip(
            "Wait after the present step" if pausing else "Go on after a pause, or go on with the chosen run"
        )
        live = {TrainingState.training, TrainingState.paused}
        self.pause_button.setEnabled(state in live or (resumable and not running))
        self.stop_button.setEnabled(running and state is not TrainingState.stopping)
        self.labels_button.setEnabled(state in live)
        self.labels_button.setVisible(running)
        self.bar.setVisible(running)

    def set_progress(self, progress: Progress, text: str) -> None:
        """Show how far the training is."""
        done, total = on_bar(progress)
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.set_text(text)

    def set_text(self, text: str) -> None:
        """Say what the training is doing, or what came of it; nothing hides the line."""
        self.state_label.setText(text)
        self.state_label.setVisible(bool(text))

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Draw a history."""
        self.curve.set_rows(rows)

    def set_notes(self, notes: Sequence[str]) -> None:
        """Show what the user should know; nothing hides the lines."""
        self.notes.setText("\n".join(notes))
        self.notes.setVisible(bool(notes))

    def set_shown(self, kind: str, shown: bool) -> None:
        """Tell whether a layer is wanted."""
        before = self.boxes[kind].blockSignals(True)
        self.boxes[kind].setChecked(shown)
        self.boxes[kind].blockSignals(before)
