"""Settings part of the dock: a preset, the few settings that matter most, and the others behind a fold.

Owns the changes. A field that the user changed keeps its value whatever the preset is, until it is put back.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QGridLayout, QPushButton, QVBoxLayout, QWidget

from voxelsmith.plugin.docks.fold import Fold
from voxelsmith.plugin.docks.prompt.parts import combo_box, label_for
from voxelsmith.plugin.docks.train.fields import MAIN, MORE, PRESETS, settings_for, values
from voxelsmith.plugin.docks.train.form import Form
from voxelsmith.train.tvunet_settings import TVUnetSettings


class SettingsPart(QWidget):
    """A choice of presets and two forms."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: dict[str, Any] = {}
        self.preset = combo_box()
        self.preset.addItems([preset.title for preset in PRESETS])
        self.preset.setToolTip("Where the settings begin; as published needs a GPU, diffusion takes long to apply")
        self.preset.activated.connect(lambda _=0: self._show())
        self.main, self.more = Form(MAIN), Form(MORE)
        for form in (self.main, self.more):
            form.changed.connect(self._change)
        self.reset_button = QPushButton("Back to the preset")
        self.reset_button.setToolTip("Forget what was changed")
        self.reset_button.clicked.connect(self._reset)
        behind = QWidget()
        column = QVBoxLayout(behind)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.more)
        column.addWidget(self.reset_button)
        self.fold = Fold("More settings", behind)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 4)
        grid.setColumnStretch(1, 1)
        grid.addWidget(label_for("Preset", self.preset), 0, 0)
        grid.addWidget(self.preset, 0, 1)
        grid.addWidget(self.main, 1, 0, 1, 2)
        grid.addWidget(self.fold, 2, 0, 1, 2)
        self._show()

    @property
    def settings(self) -> TVUnetSettings:
        """What the user chose; InputError if a value cannot be."""
        return settings_for(PRESETS[self.preset.currentIndex()], self.changes)

    def _change(self, key: str, value: Any) -> None:
        self.changes[key] = value
        self._show()

    def _reset(self) -> None:
        self.changes.clear()
        self._show()

    def _show(self) -> None:
        shown = values(PRESETS[self.preset.currentIndex()], self.changes)
        for form in (self.main, self.more):
            form.set_values(shown)
        self.reset_button.setEnabled(bool(self.changes))
