"""Settings part of the dock: a preset, and its parameters behind a fold.

Owns the form. A parameter that the user changed keeps its value whatever the preset is, until it is put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QWidget,
)

from voxelsmith.plugin.docks.fold import Fold
from voxelsmith.plugin.docks.prompt.parts import combo_box, grid_part, label_for
from voxelsmith.plugin.docks.register.file_row import FileRow
from voxelsmith.plugin.docks.register.parameters import PARAMETERS, Parameter
from voxelsmith.register.presets import PRESETS


class SettingsPart(QWidget):
    """A choice of presets, and a form.

    Attributes
    ----------
    changed : Signal()
        Another preset or another value.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.changes: dict[str, Any] = {}
        self.combo = combo_box()
        self.combo.addItems([preset.title for preset in PRESETS.values()])
        self.combo.setToolTip("Settings by what is to be registered")
        self.combo.activated.connect(lambda _=0: self._announce())
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.widgets: dict[str, QWidget] = {p.key: self._widget(p) for p in PARAMETERS}
        self.reset_button = QPushButton("Back to the preset")
        self.reset_button.setToolTip("Forget what was changed")
        self.reset_button.clicked.connect(lambda: self._reset())
        self.fold = Fold("Parameters", self._form())
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        grid.addWidget(label_for("&Preset", self.combo), 0, 0)
        grid.addWidget(self.combo, 0, 1)
        grid.addWidget(self.note, 1, 0, 1, 2)
        grid.addWidget(self.fold, 2, 0, 1, 2)
        grid.setColumnStretch(1, 1)
        self._describe()

    def _form(self) -> QWidget:
        part, grid = grid_part()
        for row, parameter in enumerate(PARAMETERS):
            widget = self.widgets[parameter.key]
            widget.setToolTip(parameter.tip)
            if isinstance(widget, QCheckBox):
                grid.addWidget(widget, row, 0, 1, 2)
            else:
                grid.addWidget(label_for(parameter.title, widget), row, 0)
                grid.addWidget(widget, row, 1)
        grid.addWidget(self.reset_button, len(PARAMETERS), 0, 1, 2)
        grid.setColumnStretch(1, 1)
        return part

    def _widget(self, parameter: Parameter) -> QWidget:
        change = partial(self.change, parameter.key)
        if parameter.options is not None:
            combo = combo_box()
            for value, title in parameter.options.items():
                combo.addItem(title, value)
            combo.activated.connect(lambda _=0: change(combo.currentData()))
            return combo
        if parameter.files:
            row = FileRow(parameter.title, parameter.files)
            row.chosen.connect(change)
            return row
        if not parameter.high:
            box = QCheckBox(parameter.title)
            box.toggled.connect(lambda on: change(bool(on)))
            return box
        spin: Any = QSpinBox() if isinstance(parameter.step, int) else QDoubleSpinBox()
        spin.setRange(parameter.low, parameter.high)
        spin.setSingleStep(parameter.step)
        spin.setKeyboardTracking(False)
        spin.valueChanged.connect(
            lambda value: change(round(value, spin.decimals()) if isinstance(spin, QDoubleSpinBox) else value)
        )
        widget: QWidget = spin
        return widget

    @property
    def preset(self) -> str:
        """Name of the chosen preset."""
        return list(PRESETS)[self.combo.currentIndex()]

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show the values of all parameters, as they are with the preset and the changes."""
        for key, widget in self.widgets.items():
            with QSignalBlocker(widget):
                if isinstance(widget, QComboBox):
                    widget.setCurrentIndex(widget.findData(values[key]))
                elif isinstance(widget, QCheckBox):
                    widget.setChecked(values[key])
                elif isinstance(widget, QSpinBox | QDoubleSpinBox):
                    widget.setValue(values[key])
                elif isinstance(widget, FileRow):
                    widget.set_path(values[key])
        for parameter in PARAMETERS:
            if parameter.deforms:
                self.widgets[parameter.key].setEnabled(values["deform"])

    def change(self, key: str, value: Any) -> None:
        """Give a parameter a value, as if the user had set it; None gives it back to the preset."""
        if value is None:
            self.changes.pop(key, None)
        else:
            self.changes[key] = value
        self._announce()

    def _reset(self) -> None:
        self.changes.clear()
        self._announce()

    def _announce(self) -> None:
        self._describe()
        self.changed.emit()

    def _describe(self) -> None:
        purpose = PRESETS[self.preset].purpose
        count = len(self.changes)
        more = f"; {count} parameter{'s' if count > 1 else ''} changed" if count else ""
        self.note.setText(f"<small>For {purpose}{more}.</small>")
        self.reset_button.setEnabled(bool(self.changes))
