"""Slots part of the dock: which layer is which sequence, what is known of it, and how the sequences are shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QComboBox, QFileDialog, QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt import QLabeledRangeSlider

from voxelsmith.plugin.docks.prompt.parts import combo_box, grid_part, label_for
from voxelsmith.plugin.docks.tumour.choices import MASK
from voxelsmith.plugin.docks.tumour.findings_text import lines, mark_of
from voxelsmith.plugin.docks.tumour.preflight import Picture, Preflight
from voxelsmith.plugin.docks.tumour.together import KINDS
from voxelsmith.segment.tumour.findings import Finding
from voxelsmith.segment.tumour.names import MODALITIES, MODALITY_TITLES, Modality

_SIDE = 52
_FIRST_WINDOW = (1, 99)
_KEYS = {"t1": "T&1", "t1c": "T1 w&ith contrast", "t2": "T&2", "flair": "&FLAIR"}


class SlotsPart(QWidget):
    """Four slots for sequences, one for the brain mask, and how they are shown.

    Attributes
    ----------
    chosen : Signal(str, str)
        A slot, and the name of the layer.
    folder_chosen : Signal(str)
        A folder with the sequences of a patient.
    together_wanted : Signal(str)
        A key of :data:`~voxelsmith.plugin.docks.tumour.together.KINDS`.
    window_moved : Signal()
        Other percentiles are to be the darkest and the brightest.
    """

    chosen = Signal(str, str)
    folder_chosen = Signal(str)
    together_wanted = Signal(str)
    window_moved = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.combos: dict[str, QComboBox] = {}
        self.pictures: dict[str, QLabel] = {}
        self.marks: dict[str, QLabel] = {}
        self.notes: dict[str, QLabel] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 4)
        self.open_button = QPushButton("Open patie&nt…")
        self.open_button.setToolTip(
            "Open the folder of one patient; its files are sorted into the slots by their names"
        )
        self.open_button.clicked.connect(self._ask_folder)
        column.addWidget(self.open_button)
        for modality in MODALITIES:
            column.addWidget(self._slot(modality))
        column.addWidget(self._mask_slot())
        column.addWidget(self._together_part())
        self.findings = _text()
        column.addWidget(self.findings)
        self.set_preflight(Preflight())

    def _slot(self, modality: Modality) -> QWidget:
        part = QWidget()
        grid = QGridLayout(part)
        grid.setContentsMargins(0, 0, 0, 0)
        picture, note = QLabel(), _text()
        picture.setFixedSize(_SIDE, _SIDE)
        picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.pictures[modality], self.notes[modality] = picture, note
        combo = self._combo(modality, f"The {MODALITY_TITLES[modality]} image; a layer from another slot is exchanged")
        mark = QLabel()
        self.marks[modality] = mark
        grid.addWidget(picture, 0, 0, 2, 1, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(label_for(_KEYS[modality], combo), 0, 1)
        grid.addWidget(mark, 0, 2)
        grid.addWidget(combo, 1, 1, 1, 2)
        grid.addWidget(note, 2, 0, 1, 3)
        grid.setColumnStretch(1, 1)
        return part

    def _mask_slot(self) -> QWidget:
        part, grid = grid_part()
        combo = self._combo(MASK, "Labels that are not 0 in the brain; none takes what is not background")
        grid.addWidget(label_for("Brain &mask", combo), 0, 0)
        grid.addWidget(combo, 0, 1)
        grid.setColumnStretch(1, 1)
        return part

    def _together_part(self) -> QWidget:
        part, grid = grid_part()
        self.together = combo_box()
        for kind, title in KINDS.items():
            self.together.addItem(title, kind)
        self.together.setToolTip(
            "Show the sequences together with the same contrast in the brain; layers go back after"
        )
        self.together.activated.connect(lambda _=0: self.together_wanted.emit(self.together.currentData()))
        self.window_slider = QLabeledRangeSlider(Qt.Orientation.Horizontal)
        self.window_slider.setRange(0, 100)
        self.window_slider.setValue(_FIRST_WINDOW)
        self.window_slider.setEdgeLabelMode(QLabeledRangeSlider.EdgeLabelMode.NoLabel)
        self.window_slider.setToolTip(
            "Contrast of all sequences: the percentiles of the brain that are black and white"
        )
        self.window_slider.valueChanged.connect(lambda _: self.window_moved.emit())
        self.window_label = label_for("Contrast", self.window_slider)
        grid.addWidget(label_for("&Show", self.together), 0, 0)
        grid.addWidget(self.together, 0, 1)
        grid.addWidget(self.window_label, 1, 0)
        grid.addWidget(self.window_slider, 1, 1)
        grid.setColumnStretch(1, 1)
        return part

    def _combo(self, slot: str, tip: str) -> QComboBox:
        combo = combo_box()
        combo.setToolTip(tip)
        combo.activated.connect(lambda _=0: self.chosen.emit(slot, combo.currentText()))
        self.combos[slot] = combo
        return combo

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of one patient")
        if path:
            self.folder_chosen.emit(path)

    @property
    def percentiles(self) -> tuple[float, float]:
        """The percentiles of the brain that are to be black and white."""
        low, high = self.window_slider.value()
        return float(low), float(high)

    def set_choices(self, slot: str, names: Sequence[str], current: str) -> None:
        """Offer layers for a slot by name, and show which one is chosen."""
        combo = self.combos[slot]
        with QSignalBlocker(combo):
            combo.clear()
            combo.addItems(list(names))
            combo.setCurrentIndex(list(names).index(current))

    def set_together(self, kind: str) -> None:
        """Show how the sequences are shown."""
        with QSignalBlocker(self.together):
            self.together.setCurrentIndex(self.together.findData(kind))
        for widget in (self.window_label, self.window_slider):
            widget.setVisible(kind != "apart")

    def set_preflight(self, known: Preflight) -> None:
        """Show what is known of each sequence, and of all of them."""
        for modality in MODALITIES:
            look = known.slots.get(modality)
            _show_picture(self.pictures[modality], None if look is None else look.picture)
            findings = () if look is None else look.findings
            self.marks[modality].setText("" if look is None else mark_of(look.gravest))
            self.notes[modality].setText(f"<small>{lines(findings)}</small>")
            self.notes[modality].setVisible(bool(findings))
        alone = known.obstacle and not known.slots
        told = lines([Finding("error", known.obstacle)] if alone else known.findings)
        self.findings.setText(told)
        self.findings.setVisible(bool(told))


def _text() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def _show_picture(label: QLabel, picture: Picture | None) -> None:
    """Show a grey picture; where it is 0, the theme's background is seen."""
    if picture is None:
        label.clear()
        return
    height, width = picture.shape
    pixels = np.stack([picture, picture, picture, np.where(picture > 0, 255, 0)], axis=-1).astype(np.uint8)
    image = QImage(pixels.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888)
    label.setPixmap(QPixmap.fromImage(image))
