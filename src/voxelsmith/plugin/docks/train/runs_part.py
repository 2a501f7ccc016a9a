"""Runs part of the dock: the trainings in a folder, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QGridLayout,
    QHeaderView,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)
from superqt import QElidingLabel

from voxelsmith.plugin.docks.train.runs import Run

_COLUMNS = ("Run", "Steps", "Dice", "Loss")
_HEIGHT = 110


class RunsPart(QWidget):
    """A table of runs, and their folder.

    Attributes
    ----------
    chosen : Signal(object)
        The folder of a run, a path.
    home_chosen : Signal(object)
        Another folder for runs, a path.
    """

    chosen = Signal(object)
    home_chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._folders: list[Path] = []
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(_COLUMNS)
        self.table.setToolTip("Trainings, the latest first; the chosen one is resumed, applied and exported")
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setFixedHeight(_HEIGHT)
        rows, columns = self.table.verticalHeader(), self.table.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        columns.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.itemSelectionChanged.connect(self._announce)
        self.place = QElidingLabel()
        self.place.setElideMode(Qt.TextElideMode.ElideLeft)
        self.place.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.folder_button = QPushButton("&Folder…")
        self.folder_button.setToolTip("Choose where runs lie")
        self.folder_button.clicked.connect(self._ask)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        grid.addWidget(self.table, 0, 0, 1, 2)
        grid.addWidget(self.place, 1, 0)
        grid.addWidget(self.folder_button, 1, 1)
        grid.setColumnStretch(0, 1)

    def set_home(self, folder: Path) -> None:
        """Say where runs lie."""
        self.place.setText(str(folder))
        self.place.setToolTip(f"Runs lie in {folder}")

    def set_runs(self, runs: Sequence[Run], chosen: Path | None) -> None:
        """List runs, and show which one is chosen."""
        with QSignalBlocker(self.table):
            self._folders = [run.folder for run in runs]
            self.table.setRowCount(len(runs))
            for row, run in enumerate(runs):
                self._fill(row, run)
            self.table.clearSelection()
            if chosen in self._folders:
                self.table.selectRow(self._folders.index(chosen))

    def set_run(self, run: Run) -> None:
        """Show how far one of the listed runs is."""
        if run.folder in self._folders:
            self._fill(self._folders.index(run.folder), run)

    def _fill(self, row: int, run: Run) -> None:
        planned = "" if run.settings is None else f" / {run.settings.steps}"
        texts = (
            run.name,
            f"{run.step}{planned}",
            "–" if run.best is None else f"{run.best:.3f}",
            "–" if run.loss is None else f"{run.loss:.3g}",
        )
        for column, text in enumerate(texts):
            item = self.table.item(row, column)
            if item is None:
                item = QTableWidgetItem()
                self.table.setItem(row, column, item)
            item.setText(text)
            item.setToolTip(str(run.folder) if column == 0 else "")

    def _announce(self) -> None:
        rows = {index.row() for index in self.table.selectedIndexes()}
        if rows:
            self.chosen.emit(self._folders[rows.pop()])

    def _ask(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder for runs")
        if path:
            self.home_chosen.emit(Path(path))
