"""Applying: the model of a run at work on an image.

Owns the proposal with its cached probabilities, its cuts, the map of where it is unsure, and what was accepted of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer

from voxelsmith.core.volume import Volume
from voxelsmith.plugin import notify
from voxelsmith.plugin.docks.fewshot.history import AcceptStep, History
from voxelsmith.plugin.docks.prompt.source import Source
from voxelsmith.plugin.docks.prompt.targets import Accepted, writable_array
from voxelsmith.plugin.docks.train.exporting import FORMATS, exporting
from voxelsmith.plugin.docks.train.jobs import acceptance, application, cutting, uncertainty
from voxelsmith.plugin.docks.train.material import Material
from voxelsmith.plugin.docks.train.preview import LABELS, UNSURE, Preview
from voxelsmith.plugin.docks.train.result_part import ResultPart
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.commit import Commit
from voxelsmith.segment.proposal import Proposal
from voxelsmith.segment.uncertainty import next_slice

_JOB = "application"
# A step of the network may take seconds; Cancel answers sooner.
_PATIENCE_S = 0.2
_CUT_AFTER_MS = 60


class Applying:
    """The proposal of a dock.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    part
        Threshold, filters and buttons.
    runner
        Runs the jobs that the user started.
    preview
        Shows the proposal.
    tell
        Takes a sentence for the user.
    on_change
        Called when a proposal comes or goes, or something was accepted.

    Attributes
    ----------
    proposal : Proposal or None
    image : napari.layers.Image or None
        What it is for.
    history : History
        What was accepted.
    """

    def __init__(
        self,
        viewer: Any,
        part: ResultPart,
        runner: JobRunner,
        preview: Preview,
        tell: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        self._viewer, self._part, self._runner, self._preview = viewer, part, runner, preview
        self._quiet_runner = JobRunner(viewer, runner, shown=False)
        self._tell, self._on_change = tell, on_change
        self.proposal: Proposal | None = None
        self.image: Any = None
        self.history = History()
        self._source: Source | None = None
        self._visited: set[int] = set()
        self._cut_soon = QTimer(runner)
        self._cut_soon.setSingleShot(True)
        self._cut_soon.setInterval(_CUT_AFTER_MS)
        self._cut_soon.timeout.connect(self._cut)
        part.cut_changed.connect(self._cut_soon.start)

    def close(self) -> None:
        """Stop all jobs."""
        self._cut_soon.stop()
        self._runner.shutdown()
        self._quiet_runner.shutdown()

    # -- the proposal ------------------------------------------------------------------------------------------

    def apply(
        self, image: Any, painted: Any, source: Source, material: tuple[Material, ...], folder: Path, device: str
    ) -> None:
        """Apply the model of a run to an image; ``painted`` is a labels layer that lends its colours, or None.

        The shapes in the material, what is annotated of the image, count beside what the model says.
        """
        began, best = time.perf_counter(), self._part.best

        def finish(result: tuple[Volume, Proposal]) -> None:
            volume, proposal = result
            self.image, self._source = image, Source(volume, source.frame, source.note)
            self._visited.clear()
            self._part.reset_cut()
            self._preview.of(image, painted)
            self._show(proposal)
            told = [f"{folder.name} was applied in {time.perf_counter() - began:.1f} s.", *proposal.notes]
            self._tell("\n".join(told))

        self._runner.start(
            lambda: application(source, material, folder, best=best, device=device),
            title="Applying",
            layers=[image],
            key=_JOB,
            on_result=finish,
            on_error=lambda error: self._tell(str(error).splitlines()[0]),
            on_cancelled=lambda: self._tell("Stopped; nothing was changed."),
            patience=_PATIENCE_S,
        )

    def forget(self) -> None:
        """The proposal is wanted no more; a computation is stopped."""
        self._runner.cancel(_JOB)
        self._quiet_runner.cancel()
        self.proposal = self.image = self._source = None
        self._on_change()

    def map_uncertainty(self) -> None:
        """Show where the proposal is unsure."""
        proposal = self.proposal
        if proposal is not None:
            self._quiet_runner.start(
                lambda: uncertainty(proposal),
                title="Uncertainty",
                key=UNSURE,
                on_result=lambda found: self._preview.show(UNSURE, found),
            )

    def redraw(self) -> None:
        """Show the proposal as it is cut now."""
        if self.proposal is not None:
            self._preview.show(LABELS, self.proposal.labels.array)

    def _show(self, proposal: Proposal) -> None:
        self.proposal = proposal
        self.redraw()
        if UNSURE in self._preview.wanted:
            self.map_uncertainty()
        self._on_change()

    def _cut(self) -> None:
        proposal, threshold, filters = self.proposal, self._part.threshold, self._part.filters
        if proposal is None:
            return

        def show(found: Proposal) -> None:
            if self.proposal is not None and self.proposal.probabilities is found.probabilities:
                self.proposal = found
                self.redraw()

        self._quiet_runner.start(
            lambda: cutting(proposal, threshold, filters), title="Threshold", key="cut", on_result=show
        )

    def next_slice(self, annotated: set[int]) -> int | None:
        """The slice to annotate next, beside those that are annotated; asked again, the one after it."""
        if self.proposal is None:
            return None
        found = next_slice(self.proposal.confidence, annotated | self._visited)
        if found is None:
            self._visited.clear()
            found = next_slice(self.proposal.confidence, annotated)
        if found is not None:
            self._visited.add(found)
        return found

    # -- accepting ---------------------------------------------------------------------------------------------

    def accept(self, target: Any, material: tuple[Material, ...]) -> None:
        """Write the proposal into a labels layer, but for annotated slices.

        Raises
        ------
        GeometryError, InputError
            If the layer cannot be written to, or lies on another grid.
        """
        proposal, source, overwrite = self.proposal, self._source, self._part.overwrite
        if proposal is None or source is None:
            return
        array = writable_array(target, source.volume, source.frame)

        def write(commits: tuple[Commit, ...]) -> None:
            accepted = tuple(Accepted.written(commit, target) for commit in commits)
            for one in accepted:
                one.commit.apply()
                one.show(True)
            self.history.push(AcceptStep(accepted, self._viewer.layers))
            counts = ", ".join(f"{a.commit.name} {a.commit.count:,}" for a in accepted)
            self._tell(f"Accepted into {target.name!r}, voxels: {counts}.")
            self._on_change()

        self._runner.start(
            lambda: acceptance(array, proposal, material, overwrite=overwrite),
            title="Accepting",
            layers=[target],
            key="acceptance",
            on_result=write,
        )

    def undo(self) -> None:
        """Take back what was accepted last."""
        with notify.sentences():
            self.history.undo()
        self._on_change()

    def redo(self) -> None:
        """Accept again what was taken back."""
        with notify.sentences():
            self.history.redo()
        self._on_change()

    # -- handing on --------------------------------------------------------------------------------------------

    def export(self, folder: Path, name: str, path: str) -> None:
        """Save the model of a run in a format."""
        best = self._part.best
        self._runner.start(
            lambda: exporting(folder, name, path, best=best),
            title=f"Exporting {FORMATS[name].title}",
            key="export",
            on_result=lambda written: self._tell(f"Saved: {written}."),
        )
