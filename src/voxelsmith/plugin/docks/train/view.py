"""View of the Train dock: widgets and their order.

Owns how the parts lie at any width from 320 pixels up, and the keys. It computes nothing and knows no layer.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QLabel

from voxelsmith.plugin.docks.dock import Dock
from voxelsmith.plugin.docks.fold import Fold
from voxelsmith.plugin.docks.train.controller import TrainController
from voxelsmith.plugin.docks.train.data_part import ADD_KEY, DataPart
from voxelsmith.plugin.docks.train.result_part import ACTIONS, ResultPart
from voxelsmith.plugin.docks.train.runs_part import RunsPart
from voxelsmith.plugin.docks.train.settings_part import SettingsPart
from voxelsmith.plugin.docks.train.training_part import STOP_KEY, TRAIN_KEY, TrainingPart
from voxelsmith.plugin.progress_bar import JobProgressBar
from voxelsmith.plugin.runner import JobRunner


class TrainDock(Dock):
    """Training of a network on the slices that the user painted.

    Parameters
    ----------
    napari_viewer : napari.Viewer or napari.components.ViewerModel

    Attributes
    ----------
    runner : JobRunner
        Runs what the model is used for.
    trainer : JobRunner
        Runs the training, so that the two do not stop one another.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.runner = JobRunner(napari_viewer, self)
        # The dock shows how a training goes; a second bar in napari's corner would cost a stall.
        self.trainer = JobRunner(napari_viewer, self, shown=False)
        self.content.setContentsMargins(6, 6, 6, 6)
        self.data, self.settings, self.training = DataPart(), SettingsPart(), TrainingPart()
        self.runs, self.result = RunsPart(), ResultPart()
        self.progress = JobProgressBar(self.runner)
        self.progress.cancel_button.setToolTip(f"Stop the computation; nothing is changed ({STOP_KEY})")
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setTextFormat(Qt.TextFormat.PlainText)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.folds = {
            title: Fold(title, part, opened=True)
            for title, part in {
                "Data": self.data,
                "Settings": self.settings,
                "Training": self.training,
                "Runs": self.runs,
                "Result": self.result,
            }.items()
        }
        for widget in (*self.folds.values(), self.progress, self.status):
            self.content.addWidget(widget)
        self.content.addStretch(1)
        keys = {
            ADD_KEY: self.data.buttons["slice"].click,
            TRAIN_KEY: self.training.train_button.click,
            STOP_KEY: self._stop,
        }
        keys |= {key: self.result.buttons[action].click for action, (_, key, _) in ACTIONS.items()}
        for key, action in keys.items():
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(action)
        self.controller = TrainController(self, napari_viewer)
        self.closed.connect(self.controller.close)

    def _stop(self) -> None:
        """Stop what was begun last: the use of a model, else the training."""
        button = self.progress.cancel_button if self.runner.running else self.training.stop_button
        button.click()

    def set_status(self, text: str) -> None:
        """Show what was done last; nothing hides the line."""
        self.status.setText(text)
        self.status.setVisible(bool(text))
