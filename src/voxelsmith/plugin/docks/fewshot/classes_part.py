"""Classes part of the dock: names and colours of what is segmented, and which of it the user paints.

Owns widgets and signals. The box before a class says whether it was looked for in what is added next: in a slice that
counts as annotated for a class, a voxel without its label does not belong to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from voxelsmith.core.support import Colour, SupportClass

_NAME, _VALUE = 0, 1
_SWATCH = 14
_FEWEST_ROWS, _MOST_ROWS, _ROW, _HEADER = 1, 5, 16, 30


class ClassesPart(QWidget):
    """List of classes.

    Attributes
    ----------
    new_wanted : Signal()
    paint_wanted : Signal()
    chosen : Signal(int)
        A class, by its label value.
    renamed : Signal(int, str)
    recoloured : Signal(int, tuple)
        Red, green and blue, 0 to 1.
    """

    new_wanted = Signal()
    paint_wanted = Signal()
    chosen = Signal(int)
    renamed = Signal(int, str)
    recoloured = Signal(int, tuple)

    def __init__(self) -> None:
        super().__init__()
        self.tree = QTreeWidget()
        self.tree.setRootIsDecorated(False)
        self.tree.setHeaderLabels(["Class", "Label"])
        self.tree.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.tree.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.tree.setToolTip(
            "Double-click to rename. A ticked class counts as looked for in what you add next: where it is not "
            "painted, it is not there. Untick a class that you have not painted yet."
        )
        header = QHeaderView(Qt.Orientation.Horizontal)
        self.tree.setHeader(header)
        header.setStretchLastSection(False)
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(_VALUE, QHeaderView.ResizeMode.ResizeToContents)
        self.tree.itemChanged.connect(self._on_changed)
        self.tree.currentItemChanged.connect(self._on_chosen)
        self.new_button, self.colour_button = QPushButton("&New class"), QPushButton("Colo&ur…")
        self.paint_button = QPushButton("Pain&t")
        self.new_button.setToolTip("Add a class with a name and a colour of its own")
        self.colour_button.setToolTip("Choose the colour of the chosen class")
        self.paint_button.setToolTip("Take the brush for the chosen class; makes the labels layer if there is none")
        self.new_button.clicked.connect(lambda: self.new_wanted.emit())
        self.colour_button.clicked.connect(lambda: self._ask_colour())
        self.paint_button.clicked.connect(lambda: self.paint_wanted.emit())
        line = QHBoxLayout()
        for button in (self.new_button, self.colour_button, self.paint_button):
            line.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 4)
        column.addWidget(self.tree)
        column.addLayout(line)
        self.set_classes([])

    def set_classes(self, classes: Sequence[SupportClass]) -> None:
        """List these classes; the chosen one stays chosen, and ticks stay as they are."""
        value, unticked = self.value, set(self._values(Qt.CheckState.Unchecked))
        with QSignalBlocker(self.tree):
            self.tree.clear()
            for c in sorted(classes, key=lambda c: c.value):
                item = QTreeWidgetItem([c.name, str(c.value)])
                item.setData(_NAME, Qt.ItemDataRole.UserRole, c.value)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable | Qt.ItemFlag.ItemIsUserCheckable)
                item.setCheckState(_NAME, Qt.CheckState.Unchecked if c.value in unticked else Qt.CheckState.Checked)
                item.setIcon(_NAME, _swatch(c.colour or (0.5, 0.5, 0.5)))
                self.tree.addTopLevelItem(item)
                if c.value == value:
                    self.tree.setCurrentItem(item)
            if self.tree.currentItem() is None and classes:
                self.tree.setCurrentItem(self.tree.topLevelItem(0))
        rows = min(max(len(classes), _FEWEST_ROWS), _MOST_ROWS)
        self.tree.setFixedHeight(rows * max(_ROW, self.tree.sizeHintForRow(0)) + _HEADER)
        self.colour_button.setEnabled(bool(classes))

    @property
    def value(self) -> int | None:
        """Label value of the chosen class."""
        item = self.tree.currentItem()
        return None if item is None else int(item.data(_NAME, Qt.ItemDataRole.UserRole))

    def choose(self, value: int) -> None:
        """Choose a class."""
        for item in self._items():
            if item.data(_NAME, Qt.ItemDataRole.UserRole) == value:
                self.tree.setCurrentItem(item)

    @property
    def looked_for(self) -> frozenset[int]:
        """Label values of the ticked classes."""
        return frozenset(self._values(Qt.CheckState.Checked))

    def _items(self) -> list[Any]:
        return [self.tree.topLevelItem(n) for n in range(self.tree.topLevelItemCount())]

    def _values(self, state: Qt.CheckState) -> list[int]:
        return [int(i.data(_NAME, Qt.ItemDataRole.UserRole)) for i in self._items() if i.checkState(_NAME) == state]

    def _on_changed(self, item: Any, column: int) -> None:
        if column == _NAME:
            self.renamed.emit(int(item.data(_NAME, Qt.ItemDataRole.UserRole)), item.text(_NAME))

    def _on_chosen(self, *_: Any) -> None:
        if (value := self.value) is not None:
            self.chosen.emit(value)

    def _ask_colour(self) -> None:
        value = self.value
        colour = QColorDialog.getColor(parent=self)
        if value is not None and colour.isValid():
            self.recoloured.emit(value, (colour.redF(), colour.greenF(), colour.blueF()))


def _swatch(colour: Colour) -> QIcon:
    pixmap = QPixmap(_SWATCH, _SWATCH)
    pixmap.fill(QColor.fromRgbF(*colour))
    return QIcon(pixmap)
