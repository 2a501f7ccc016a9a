"""Result part of the dock: the regions of a layer, their volumes and scores, the brush, and what can be saved."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QIcon, QPalette, QPixmap
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHeaderView,
    QLabel,
    QPushButton,
    QSpinBox,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from voxelsmith.core.regions import CONVENTIONS, REGION_COLOURS, REGION_TITLES, REGIONS, Region
from voxelsmith.plugin.docks.prompt.parts import combo_box, grid_part, label_for
from voxelsmith.segment.tumour.report import ReportRow

_COLUMNS = ("Region", "mL", "Dice", "Sens.", "HD95")
_TIPS = (
    "Nested: the whole tumour holds the core, the core what enhances",
    "Volume in millilitres; it follows the brush",
    "Agreement with the reference, 0 to 1",
    "Share of the reference that was found, 0 to 1",
    "95th percentile of the distance between the surfaces, mm",
)
_SWATCH, _NARROW = 12, 44


class ResultPart(QWidget):
    """Which layer holds regions, a table of them, and what to do with them.

    Attributes
    ----------
    layer_chosen, reference_chosen : Signal(str)
        The name of a layer.
    convention_chosen : Signal(str)
        A key of :data:`~voxelsmith.core.regions.CONVENTIONS`.
    brush_chosen : Signal(str)
        A region that the brush is to paint.
    eraser_toggled : Signal(bool)
        Whether the brush is to erase the region.
    probability_toggled : Signal(str, bool)
        A region, and whether its probability is to be shown.
    prompts_wanted : Signal(str)
        A region that is to be corrected with prompts.
    taking_wanted : Signal()
        The corrected region is to be taken over.
    learning_wanted : Signal(int)
        The network is to learn from the layer, for so many minutes.
    labels_saved, report_saved : Signal(str)
        A path to save to.
    case_saved : Signal(str)
        A folder of patients that the sequences and regions are to join.
    """

    layer_chosen = Signal(str)
    reference_chosen = Signal(str)
    convention_chosen = Signal(str)
    brush_chosen = Signal(str)
    eraser_toggled = Signal(bool)
    probability_toggled = Signal(str, bool)
    prompts_wanted = Signal(str)
    taking_wanted = Signal()
    learning_wanted = Signal(int)
    labels_saved = Signal(str)
    report_saved = Signal(str)
    case_saved = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.combos: dict[str, QComboBox] = {}
        self.buttons: dict[str, QPushButton] = {}
        self._possible = self._learning = False
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 4)
        self.table = _table()
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.note.setTextFormat(Qt.TextFormat.RichText)
        self.note.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        for part in (
            self._choices(),
            self.table,
            self.note,
            self._brush(),
            self._probabilities(),
            self._corrections(),
            self._saving(),
        ):
            column.addWidget(part)
        self.set_rows(())
        self.set_note("")
        self.set_taking("")

    # -- parts -------------------------------------------------------------------------------------------------

    def _choices(self) -> QWidget:
        part, grid = grid_part()
        rows = {
            "layer": ("&Labels", "The layer with the regions: the last result, or any labels of a BraTS convention"),
            "convention": ("Con&vention", "Which numbers the regions have in the layer and in the file"),
            "reference": ("Com&pare with", "Labels of an expert, for Dice, sensitivity and HD95"),
        }
        for row, (key, (title, tip)) in enumerate(rows.items()):
            combo = combo_box()
            combo.setToolTip(tip)
            self.combos[key] = combo
            grid.addWidget(label_for(title, combo), row, 0)
            grid.addWidget(combo, row, 1)
        for name, convention in CONVENTIONS.items():
            self.combos["convention"].addItem(convention.title, name)
        self.combos["layer"].activated.connect(lambda _=0: self.layer_chosen.emit(self.combos["layer"].currentText()))
        self.combos["convention"].activated.connect(
            lambda _=0: self.convention_chosen.emit(self.combos["convention"].currentData())
        )
        self.combos["reference"].activated.connect(
            lambda _=0: self.reference_chosen.emit(self.combos["reference"].currentText())
        )
        grid.setColumnStretch(1, 1)
        return part

    def _brush(self) -> QWidget:
        part, grid = grid_part()
        self.brushes = QButtonGroup(self)
        self.brush_buttons: dict[Region, QPushButton] = {}
        grid.addWidget(QLabel("Paint"), 0, 0)
        for column, region in enumerate(REGIONS, start=1):
            button = QPushButton(_icon(region), region)
            button.setCheckable(True)
            button.setToolTip(f"Paint the {REGION_TITLES[region]}; what lies deeper already stays, and undo works")
            button.clicked.connect(lambda _=False, region=region: self.brush_chosen.emit(region))
            self.brushes.addButton(button)
            button.setMinimumWidth(_NARROW)
            self.brush_buttons[region] = button
            grid.addWidget(button, 0, column)
        self.eraser = QPushButton("&Erase")
        self.eraser.setCheckable(True)
        self.eraser.setMinimumWidth(_NARROW)
        self.eraser.setToolTip("Erase the region with what lies in it; what lies around it stays")
        self.eraser.clicked.connect(lambda on: self.eraser_toggled.emit(bool(on)))
        grid.addWidget(self.eraser, 0, len(REGIONS) + 1)
        return part

    def _probabilities(self) -> QWidget:
        part, grid = grid_part()
        grid.addWidget(QLabel("Probability"), 0, 0)
        self.boxes: dict[Region, QCheckBox] = {}
        for column, region in enumerate(REGIONS, start=1):
            box = QCheckBox(region)
            box.setToolTip(f"Show how likely each voxel belongs to the {REGION_TITLES[region]}, as a layer")
            box.toggled.connect(lambda on, region=region: self.probability_toggled.emit(region, bool(on)))
            self.boxes[region] = box
            grid.addWidget(box, 0, column)
        return part

    def _corrections(self) -> QWidget:
        part, grid = grid_part()
        self._button("prompts", "Correct wit&h prompts", "Hand the region of the brush to the Prompt dock")
        self._button("taking", "", "Make the region what was accepted in the Prompt dock; undo works")
        self._button(
            "learning",
            "Learn from m&y corrections",
            "Go on training the chosen network, in the background, with this patient and those learned from before",
        )
        self.minutes = QSpinBox()
        self.minutes.setRange(1, 240)
        self.minutes.setValue(5)
        self.minutes.setSuffix(" min")
        self.minutes.setToolTip("How long to train")
        self._button(
            "case", "Save as training case…", "Write sequences and regions as a patient for voxelsmith train cmf"
        )
        self.buttons["prompts"].clicked.connect(lambda: self.prompts_wanted.emit(self.region))
        self.buttons["taking"].clicked.connect(lambda: self.taking_wanted.emit())
        self.buttons["learning"].clicked.connect(lambda: self.learning_wanted.emit(self.minutes.value()))
        self.buttons["case"].clicked.connect(self._ask_folder)
        for row, name in enumerate(("prompts", "taking", "learning", "case")):
            grid.addWidget(self.buttons[name], row, 0)
        grid.addWidget(self.minutes, 2, 1)
        return part

    def _saving(self) -> QWidget:
        part, grid = grid_part()
        self._button("labels", "Save la&bels…", "Save the regions as NIfTI, NRRD or MetaImage in the chosen convention")
        self._button("report", "Save repor&t…", "Save the table as CSV")
        self.buttons["labels"].clicked.connect(
            lambda: self._ask(
                "Save labels", "tumour.nii.gz", "Volumes (*.nii.gz *.nii *.nrrd *.mha)", self.labels_saved
            )
        )
        self.buttons["report"].clicked.connect(
            lambda: self._ask("Save report", "tumour.csv", "Tables (*.csv)", self.report_saved)
        )
        grid.addWidget(self.buttons["labels"], 0, 0)
        grid.addWidget(self.buttons["report"], 0, 1)
        return part

    def _button(self, name: str, text: str, tip: str) -> None:
        self.buttons[name] = QPushButton(text)
        self.buttons[name].setToolTip(tip)

    def _ask(self, title: str, name: str, kinds: str, signal: Any) -> None:
        path, _ = QFileDialog.getSaveFileName(self, title, name, kinds)
        if path:
            signal.emit(path)

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of patients")
        if path:
            self.case_saved.emit(path)

    # -- what the user says ------------------------------------------------------------------------------------

    @property
    def region(self) -> Region:
        """The region of the brush."""
        return next((region for region, button in self.brush_buttons.items() if button.isChecked()), "WT")

    @property
    def convention(self) -> str:
        """A key of :data:`~voxelsmith.core.regions.CONVENTIONS`."""
        return str(self.combos["convention"].currentData())

    # -- what the user sees ------------------------------------------------------------------------------------

    def set_choices(self, kind: str, names: Sequence[str], current: str) -> None:
        """Offer layers by name, and show which one is chosen."""
        combo = self.combos[kind]
        with QSignalBlocker(combo):
            combo.clear()
            combo.addItems(list(names))
            combo.setCurrentIndex(list(names).index(current))

    def set_convention(self, name: str) -> None:
        """Show in which convention the layer is."""
        combo = self.combos["convention"]
        with QSignalBlocker(combo):
            combo.setCurrentIndex(combo.findData(name))

    def set_rows(self, rows: Sequence[ReportRow], *, scored: bool = False) -> None:
        """Fill the table, with scores if there are or soon will be some; regions that cannot be relied on are grey."""
        self.table.clear()
        faint = self.palette().color(QPalette.ColorRole.WindowText)
        faint.setAlphaF(0.45)
        for row in rows:
            scores = ["…", "…", "…"]
            if row.score is not None:
                scores = [f"{row.score.dice:.3f}", f"{row.score.sensitivity:.3f}", f"{row.score.hd95_mm:.1f}"]
            name = f"{row.region} ⚠" if row.unreliable else row.region
            item = QTreeWidgetItem([name, f"{row.volume_ml:.2f}", *scores])
            item.setIcon(0, _icon(row.region))
            for column in range(item.columnCount()):
                item.setToolTip(column, row.unreliable or REGION_TITLES[row.region].capitalize())
                if row.unreliable:
                    item.setForeground(column, QBrush(faint))
            self.table.addTopLevelItem(item)
        for column in range(2, len(_COLUMNS)):
            self.table.setColumnHidden(column, not scored)
        self.table.setFixedHeight(round(self.table.sizeHintForRow(0) * (len(rows) + 1.6)) + 4)
        self.table.setVisible(bool(rows))

    def set_note(self, *sentences: str) -> None:
        """Tell what the user should know of the regions; nothing hides the lines."""
        told = [escape(sentence) for sentence in sentences if sentence]
        self.note.setText(f"<small>{'<br>'.join(told)}</small>")
        self.note.setVisible(bool(told))

    def set_brush(self, region: Region | None, *, erasing: bool) -> None:
        """Show what the brush paints."""
        self.brushes.setExclusive(False)
        for name, button in self.brush_buttons.items():
            button.setChecked(name == region)
        self.brushes.setExclusive(True)
        self.eraser.setChecked(erasing)

    def set_probabilities(self, possible: Collection[Region], shown: Collection[Region]) -> None:
        """Say which probabilities there are, and which are shown."""
        for region, box in self.boxes.items():
            with QSignalBlocker(box):
                box.setChecked(region in shown)
            box.setEnabled(region in possible)

    def set_possible(self, possible: bool) -> None:
        """Say whether there is a layer to work on."""
        for widget in (*self.brush_buttons.values(), self.eraser, *self.buttons.values(), self.combos["convention"]):
            widget.setEnabled(possible)
        self._possible = possible
        self._enable_learning()

    def set_learning(self, learning: bool) -> None:
        """While it learns, it cannot begin to."""
        self._learning = learning
        self._enable_learning()

    def _enable_learning(self) -> None:
        self.buttons["learning"].setEnabled(self._possible and not self._learning)

    def set_taking(self, region: str) -> None:
        """Offer to take a corrected region over; nothing hides the offer."""
        self.buttons["taking"].setText(f"Take corrected {region}")
        self.buttons["taking"].setVisible(bool(region))


def _icon(region: Region) -> QIcon:
    pixmap = QPixmap(_SWATCH, _SWATCH)
    pixmap.fill(QColor.fromRgbF(*REGION_COLOURS[region]))
    return QIcon(pixmap)


def _table() -> QTreeWidget:
    table = QTreeWidget()
    table.setRootIsDecorated(False)
    table.setUniformRowHeights(True)
    table.setHeaderLabels(list(_COLUMNS))
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setSelectionMode(QTreeWidget.SelectionMode.NoSelection)
    header = QHeaderView(Qt.Orientation.Horizontal)
    table.setHeader(header)
    header.setStretchLastSection(False)
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    for column, tip in enumerate(_TIPS):
        head = table.headerItem()
        assert head is not None
        head.setToolTip(column, tip)
    return table
