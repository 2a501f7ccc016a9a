"""View of the Tumour dock: widgets, signals and setters.

Owns the order of the parts, at any width from 320 pixels up, and the part with the buttons that run. It computes
nothing and knows no layer.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QLabel, QPushButton, QWidget

from voxelsmith.plugin.docks.dock import Dock
from voxelsmith.plugin.docks.fold import Fold
from voxelsmith.plugin.docks.prompt.parts import grid_part
from voxelsmith.plugin.docks.tumour.controller import TumourController
from voxelsmith.plugin.docks.tumour.result_part import ResultPart
from voxelsmith.plugin.docks.tumour.results import ResultController
from voxelsmith.plugin.docks.tumour.run import Outcome
from voxelsmith.plugin.docks.tumour.settings_part import SettingsPart
from voxelsmith.plugin.docks.tumour.slots_part import SlotsPart
from voxelsmith.plugin.progress_bar import JobProgressBar
from voxelsmith.plugin.runner import JobRunner

RUN_KEY, PREVIEW_KEY, CANCEL_KEY = "Ctrl+Return", "Ctrl+Shift+Return", "Escape"


class TumourDock(Dock):
    """Segmentation of a brain tumour from up to four MR sequences.

    Parameters
    ----------
    napari_viewer : napari.Viewer or napari.components.ViewerModel

    Attributes
    ----------
    run_wanted : Signal(bool)
        A segmentation is to begin; whether a preview.
    """

    run_wanted = Signal(bool)

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.runner = JobRunner(napari_viewer, self)
        self.content.setContentsMargins(6, 6, 6, 6)
        self.slots, self.settings, self.result = SlotsPart(), SettingsPart(), ResultPart()
        self.folds = {
            "Sequences": Fold("Sequences", self.slots, opened=True),
            "Result": Fold("Result", self.result),
        }
        for part in (self.folds["Sequences"], self.settings, self._run_part(), self.folds["Result"]):
            self.content.addWidget(part)
        self.content.addStretch(1)
        self._add_shortcut(RUN_KEY, self.run_button.click)
        self._add_shortcut(PREVIEW_KEY, self.preview_button.click)
        self._add_shortcut(CANCEL_KEY, self.progress.cancel_button.click)
        self.results = ResultController(self.result, napari_viewer, self.runner)
        self.controller = TumourController(self, napari_viewer, self.runner)
        self.closed.connect(self.controller.close)
        self.closed.connect(self.results.close)

    def _run_part(self) -> QWidget:
        part, grid = grid_part()
        self.preview_button, self.run_button = QPushButton("Previe&w"), QPushButton("&Run")
        self.preview_button.setToolTip(f"Segment at 2 mm; what is prepared serves the full run ({PREVIEW_KEY})")
        self.run_button.setToolTip(f"Segment at full resolution ({RUN_KEY})")
        self.preview_button.clicked.connect(lambda: self.run_wanted.emit(True))
        self.run_button.clicked.connect(lambda: self.run_wanted.emit(False))
        self.progress = JobProgressBar(self.runner)
        self.progress.cancel_button.setToolTip(f"Stop the computation; nothing is changed ({CANCEL_KEY})")
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setTextFormat(Qt.TextFormat.PlainText)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        grid.addWidget(self.preview_button, 0, 0)
        grid.addWidget(self.run_button, 0, 1)
        grid.addWidget(self.progress, 1, 0, 1, 2)
        grid.addWidget(self.status, 2, 0, 1, 2)
        return part

    def _add_shortcut(self, key: str, action: Any) -> None:
        shortcut = QShortcut(QKeySequence(key), self)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(action)

    # -- what the user sees ------------------------------------------------------------------------------------

    def set_runnable(self, runnable: bool) -> None:
        """Say whether a run can begin."""
        self.run_button.setEnabled(runnable)
        self.preview_button.setEnabled(runnable)

    def set_status(self, text: str) -> None:
        """Show what came of the run; nothing hides the line."""
        self.status.setText(text)
        self.status.setVisible(bool(text))

    def set_outcome(self, outcome: Outcome) -> None:
        """Show the regions of a run, and open the part that speaks of them."""
        self.folds["Result"].set_opened(True)
        self.results.show(outcome)
