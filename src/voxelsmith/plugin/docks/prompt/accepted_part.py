"""Accepted part of the dock: the list of what was accepted in the session."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem

from voxelsmith.core.volume import volume_text
from voxelsmith.plugin.docks.prompt.targets import Row


class AcceptedList(QTreeWidget):
    """Number, name and size of each accepted object; who made it is in the tooltip."""

    def __init__(self) -> None:
        super().__init__()
        self.setRootIsDecorated(False)
        self.setHeaderLabels(["Label", "Name", "Voxels", "Volume"])
        self.setToolTip("Objects accepted in this session, the latest last")
        self.setMinimumHeight(110)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = QHeaderView(Qt.Orientation.Horizontal)
        self.setHeader(header)
        header.setStretchLastSection(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)

    def set_rows(self, rows: Sequence[Row]) -> None:
        """List these objects."""
        self.clear()
        for row in rows:
            item = QTreeWidgetItem([str(row.label), row.name, f"{row.voxels:,}", volume_text(row.cubic_mm)])
            item.setData(0, Qt.ItemDataRole.DecorationRole, QColor.fromRgbF(*row.color))
            for column in range(item.columnCount()):
                item.setToolTip(column, row.made_by)
            self.addTopLevelItem(item)
        self.scrollToBottom()
