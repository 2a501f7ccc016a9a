"""Parts: the small pieces that the parts of the dock are put together from."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QSizePolicy, QWidget


def combo_box() -> QComboBox:
    """A choice that elides long names instead of becoming wide."""
    combo = QComboBox()
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
