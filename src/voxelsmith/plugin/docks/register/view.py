"""View of the Register dock: widgets, signals and setters.

Owns the order of the parts, at any width from 320 pixels up, and the part with the Run button. It computes nothing and
knows no layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QCheckBox, QLabel, QPushButton, QWidget

from voxelsmith.plugin.docks.dock import Dock
from voxelsmith.plugin.docks.fold import Fold
from voxelsmith.plugin.docks.prompt.parts import grid_part
from voxelsmith.plugin.docks.register.apply_part import ApplyPart
from voxelsmith.plugin.docks.register.checks_part import ChecksPart
from voxelsmith.plugin.docks.register.controller import RegisterController
from voxelsmith.plugin.docks.register.curve import SimilarityCurve
from voxelsmith.plugin.docks.register.inputs_part import InputsPart
from voxelsmith.plugin.docks.register.outcome import Outcome
from voxelsmith.plugin.docks.register.preflight import Preflight
from voxelsmith.plugin.docks.register.results_part import ResultsPart
from voxelsmith.plugin.docks.register.settings_part import SettingsPart
from voxelsmith.plugin.docks.register.tables_part import TablesPart
from voxelsmith.plugin.progress_bar import JobProgressBar
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.register.result import Step

RUN_KEY, CANCEL_KEY = "Ctrl+Return", "Escape"


class RegisterDock(Dock):
    """Registration of two images.

    Parameters
    ----------
    napari_viewer : napari.Viewer or napari.components.ViewerModel

    Attributes
    ----------
    layer_chosen : Signal(str, str)
        A part, such as "fixed_mask", and the name of the layer.
    swapped : Signal()
        Fixed and moving are to change their parts.
    settings_changed : Signal()
        Another preset or parameter.
    run_wanted : Signal()
        The registration is to begin.
    outcome_made : Signal(Outcome)
        A run has ended well.
    """

    layer_chosen = Signal(str, str)
    swapped = Signal()
    settings_changed = Signal()
    run_wanted = Signal()
    outcome_made = Signal(object)

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.runner = JobRunner(napari_viewer, self)
        self.content.setContentsMargins(6, 6, 6, 6)
        self.inputs, self.settings, self.checks, self.curve = (
            InputsPart(),
            SettingsPart(),
            ChecksPart(),
            SimilarityCurve(),
        )
        self.inputs.chosen.connect(self.layer_chosen)
        self.inputs.swapped.connect(self.swapped)
        self.settings.changed.connect(self.settings_changed)
        self.checks.coarser_wanted.connect(lambda shrink: self.settings.change("finest", shrink))
        self.results, self.apply = ResultsPart(napari_viewer, self.runner), ApplyPart(napari_viewer, self.runner)
        self.tables = TablesPart(napari_viewer)
        parts: dict[str, ResultsPart | ApplyPart | TablesPart] = {
            "Results": self.results,
            "Apply and save": self.apply,
            "Measures and landmarks": self.tables,
        }
        self.folds = {title: Fold(title, part) for title, part in parts.items()}
        for part in (self.inputs, self.settings, self.checks, self._run_part(), *self.folds.values()):
            self.content.addWidget(part)
        self.content.addStretch(1)
        self._add_shortcut(RUN_KEY, self.run_button.click)
        self._add_shortcut(CANCEL_KEY, self.progress.cancel_button.click)
        self.controller = RegisterController(self, napari_viewer, self.runner)
        for part in parts.values():
            self.outcome_made.connect(part.controller.show)
            self.closed.connect(part.controller.close)
        self.closed.connect(self.controller.close)

    def _run_part(self) -> QWidget:
        part, grid = grid_part()
        self.run_button = QPushButton("&Run")
        self.run_button.setToolTip(f"Bring the moving image onto the fixed one ({RUN_KEY})")
        self.run_button.clicked.connect(lambda: self.run_wanted.emit())
        self.keep_box = QCheckBox("&Keep the last level if stopped")
        self.keep_box.setToolTip("Cancel then makes a result of the last level that was finished")
        self.progress = JobProgressBar(self.runner)
        self.progress.cancel_button.setToolTip(f"Stop the computation ({CANCEL_KEY})")
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setTextFormat(Qt.TextFormat.PlainText)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        for row, widget in enumerate((self.run_button, self.keep_box, self.progress, self.curve, self.status)):
            grid.addWidget(widget, row, 0)
        return part

    def _add_shortcut(self, key: str, action: Any) -> None:
        shortcut = QShortcut(QKeySequence(key), self)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(action)

    # -- what the user says ------------------------------------------------------------------------------------

    @property
    def preset(self) -> str:
        """Name of the chosen preset."""
        return self.settings.preset

    @property
    def changes(self) -> dict[str, Any]:
        """The parameters that the user changed, by key."""
        return dict(self.settings.changes)

    @property
    def keep(self) -> bool:
        """Whether a run that is stopped leaves its last level."""
        return self.keep_box.isChecked()

    # -- what the user sees ------------------------------------------------------------------------------------

    def set_choices(self, part: str, names: Sequence[str], current: str | None) -> None:
        """Offer layers for a part by name, and show which one is chosen."""
        self.inputs.set_choices(part, names, current)

    def set_preflight(self, known: Preflight) -> None:
        """Show what is known before the run."""
        self.checks.set_preflight(known)

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show the values of all parameters."""
        self.settings.set_values(values)

    def set_runnable(self, runnable: bool) -> None:
        """Say whether a run can begin."""
        self.run_button.setEnabled(runnable)

    def set_steps(self, steps: Sequence[Step]) -> None:
        """Draw how the similarity grew; without steps the plot is hidden."""
        self.curve.set_steps(steps)

    def set_status(self, text: str) -> None:
        """Show what came of the run; nothing hides the line."""
        self.status.setText(text)
        self.status.setVisible(bool(text))

    def set_outcome(self, outcome: Outcome) -> None:
        """Hand the outcome of a run to the parts that show it, and open the looks at it."""
        self.folds["Results"].set_opened(True)
        self.outcome_made.emit(outcome)
