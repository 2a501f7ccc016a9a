"""View of the Volumes dock.

Owns widgets, signals and setters; it decides nothing. The controller fills it.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
)
from superqt import QElidingLabel

from voxelsmith.plugin.docks.dock import Dock
from voxelsmith.plugin.docks.volumes.controller import VolumesController
from voxelsmith.plugin.progress_bar import JobProgressBar
from voxelsmith.plugin.runner import JobRunner

PLANES = {"axial": "&Axial", "sagittal": "Sa&gittal", "coronal": "&Coronal"}
_TEXT_MARGIN = 10


class VolumesDock(Dock):
    """Open, inspect, window, orient and export volumes.

    Parameters
    ----------
    napari_viewer : napari.Viewer or napari.components.ViewerModel

    Attributes
    ----------
    files_chosen : Signal(list)
        Paths to open.
    folder_chosen : Signal(str)
        A DICOM or OME-Zarr folder to open.
    window_chosen : Signal(int)
        Position in the list given to :meth:`set_windows`.
    plane_chosen : Signal(str)
        "axial", "sagittal" or "coronal".
    rendering_chosen : Signal(bool)
        3-D on or off.
    export_requested : Signal(int)
        Position in the list given to :meth:`set_references`, -1 for the layer's own grid.
    """

    files_chosen = Signal(list)
    folder_chosen = Signal(str)
    window_chosen = Signal(int)
    plane_chosen = Signal(str)
    rendering_chosen = Signal(bool)
    export_requested = Signal(int)

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        runner = JobRunner(napari_viewer, self)
        self.content.addLayout(self._open_row())
        self.progress = JobProgressBar(runner)
        self.content.addWidget(self.progress)
        self.content.addWidget(self._details_group())
        self.content.addWidget(self._look_group())
        self.content.addWidget(self._export_group())
        self.content.addStretch(1)
        self.controller = VolumesController(napari_viewer, self, runner)
        self.closed.connect(self.controller.close)

    def _open_row(self) -> QHBoxLayout:
        self.open_files = QPushButton("&Open files…")
        self.open_files.setToolTip("Open NIfTI, NRRD, MetaImage, DICOM or TIFF files, each as a layer of its own")
        self.open_files.clicked.connect(self._ask_files)
        self.open_folder = QPushButton("Open fol&der…")
        self.open_folder.setToolTip("Open a DICOM series or an OME-Zarr image; of several series you pick")
        self.open_folder.clicked.connect(self._ask_folder)
        row = QHBoxLayout()
        row.addWidget(self.open_files)
        row.addWidget(self.open_folder)
        return row

    def _details_group(self) -> QGroupBox:
        self.details = QGroupBox("Selected layer")
        self.title = QElidingLabel()
        self._rows = QFormLayout()
        self._rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
        column = QVBoxLayout(self.details)
        column.addWidget(self.title)
        column.addLayout(self._rows)
        return self.details

    def _look_group(self) -> QGroupBox:
        self.look = QGroupBox("Look")
        self.windows = QComboBox()
        self.windows.setToolTip("Range of grey values to show; CT windows appear when the values are Hounsfield units")
        self.windows.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.windows.activated.connect(lambda index: self.window_chosen.emit(index - 1))
        label = QLabel("&Window")
        label.setBuddy(self.windows)
        self.planes: dict[str, QPushButton] = {}
        grid = QGridLayout(self.look)
        grid.addWidget(label, 0, 0)
        grid.addWidget(self.windows, 0, 1, 1, 2)
        for column, (plane, text) in enumerate(PLANES.items()):
            button = QPushButton(text)
            button.setToolTip(f"Show {plane} slices of the selected layer")
            button.clicked.connect(lambda _=False, p=plane: self.plane_chosen.emit(p))
            grid.addWidget(button, 1, column)
            self.planes[plane] = button
        self.rendering = QPushButton("&3-D")
        self.rendering.setCheckable(True)
        self.rendering.setToolTip("Switch between slices and volume rendering, seen from the front")
        self.rendering.clicked.connect(self.rendering_chosen)
        grid.addWidget(self.rendering, 2, 0, 1, 3)
        return self.look

    def _export_group(self) -> QGroupBox:
        self.export = QGroupBox("Export")
        self.formats = QComboBox()
        self.formats.setToolTip("File format; NIfTI keeps the header of the source")
        self.references = QComboBox()
        self.references.setToolTip("Grid of the saved file; on another grid labels take the nearest voxel")
        for box in (self.formats, self.references):
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.export_button = QPushButton("&Export selected layer…")
        self.export_button.setToolTip("Save the selected layer with its geometry")
        self.export_button.clicked.connect(lambda: self.export_requested.emit(self.references.currentIndex() - 1))
        form = QFormLayout(self.export)
        form.addRow("&Format", self.formats)
        form.addRow("&Grid", self.references)
        form.addRow(self.export_button)
        return self.export

    def set_details(self, title: str, rows: list[tuple[str, str]]) -> None:
        """Show facts about the selected layer."""
        self.title.setText(title)
        self.title.setToolTip(title)
        while self._rows.rowCount():
            self._rows.removeRow(0)
        for name, value in rows:
            label = QElidingLabel(value)
            label.setToolTip(value)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            # Text that can be selected has a margin that eliding does not know.
            label.setEllipsesWidth(_TEXT_MARGIN)
            label.setElideMode(Qt.TextElideMode.ElideLeft if name == "File" else Qt.TextElideMode.ElideRight)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
            self._rows.addRow(name, label)

    def set_windows(self, names: list[str]) -> None:
        """Offer intensity windows; none disables the list."""
        self.windows.clear()
        self.windows.addItem("as it is" if names else "none")
        self.windows.addItems(names)
        self.windows.setEnabled(bool(names))

    def set_references(self, names: list[str]) -> None:
        """Offer images whose grid an export can take; the choice is kept if it is still there."""
        chosen = self.references.currentText()
        self.references.clear()
        self.references.addItems(["its own", *(f"of {name}" for name in names)])
        self.references.setCurrentIndex(max(0, self.references.findText(chosen)))
        self.references.setEnabled(bool(names))

    def set_formats(self, suffixes: list[str]) -> None:
        """Offer file formats by their endings."""
        self.formats.addItems(suffixes)

    def set_usable(self, usable: bool) -> None:
        """Enable what needs a selected volume."""
        self.look.setEnabled(usable)
        self.export.setEnabled(usable)

    def set_rendering(self, on: bool) -> None:
        """Show whether the viewer draws in 3-D."""
        self.rendering.setChecked(on)

    def choose_series(self, descriptions: list[str]) -> list[int]:
        """Let the user pick DICOM series; the positions picked, none if the dialog was cancelled."""
        dialog = QDialog(self)
        dialog.setWindowTitle("Several series in this folder")
        items = QListWidget()
        items.addItems(descriptions)
        items.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        items.setCurrentRow(0)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(dialog.accept)
        buttons.rejected.connect(dialog.reject)
        items.itemDoubleClicked.connect(lambda _: dialog.accept())
        column = QVBoxLayout(dialog)
        column.addWidget(QLabel("Pick the series to open; hold Ctrl for several."))
        column.addWidget(items)
        column.addWidget(buttons)
        dialog.resize(520, 300)
        if dialog.exec() != QDialog.DialogCode.Accepted:
            return []
        return sorted(index.row() for index in items.selectedIndexes())

    def choose_target(self, suggestion: str) -> str:
        """Ask where to save; empty if the dialog was cancelled."""
        suffix = self.formats.currentText()
        path, _ = QFileDialog.getSaveFileName(self, "Export layer", suggestion + suffix, f"*{suffix}")
        if path and not path.lower().endswith(suffix):
            path += suffix
        return str(path)

    def _ask_files(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Open volumes")
        if paths:
            self.files_chosen.emit(paths)

    def _ask_folder(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "Open a DICOM or OME-Zarr folder"):
            self.folder_chosen.emit(folder)
