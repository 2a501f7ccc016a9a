"""Data part of the dock: which layers, which of their slices, which folder of pairs, and which classes.

Owns widgets and signals; it knows no layer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QGridLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from voxelsmith.plugin.docks.fewshot.strip import ConfidenceStrip
from voxelsmith.plugin.docks.prompt.parts import combo_box, label_for
from voxelsmith.plugin.docks.train.material import ClassChoice
from voxelsmith.segment.zoom import FloatArray

ADD_KEY = "Ctrl+E"
_COMBOS = {
    "image": ("&Image", "The image that is learned from, and to which a model is applied"),
    "labels": ("La&bels", "The labels layer that you paint in, and that you accept into"),
}
_ACTIONS = {
    "slice": (
        "&Add slice",
        f"The slice that is shown is annotated, empty or not ({ADD_KEY}); its labels are read when a training begins",
    ),
    "painted": ("Add pai&nted", "Every slice along the axis that is shown with something painted is annotated"),
    "remove": ("Re&move slice", "The slice that is shown was not looked at"),
}
_CLASS_ROWS = 4
# A label cannot be narrower than its longest word.
_LONGEST_NAME = 24


class DataPart(QWidget):
    """Layers, annotated slices and classes.

    Attributes
    ----------
    chosen : Signal(str, str)
        "image" or "labels", and the name of the layer.
    asked : Signal(str)
        "slice", "painted" or "remove".
    slice_chosen : Signal(int)
        A slice to show.
    pairs_chosen : Signal(object)
        A folder of pairs to learn from, a path.
    pairs_dropped : Signal()
        No folder is to be learned from.
    """

    chosen = Signal(str, str)
    asked = Signal(str)
    slice_chosen = Signal(int)
    pairs_chosen = Signal(object)
    pairs_dropped = Signal()

    def __init__(self) -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        grid.setColumnStretch(1, 1)
        self.combos = {kind: combo_box() for kind in _COMBOS}
        for row, (kind, (title, tip)) in enumerate(_COMBOS.items()):
            combo = self.combos[kind]
            combo.setToolTip(tip)
            combo.activated.connect(lambda _=0, k=kind: self.chosen.emit(k, self.combos[k].currentText()))
            grid.addWidget(label_for(title, combo), row, 0)
            grid.addWidget(combo, row, 1)
        self.buttons: dict[str, QPushButton] = {}
        line = QGridLayout()
        for column, (action, (title, tip)) in enumerate(_ACTIONS.items()):
            button = QPushButton(title)
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, a=action: self.asked.emit(a))
            line.addWidget(button, 0, column)
            self.buttons[action] = button
        grid.addLayout(line, 2, 0, 1, 2)
        self.strip = ConfidenceStrip()
        self.strip.chosen.connect(self.slice_chosen)
        grid.addWidget(self.strip, 3, 0, 1, 2)
        self.annotated = QLabel()
        self.annotated.setWordWrap(True)
        self.annotated.setTextFormat(Qt.TextFormat.PlainText)
        grid.addWidget(self.annotated, 4, 0, 1, 2)
        self.pairs_button = QPushButton("Folder of pairs…")
        self.pairs_button.setToolTip(
            "Learn from a folder with images and labels of the same names, or NAME_image and NAME_label files; every "
            "slice of them counts as annotated"
        )
        self.pairs_button.clicked.connect(self._ask_for_pairs)
        self.drop_button = QPushButton("Leave out")
        self.drop_button.setToolTip("Do not learn from the folder")
        self.drop_button.clicked.connect(lambda: self.pairs_dropped.emit())
        self.pairs_note = QLabel()
        self.pairs_note.setWordWrap(True)
        self.pairs_note.setTextFormat(Qt.TextFormat.PlainText)
        line = QGridLayout()
        line.addWidget(self.pairs_button, 0, 0)
        line.addWidget(self.drop_button, 0, 1)
        line.setColumnStretch(0, 1)
        grid.addLayout(line, 5, 0, 1, 2)
        grid.addWidget(self.pairs_note, 6, 0, 1, 2)
        self.classes = self._table()
        grid.addWidget(self.classes, 7, 0, 1, 2)

    def _table(self) -> QTableWidget:
        table = QTableWidget(0, 2)
        table.setHorizontalHeaderLabels(["Learn", "Class"])
        table.setToolTip("Labels that are learned; others count as background. A double click renames a class")
        table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        for header in (table.verticalHeader(), table.horizontalHeader()):
            assert header is not None
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        rows, columns = table.verticalHeader(), table.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        columns.setStretchLastSection(True)
        table.hide()
        return table

    def _ask_for_pairs(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of images with labels")
        if path:
            self.pairs_chosen.emit(Path(path))

    # -- what the user says ------------------------------------------------------------------------------------

    @property
    def choice(self) -> ClassChoice:
        """Which classes are to be learned, and what they are called."""
        names, left_out = {}, set()
        for row in range(self.classes.rowCount()):
            value, name = self.classes.item(row, 0), self.classes.item(row, 1)
            assert value is not None
            assert name is not None
            names[int(value.text())] = name.text().strip()
            if value.checkState() != Qt.CheckState.Checked:
                left_out.add(int(value.text()))
        return ClassChoice(names, frozenset(left_out))

    # -- what the user sees ------------------------------------------------------------------------------------

    def set_choices(self, kind: str, names: Sequence[str], current: str | None) -> None:
        """Offer layers by name, and show which one is chosen."""
        combo = self.combos[kind]
        with QSignalBlocker(combo):
            combo.clear()
            combo.addItems(names)
            combo.setCurrentIndex(-1 if current is None else list(names).index(current))

    def set_confidence(self, confidence: FloatArray | None, annotated: Collection[int]) -> None:
        """Show which slices are annotated, and how sure the answer is of each; None hides the strip."""
        self.strip.set_confidence(confidence, annotated)

    def set_current(self, index: int) -> None:
        """Mark the slice that is shown."""
        self.strip.set_current(index)

    def set_annotated(self, text: str) -> None:
        """Say what is annotated."""
        self.annotated.setText(text)

    def set_pairs(self, folder: Path | None, text: str = "") -> None:
        """Show which folder is learned from, and say something about it or about one that cannot be."""
        name = "" if folder is None else folder.name
        short = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
        self.pairs_note.setText(text if folder is None else f"{short}: {text}")
        self.pairs_note.setToolTip("" if folder is None else str(folder))
        self.pairs_note.setVisible(bool(self.pairs_note.text()))
        self.drop_button.setVisible(folder is not None)

    def set_classes(self, classes: Mapping[int, str]) -> None:
        """List classes; those that were listed before keep their name and their choice."""
        before = {}
        for row in range(self.classes.rowCount()):
            value, name = self.classes.item(row, 0), self.classes.item(row, 1)
            assert value is not None
            assert name is not None
            before[int(value.text())] = (name.text(), value.checkState())
        if list(classes) == list(before):
            return
        with QSignalBlocker(self.classes):
            self.classes.setRowCount(len(classes))
            for row, (label, known) in enumerate(classes.items()):
                title, state = before.get(label, (known, Qt.CheckState.Checked))
                value = QTableWidgetItem(str(label))
                value.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
                value.setCheckState(state)
                self.classes.setItem(row, 0, value)
                self.classes.setItem(row, 1, QTableWidgetItem(title))
        self.classes.setVisible(bool(classes))
        rows, columns = self.classes.verticalHeader(), self.classes.horizontalHeader()
        assert rows is not None
        assert columns is not None
        height = rows.defaultSectionSize() * min(len(classes), _CLASS_ROWS) + columns.sizeHint().height()
        self.classes.setFixedHeight(height + 2 * self.classes.frameWidth())

    def set_possible(self, actions: Collection[str]) -> None:
        """Enable what can be done now."""
        for action, button in self.buttons.items():
            button.setEnabled(action in actions)
