"""Apply part of the dock: bringing layers through a transform, and transforms from and to files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QToolButton,
    QWidget,
)

from voxelsmith.core.pull import Interpolation
from voxelsmith.plugin.docks.prompt.parts import combo_box, label_for
from voxelsmith.plugin.docks.register.apply import ApplyController
from voxelsmith.plugin.docks.register.transform_files import FORMATS, READ_FILTER
from voxelsmith.plugin.runner import JobRunner

FORTH, BACK = "Moving → fixed", "Fixed → moving"
_LIST_HEIGHT = 110


class ApplyPart(QWidget):
    """Choice of a transform, of layers, and what to do; ``controller.show(outcome)`` offers that of a run.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Whose layers are offered.
    runner
        Runs the jobs.

    Attributes
    ----------
    transform_chosen, grid_chosen : Signal(int)
        Position in the list given to :meth:`set_transforms` or :meth:`set_grids`.
    direction_chosen : Signal(bool)
        Whether layers of the fixed image go to the moving one.
    opened : Signal(str)
        A file or folder with a transform.
    apply_wanted, undo_wanted : Signal()
        Apply to the checked layers; take away what was applied last.
    save_wanted : Signal(str, str)
        A key of the formats, and the path.
    """

    transform_chosen = Signal(int)
    grid_chosen = Signal(int)
    direction_chosen = Signal(bool)
    opened = Signal(str)
    apply_wanted = Signal()
    undo_wanted = Signal()
    save_wanted = Signal(str, str)

    def __init__(self, viewer: Any, runner: JobRunner) -> None:
        super().__init__()
        self.transforms, self.direction, self.grids = combo_box(), combo_box(), combo_box()
        self.transforms.setToolTip("The transform to apply or save: that of the last run, or one from a file")
        self.transforms.activated.connect(self.transform_chosen)
        self.direction.addItems([FORTH, BACK])
        self.direction.setToolTip(
            "Which way things go: what belongs to the moving image onto the fixed one, or back by the inverse"
        )
        self.direction.activated.connect(lambda row: self.direction_chosen.emit(row == 1))
        self.grids.setToolTip("On which grid images and labels come out; points and shapes need none")
        self.grids.activated.connect(self.grid_chosen)
        self.interpolation = combo_box()
        self.interpolation.addItems(["Linear, labels whole", "Nearest voxel"])
        self.interpolation.setToolTip("How voxels are read; labels keep their values either way")
        self.layers = QListWidget()
        self.layers.setToolTip("Check the layers to bring along; each gives a new layer")
        self.layers.setMaximumHeight(_LIST_HEIGHT)
        self.layers.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.layers.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.apply_button = QPushButton("&Apply to checked layers")
        self.apply_button.setToolTip("Make a new layer of each checked one; the layers themselves stay as they are")
        self.apply_button.clicked.connect(lambda: self.apply_wanted.emit())
        self.undo_button = QPushButton("&Undo")
        self.undo_button.setToolTip("Take away the layers that the last Apply made")
        self.undo_button.clicked.connect(lambda: self.undo_wanted.emit())
        self.formats = combo_box()
        for key, known in FORMATS.items():
            self.formats.addItem(known.title, key)
        self.formats.setToolTip("The kind of file, and who reads it")
        self.save_button = QPushButton("&Save…")
        self.save_button.setToolTip("Write the transform, in the direction chosen above, into a file")
        self.save_button.clicked.connect(self._ask_target)
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.note.setTextFormat(Qt.TextFormat.PlainText)
        self._lay_out()
        self.set_note("")
        self.controller = ApplyController(self, viewer, runner)

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        for row, (text, widget, beside) in enumerate(
            (
                ("&Transform", self.transforms, self._open_button()),
                ("&Direction", self.direction, None),
                ("&Layers", self.layers, None),
                ("&Grid", self.grids, None),
                ("&Voxels", self.interpolation, None),
            )
        ):
            grid.addWidget(label_for(text, widget), row, 0)
            grid.addWidget(widget, row, 1, 1, 1 if beside is not None else 2)
            if beside is not None:
                grid.addWidget(beside, row, 2)
        grid.addWidget(self.apply_button, 5, 0, 1, 2)
        grid.addWidget(self.undo_button, 5, 2)
        grid.addWidget(label_for("F&ile", self.formats), 6, 0)
        grid.addWidget(self.formats, 6, 1)
        grid.addWidget(self.save_button, 6, 2)
        grid.addWidget(self.note, 7, 0, 1, 3)
        grid.setColumnStretch(1, 1)

    def _open_button(self) -> QToolButton:
        self.open_button = QToolButton()
        self.open_button.setText("Open…")
        self.open_button.setToolTip("Read a transform from a file, or from a folder that a registration was saved in")
        self.open_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.open_button)
        for text, ask in (("File…", self._ask_file), ("Folder…", self._ask_folder)):
            action = QAction(text, menu)
            action.triggered.connect(ask)
            menu.addAction(action)
        self.open_button.setMenu(menu)
        return self.open_button

    # -- what the user says ------------------------------------------------------------------------------------

    @property
    def checked(self) -> list[int]:
        """Positions of the checked layers in the list given to :meth:`set_layers`."""
        items = [self.layers.item(row) for row in range(self.layers.count())]
        return [n for n, item in enumerate(items) if item is not None and item.checkState() == Qt.CheckState.Checked]

    @property
    def interpolation_wanted(self) -> Interpolation:
        """How voxels are to be read."""
        return "nearest" if self.interpolation.currentIndex() == 1 else "linear"

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a transform", filter=READ_FILTER)
        if path:
            self.opened.emit(path)

    def _ask_folder(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "Open a saved registration"):
            self.opened.emit(path)

    def _ask_target(self) -> None:
        key = str(self.formats.currentData())
        known = FORMATS[key]
        if known.is_folder:
            path = QFileDialog.getExistingDirectory(self, "Save the registration into a folder")
        else:
            path, _ = QFileDialog.getSaveFileName(self, "Save the transform", f"transform{known.ending}", known.filter)
        if path:
            self.save_wanted.emit(key, path)

    # -- what the user sees ------------------------------------------------------------------------------------

    def set_transforms(self, names: Sequence[str], row: int) -> None:
        """Offer transforms, and show which one is chosen; none disables what needs one."""
        with QSignalBlocker(self.transforms):
            self.transforms.clear()
            self.transforms.addItems(list(names) or ["none yet: run, or open one"])
            self.transforms.setCurrentIndex(max(row, 0))
        for widget in (self.transforms, self.direction, self.apply_button, self.save_button):
            widget.setEnabled(bool(names))

    def set_grids(self, names: Sequence[str], row: int) -> None:
        """Offer grids for what comes out, and show which one is chosen."""
        with QSignalBlocker(self.grids):
            self.grids.clear()
            self.grids.addItems(list(names))
            self.grids.setCurrentIndex(row)
        self.grids.setEnabled(bool(names))

    def set_layers(self, names: Sequence[str], checked: Sequence[bool]) -> None:
        """Offer layers to bring along."""
        self.layers.clear()
        for name, on in zip(names, checked, strict=True):
            item = QListWidgetItem(name)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
            item.setToolTip(name)
            self.layers.addItem(item)

    def set_undoable(self, undoable: bool) -> None:
        """Say whether something was applied that is still there."""
        self.undo_button.setEnabled(undoable)

    def set_note(self, text: str) -> None:
        """Show what came of the last step; nothing hides the line."""
        self.note.setText(text)
        self.note.setVisible(bool(text))
