"""Progress bar: what a dock shows of its jobs.

Owns a line of message, bar and Cancel button that is there only while a job of its runner runs.
"""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget
from superqt import QElidingLabel

from voxelsmith.core.progress import Progress
from voxelsmith.plugin.runner import JobRunner, on_bar


class JobProgressBar(QWidget):
    """Message, bar and Cancel button of a runner.

    Parameters
    ----------
    runner
        Whose jobs are shown; Cancel stops all of them.
    """

    def __init__(self, runner: JobRunner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.message = QElidingLabel()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.cancel_button = QPushButton("&Cancel")
        self.cancel_button.setToolTip("Stop the computation; nothing is changed")
        self.cancel_button.clicked.connect(lambda: runner.cancel())
        line = QHBoxLayout()
        line.addWidget(self.bar, 1)
        line.addWidget(self.cancel_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.message)
        column.addLayout(line)
        self.hide()
        runner.started.connect(self._start)
        runner.progressed.connect(self._show)
        runner.finished.connect(self.hide)
        self._title = ""

    def _start(self, title: str) -> None:
        self._title = title
        self.message.setText(title)
        self.bar.setRange(0, 0)
        self.show()

    def _show(self, progress: Progress) -> None:
        self.message.setText(f"{self._title}: {progress.message}" if progress.message else self._title)
        done, total = on_bar(progress)
        self.bar.setRange(0, total)
        self.bar.setValue(done)
