"""Support part of the dock: the examples as thumbnails, and how more of them come in.

Owns widgets and signals; it knows no layer and no example, only their hashes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QAction, QIcon, QImage, QKeySequence, QPixmap, QShortcut
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QLabel,
    QListView,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QWidget,
)

from voxelsmith.plugin.docks.fewshot.thumbnails import SIDE

ADD_SLICE_KEY = "Ctrl+E"
_HASH = Qt.ItemDataRole.UserRole
_CELL = QSize(SIDE + 16, SIDE + 22)
# As many as fit into the smallest dock.
_IN_A_ROW, _MOST_ROWS = 4, 2
_EMPTY = (
    "No examples yet. Paint one or more slices of the image and add each of them, or add whole volumes that are "
    "annotated already."
)


@dataclass(frozen=True, eq=False)
class Item:
    """One example, as the dock lists it; ``picture`` is uint8 of shape (SIDE, SIDE, 3)."""

    content_hash: str
    title: str
    tip: str
    enabled: bool
    picture: npt.NDArray[np.uint8]


class SupportPart(QWidget):
    """Thumbnails that are switched on and off, and buttons.

    Attributes
    ----------
    add_wanted : Signal(str)
        "slice" or "layer".
    pair_chosen : Signal(str, str)
        An image file and a label file.
    switched : Signal(str, bool)
        An example by its hash, to be used or not.
    opened : Signal(str)
        An example that the user wants to see.
    removed : Signal(list)
        Hashes of examples to remove.
    save_wanted, load_wanted : Signal(str)
        A folder or a zip file.
    """

    add_wanted = Signal(str)
    pair_chosen = Signal(str, str)
    switched = Signal(str, bool)
    opened = Signal(str)
    removed = Signal(list)
    save_wanted = Signal(str)
    load_wanted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.empty = QLabel(_EMPTY)
        self.empty.setWordWrap(True)
        self.items = QListWidget()
        self.items.setViewMode(QListView.ViewMode.IconMode)
        self.items.setResizeMode(QListView.ResizeMode.Adjust)
        self.items.setMovement(QListView.Movement.Static)
        self.items.setSelectionMode(QListWidget.SelectionMode.ExtendedSelection)
        self.items.setIconSize(QSize(SIDE, SIDE))
        self.items.setGridSize(_CELL)
        self.items.setToolTip("Examples; the box says whether one is used, a double click shows where it is")
        self.items.itemChanged.connect(self._on_changed)
        self.items.itemDoubleClicked.connect(lambda item: self.opened.emit(item.data(_HASH)))
        self.items.itemSelectionChanged.connect(self._show_possible)
        delete = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self.items)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        delete.activated.connect(self._remove)
        column = QGridLayout(self)
        column.setContentsMargins(0, 0, 0, 4)
        column.addWidget(self.empty, 0, 0, 1, 3)
        column.addWidget(self.items, 1, 0, 1, 3)
        self.buttons: dict[str, QPushButton] = {}
        self._button(column, 2, 0, "slice", "&Add slice", lambda: self.add_wanted.emit("slice"))
        self.buttons["slice"].setToolTip(
            f"Use the slice that is shown as an example, with the labels as they are now ({ADD_SLICE_KEY}); "
            "adding it again after a correction replaces it"
        )
        self._button(column, 2, 1, "layer", "Add la&yer", lambda: self.add_wanted.emit("layer"))
        self.buttons["layer"].setToolTip(
            "Use the whole labels layer as an example: every slice counts as annotated, empty ones too"
        )
        self._button(column, 2, 2, "files", "Add fil&es…", self._ask_pair)
        self.buttons["files"].setToolTip("Use an image file and the file with its labels as an example")
        self._button(column, 3, 0, "remove", "Re&move", self._remove)
        self.buttons["remove"].setToolTip("Take the selected examples out of the set (Delete); Undo brings them back")
        for place, (kind, text, tip) in enumerate(
            (("save", "Save", "Save the examples"), ("load", "Load", "Load examples in place of these"))
        ):
            self._button(column, 3, 1 + place, kind, f"{text}…", None)
            self.buttons[kind].setToolTip(f"{tip}, as one zip file or as a folder")
            menu = QMenu(self.buttons[kind])
            for what in ("Zip file", "Folder"):
                action = QAction(f"{what}…", menu)
                action.triggered.connect(lambda _=False, kind=kind, what=what: self._ask_place(kind, what))
                menu.addAction(action)
            self.buttons[kind].setMenu(menu)
        self.set_items([])

    def _button(
        self, grid: QGridLayout, row: int, column: int, name: str, text: str, pressed: Callable[[], None] | None
    ) -> None:
        button = QPushButton(text)
        if pressed is not None:
            button.clicked.connect(lambda _=False: pressed())
        grid.addWidget(button, row, column)
        self.buttons[name] = button

    def set_items(self, items: Sequence[Item]) -> None:
        """List these examples; those that were selected stay selected."""
        selected = set(self.selected)
        with QSignalBlocker(self.items):
            self.items.clear()
            for item in items:
                row = QListWidgetItem(QIcon(_pixmap(item.picture)), item.title)
                row.setToolTip(item.tip)
                row.setData(_HASH, item.content_hash)
                row.setFlags(row.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                row.setCheckState(Qt.CheckState.Checked if item.enabled else Qt.CheckState.Unchecked)
                self.items.addItem(row)
                row.setSelected(item.content_hash in selected)
        rows = min(_MOST_ROWS, -(-len(items) // _IN_A_ROW))
        self.items.setFixedHeight(rows * _CELL.height() + 6)
        self.items.setVisible(bool(items))
        self.empty.setVisible(not items)
        self.buttons["save"].setEnabled(bool(items))
        self._show_possible()

    @property
    def selected(self) -> list[str]:
        """Hashes of the selected examples."""
        return [item.data(_HASH) for item in self.items.selectedItems()]

    def _show_possible(self) -> None:
        self.buttons["remove"].setEnabled(bool(self.selected))

    def _on_changed(self, item: Any) -> None:
        self.switched.emit(item.data(_HASH), item.checkState() == Qt.CheckState.Checked)

    def _remove(self) -> None:
        if self.selected:
            self.removed.emit(self.selected)

    def _ask_pair(self) -> None:
        image, _ = QFileDialog.getOpenFileName(self, "Image of the example")
        labels = QFileDialog.getOpenFileName(self, f"Labels of {image}")[0] if image else ""
        if labels:
            self.pair_chosen.emit(image, labels)

    def _ask_place(self, kind: str, what: str) -> None:
        zips = "Support sets (*.zip)"
        if kind == "save":
            path, _ = QFileDialog.getSaveFileName(self, "Save the examples", filter=zips if what == "Zip file" else "")
            if path and what == "Zip file" and not path.lower().endswith(".zip"):
                path = f"{path}.zip"
        elif what == "Zip file":
            path, _ = QFileDialog.getOpenFileName(self, "Load examples", filter=zips)
        else:
            path = QFileDialog.getExistingDirectory(self, "Load examples")
        if path:
            (self.save_wanted if kind == "save" else self.load_wanted).emit(path)


def _pixmap(picture: npt.NDArray[np.uint8]) -> QPixmap:
    height, width, _ = picture.shape
    image = QImage(np.ascontiguousarray(picture).tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(image)
