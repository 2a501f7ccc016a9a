"""Parts: the small pieces that the parts of the dock are put together from."""

from __future__ import annotations

from qtpy.QtCore import QEvent, Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QSizePolicy, QWidget

_TURNING = {QEvent.Type.FocusIn, QEvent.Type.MouseButtonPress}


class PickerBox(QComboBox):
    """A choice among things that may have come or gone since it was filled.

    Attributes
    ----------
    opening : Signal()
        The user turns to it, with the mouse or the keyboard; whoever fills it may do so now.
    """

    opening = Signal()

    def event(self, event: QEvent | None) -> bool:
        """Take in an event."""
        if event is not None and event.type() in _TURNING:
            self.opening.emit()
        return bool(super().event(event))


def combo_box() -> QComboBox:
    """A choice that elides long names instead of becoming wide."""
    return _eliding(QComboBox())


def picker_box() -> PickerBox:
    """The same, which asks to be filled when the user turns to it."""
    picker = PickerBox()
    _eliding(picker)
    return picker


def _eliding(combo: QComboBox) -> QComboBox:
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(8)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return combo


def grid_part() -> tuple[QWidget, QGridLayout]:
    """A part of the dock, and where its widgets go."""
    part = QWidget()
    grid = QGridLayout(part)
    grid.setContentsMargins(0, 0, 0, 4)
    return part, grid


def label_for(text: str, buddy: QWidget) -> QLabel:
    """A label whose mnemonic leads to another widget."""
    label = QLabel(text)
    label.setBuddy(buddy)
    return label
