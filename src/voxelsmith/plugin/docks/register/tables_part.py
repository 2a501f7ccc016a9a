"""Tables part of the dock: measures and landmarks of the last registration, before and after.

Owns the two tables, copying and saving them, and the way from a landmark in its table to its place in the viewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from voxelsmith.io.atomic import replacing
from voxelsmith.plugin import notify
from voxelsmith.plugin.docks.register.outcome import Outcome
from voxelsmith.plugin.docks.register.place import Place
from voxelsmith.register.tables import LANDMARK_COLUMNS, METRIC_COLUMNS, Row, as_csv, landmark_rows, metric_rows

TABLES = {"measures": METRIC_COLUMNS, "landmarks": LANDMARK_COLUMNS}
_TIPS = {
    "measures": "What the registration achieved; what a line means is in its tooltip",
    "landmarks": "Distance of each landmark to its partner, in the moving world; a click leads to it",
}
_MOST_ROWS = 10


class TablesPart(QWidget):
    """Tables of measures and of landmarks; ``controller.show(outcome)`` fills them.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Where landmarks are shown.

    Attributes
    ----------
    landmark_chosen : Signal(int)
        Position of a landmark in its table.
    copy_wanted : Signal(str)
        "measures" or "landmarks" is to go to the clipboard.
    save_wanted : Signal(str, str)
        The same, and a path to save it to.
    """

    landmark_chosen = Signal(int)
    copy_wanted = Signal(str)
    save_wanted = Signal(str, str)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.trees = {name: _table(columns, _TIPS[name]) for name, columns in TABLES.items()}
        self.trees["landmarks"].itemSelectionChanged.connect(self._announce)
        self.copy_buttons: dict[str, QPushButton] = {}
        self.save_buttons: dict[str, QPushButton] = {}
        self._blocks: dict[str, QWidget] = {}
        self.nothing = QLabel("Numbers appear here after a run.")
        self.nothing.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 4)
        column.addWidget(self.nothing)
        for name in TABLES:
            self._blocks[name] = self._block(name)
            column.addWidget(self._blocks[name])
        self.controller = TablesController(self, viewer)

    def _block(self, name: str) -> QWidget:
        block = QWidget()
        copy, save = QPushButton("Copy"), QPushButton("Save CSV…")
        copy.setToolTip(f"Copy the {name} as comma-separated text")
        save.setToolTip(f"Save the {name} as comma-separated text")
        copy.clicked.connect(lambda: self.copy_wanted.emit(name))
        save.clicked.connect(lambda: self._ask_file(name))
        self.copy_buttons[name], self.save_buttons[name] = copy, save
        line = QHBoxLayout()
        line.addWidget(copy)
        line.addWidget(save)
        column = QVBoxLayout(block)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.trees[name])
        column.addLayout(line)
        return block

    def _announce(self) -> None:
        tree = self.trees["landmarks"]
        for item in tree.selectedItems():
            self.landmark_chosen.emit(tree.indexOfTopLevelItem(item))

    def _ask_file(self, name: str) -> None:
        path, _ = QFileDialog.getSaveFileName(self, f"Save {name}", f"{name}.csv", "*.csv")
        if path:
            self.save_wanted.emit(name, path if path.lower().endswith(".csv") else f"{path}.csv")

    def set_rows(self, name: str, rows: Sequence[Row]) -> None:
        """Fill a table; without rows it is hidden."""
        tree = self.trees[name]
        tree.clear()
        for row in rows:
            item = QTreeWidgetItem([row.name, row.before, row.after])
            for column in range(item.columnCount()):
                item.setToolTip(column, f"{row.name}. {row.meaning}" if row.meaning else row.name)
            tree.addTopLevelItem(item)
        # The header is as high as a row and a half.
        tree.setFixedHeight(round(tree.sizeHintForRow(0) * (min(len(rows), _MOST_ROWS) + 1.5)) + 4)
        self._blocks[name].setVisible(bool(rows))
        self.nothing.setVisible(all(tree.topLevelItemCount() == 0 for tree in self.trees.values()))


class TablesController:
    """Decides for a :class:`TablesPart`.

    Parameters
    ----------
    part
        The widget.
    viewer : napari.components.ViewerModel
        Where landmarks are shown.
    """

    def __init__(self, part: TablesPart, viewer: Any) -> None:
        self._part, self._viewer = part, viewer
        self._outcome: Outcome | None = None
        self._rows: dict[str, list[Row]] = {}
        part.landmark_chosen.connect(self.go_to)
        part.copy_wanted.connect(self.copy)
        part.save_wanted.connect(self.save)
        self.show(None)

    def close(self) -> None:
        """The dock closes: forget the run."""
        self._outcome = None

    def show(self, outcome: Outcome | None) -> None:
        """Show the numbers of a run; None is none."""
        self._outcome = outcome
        self._rows = {name: [] for name in TABLES}
        if outcome is not None:
            self._rows = {"measures": metric_rows(outcome.result), "landmarks": landmark_rows(outcome.result)}
        for name, rows in self._rows.items():
            self._part.set_rows(name, rows)

    def go_to(self, row: int) -> None:
        """Show the slice through a landmark of the fixed image."""
        if self._outcome is None or self._outcome.request.fixed_points is None:
            return
        place = Place.of(self._outcome.request.fixed, self._outcome.fixed_layer)
        index = place.affine.inverse().apply(self._outcome.request.fixed_points[row])
        world = place.frame.data_to_world(place.coordinates(index))
        self._viewer.dims.point = (*self._viewer.dims.point[:-3], *np.asarray(world).tolist())

    def copy(self, name: str) -> None:
        """Put a table on the clipboard, as comma-separated text."""
        with notify.sentences():
            text = as_csv(TABLES[name], self._rows[name])
            if (clipboard := QApplication.clipboard()) is not None:
                clipboard.setText(text)

    def save(self, name: str, path: str) -> None:
        """Write a table as comma-separated text."""
        with notify.sentences():
            text = as_csv(TABLES[name], self._rows[name])
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")


def _table(columns: Sequence[str], tip: str) -> QTreeWidget:
    tree = QTreeWidget()
    tree.setRootIsDecorated(False)
    tree.setUniformRowHeights(True)
    tree.setHeaderLabels(list(columns))
    tree.setToolTip(tip)
    tree.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    header = QHeaderView(Qt.Orientation.Horizontal)
    tree.setHeader(header)
    header.setStretchLastSection(False)
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    return tree
