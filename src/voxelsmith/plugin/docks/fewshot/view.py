"""View of the Few-shot dock: widgets, signals and setters.

Owns the order of the parts, at any width from 320 pixels up, and the part with the Propose button. It computes nothing
and knows no layer: it says what the user asked for, and shows what :mod:`controller` tells it to.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QLabel, QPushButton, QWidget

from voxelsmith.core.support import SupportClass
from voxelsmith.plugin.docks.dock import Dock
from voxelsmith.plugin.docks.fewshot.adapt_part import AdaptPart
from voxelsmith.plugin.docks.fewshot.classes_part import ClassesPart
from voxelsmith.plugin.docks.fewshot.controller import FewShotController
from voxelsmith.plugin.docks.fewshot.engine_part import EnginePart
from voxelsmith.plugin.docks.fewshot.networks import Offer
from voxelsmith.plugin.docks.fewshot.proposal_part import ACTIONS, ProposalPart
from voxelsmith.plugin.docks.fewshot.support_part import ADD_SLICE_KEY, Item, SupportPart
from voxelsmith.plugin.docks.fold import Fold
from voxelsmith.plugin.docks.prompt.parts import combo_box, grid_part, label_for
from voxelsmith.plugin.progress_bar import JobProgressBar
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.zoom import FloatArray

PROPOSE_KEY, CANCEL_KEY = "Ctrl+Return", "Escape"


class FewShotDock(Dock):
    """From a few annotated examples to the rest of a volume.

    Parameters
    ----------
    napari_viewer : napari.Viewer or napari.components.ViewerModel

    Attributes
    ----------
    layer_chosen : Signal(str, str)
        "image" or "target", and the name of the layer.
    propose_wanted : Signal()
    engines_opening : Signal()
        The user turns to the list of engines.
    run_chosen : Signal(object)
        The folder of a trained run that is wanted as an engine.
    """

    layer_chosen = Signal(str, str)
    propose_wanted = Signal()
    engines_opening = Signal()
    run_chosen = Signal(object)

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.runner = JobRunner(napari_viewer, self)
        self.content.setContentsMargins(6, 6, 6, 6)
        self.choices = {kind: combo_box() for kind in ("image", "target")}
        self.support, self.classes = SupportPart(), ClassesPart()
        self.engine_part, self.proposal, self.adapt_part = EnginePart(), ProposalPart(), AdaptPart()
        self.engine_part.opening.connect(self.engines_opening)
        self.engine_part.run_chosen.connect(self.run_chosen)
        for part in (
            Fold("Examples", self.support, opened=True),
            Fold("Classes", self.classes, opened=True),
            self._layers_part(),
            self.engine_part,
            self._run_part(),
            self.proposal,
            self.status,
            Fold("Adapt to my images", self.adapt_part),
        ):
            self.content.addWidget(part)
        self.content.addStretch(1)
        self._add_shortcut(PROPOSE_KEY, self.propose_button)
        self._add_shortcut(CANCEL_KEY, self.progress.cancel_button)
        self._add_shortcut(ADD_SLICE_KEY, self.support.buttons["slice"])
        for action, (_, key, _) in ACTIONS.items():
            self._add_shortcut(key, self.proposal.buttons[action])
        self.controller = FewShotController(self, napari_viewer, self.runner)
        self.closed.connect(self.controller.close)

    def _layers_part(self) -> QWidget:
        part, grid = grid_part()
        titles = {"image": "&Image", "target": "La&bels"}
        tips = {
            "image": "The image that is annotated or proposed; of a time series, the frame that is shown",
            "target": "The labels layer that you paint in, that examples are taken from, and that you accept into",
        }
        for row, (kind, combo) in enumerate(self.choices.items()):
            grid.addWidget(label_for(titles[kind], combo), row, 0)
            grid.addWidget(combo, row, 1)
            combo.setToolTip(tips[kind])
            combo.activated.connect(lambda _=0, k=kind: self.layer_chosen.emit(k, self.choices[k].currentText()))
        grid.setColumnStretch(1, 1)
        return part

    def _run_part(self) -> QWidget:
        part, grid = grid_part()
        self.propose_button = QPushButton("Pr&opose")
        self.propose_button.setToolTip(
            f"Propose labels from the examples: the slice that is shown at once, then the volume ({PROPOSE_KEY}, Alt+O)"
        )
        self.propose_button.clicked.connect(lambda: self.propose_wanted.emit())
        self.progress = JobProgressBar(self.runner)
        self.progress.cancel_button.setToolTip(f"Stop the computation; nothing is changed ({CANCEL_KEY})")
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setTextFormat(Qt.TextFormat.PlainText)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        grid.addWidget(self.propose_button, 0, 0)
        grid.addWidget(self.progress, 1, 0)
        return part

    def _add_shortcut(self, key: str, button: QPushButton) -> None:
        shortcut = QShortcut(QKeySequence(key), self)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(button.click)

    # -- what the user says ------------------------------------------------------------------------------------

    @property
    def engine(self) -> str:
        """Name of the chosen engine, or "automatic"."""
        return self.engine_part.engine

    @property
    def known_range(self) -> tuple[int, int] | None:
        """First and last slice with something to find, if the user gave them."""
        return self.engine_part.known_range

    @property
    def looked_for(self) -> frozenset[int]:
        """Classes that count as looked for in what is added next."""
        return self.classes.looked_for

    @property
    def value(self) -> int | None:
        """Label value of the chosen class."""
        return self.classes.value

    @property
    def overwrite(self) -> bool:
        """Whether accepted labels may replace others."""
        return self.proposal.overwrite

    # -- what the user sees ------------------------------------------------------------------------------------

    def set_choices(self, kind: str, names: Sequence[str], current: str | None) -> None:
        """Offer layers by name, and show which one is chosen."""
        combo = self.choices[kind]
        with QSignalBlocker(combo):
            combo.clear()
            combo.addItems(names)
            combo.setCurrentIndex(-1 if current is None else list(names).index(current))

    def set_items(self, items: Sequence[Item]) -> None:
        """List the examples."""
        self.support.set_items(items)

    def set_classes(self, classes: Sequence[SupportClass]) -> None:
        """List the classes."""
        self.classes.set_classes(classes)

    def choose_class(self, value: int) -> None:
        """Choose a class."""
        self.classes.choose(value)

    def set_reason(self, text: str) -> None:
        """Say which engine suits, and why."""
        self.engine_part.set_reason(text)

    def set_networks(self, offers: Sequence[Offer]) -> None:
        """Offer trained networks as engines."""
        self.engine_part.set_networks(offers)

    def choose_engine(self, name: str) -> None:
        """Show an engine as the chosen one."""
        self.engine_part.choose(name)

    def set_range(self, count: int | None) -> None:
        """Offer a range of so many slices; None offers none."""
        self.engine_part.set_range(count)

    def set_slices(self, count: int, current: int) -> None:
        """Show which of so many slices is shown."""
        self.proposal.set_slices(count, current)

    def set_confidence(self, confidence: FloatArray | None, annotated: Collection[int] = ()) -> None:
        """Show how sure the proposal is of each slice; None if there is no proposal."""
        self.proposal.set_confidence(confidence, annotated)

    def set_possible(self, actions: Collection[str], *, propose: bool) -> None:
        """Enable what can be done now."""
        self.proposal.set_possible(actions)
        self.propose_button.setEnabled(propose)

    def set_status(self, text: str) -> None:
        """Show what was done last."""
        self.status.setText(text)
        self.status.setVisible(bool(text))
