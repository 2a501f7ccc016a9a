"""Form: settings that people can change, as a table of fields.

Owns how a field is described and which widget it becomes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QGridLayout, QSpinBox, QWidget

from voxelsmith.plugin.docks.prompt.parts import combo_box, label_for


@dataclass(frozen=True)
class Field:
    """One setting.

    Parameters
    ----------
    key
        Its name.
    title, tip
        What people read; an ampersand in the title makes a key.
    options
        What can be chosen, value to title. Without any it is a number, or a yes or no.
    low, high, step
        Range of a number, and by how much it changes at a click; a whole number if all three are. Without a range it
        is a yes or no.
    decimals
        Of a number that is not whole.
    lowest
        What the lowest number is called, if it stands for something.
    """

    key: str
    title: str
    tip: str
    options: Mapping[Any, str] | None = None
    low: float = 0
    high: float = 0
    step: float = 0
    decimals: int = 2
    lowest: str = ""


class Form(QWidget):
    """Fields one below the other.

    Parameters
    ----------
    fields
        In their order.

    Attributes
    ----------
    changed : Signal(str, object)
        A key and the value that the user gave.
    widgets : dict
        By key.
    """

    changed = Signal(str, object)

    def __init__(self, fields: Sequence[Field]) -> None:
        super().__init__()
        self._fields = {field.key: field for field in fields}
        self.widgets: dict[str, QWidget] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        grid.setColumnStretch(1, 1)
        for row, field in enumerate(fields):
            widget = self._widget(field)
            widget.setToolTip(field.tip)
            self.widgets[field.key] = widget
            if isinstance(widget, QCheckBox):
                grid.addWidget(widget, row, 0, 1, 2)
            else:
                grid.addWidget(label_for(field.title, widget), row, 0)
                grid.addWidget(widget, row, 1)

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show the values of all fields."""
        for key, widget in self.widgets.items():
            options = self._fields[key].options
            with QSignalBlocker(widget):
                if isinstance(widget, QComboBox) and options is not None:
                    widget.setCurrentIndex(list(options).index(values[key]))
                elif isinstance(widget, QCheckBox):
                    widget.setChecked(values[key])
                elif isinstance(widget, QSpinBox | QDoubleSpinBox):
                    widget.setValue(values[key])

    def _widget(self, field: Field) -> QWidget:
        change = partial(self.changed.emit, field.key)
        if field.options is not None:
            values, combo = list(field.options), combo_box()
            combo.addItems(list(field.options.values()))
            combo.activated.connect(lambda index: change(values[index]))
            return combo
        if not field.high:
            box = QCheckBox(field.title)
            box.toggled.connect(lambda on: change(bool(on)))
            return box
        spin: Any = QSpinBox() if isinstance(field.step, int) else QDoubleSpinBox()
        if isinstance(spin, QDoubleSpinBox):
            spin.setDecimals(field.decimals)
        spin.setRange(field.low, field.high)
        spin.setSingleStep(field.step)
        spin.setSpecialValueText(field.lowest)
        spin.setKeyboardTracking(False)
        spin.valueChanged.connect(lambda value: change(round(value, field.decimals)))
        widget: QWidget = spin
        return widget
