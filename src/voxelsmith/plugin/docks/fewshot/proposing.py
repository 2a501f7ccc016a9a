"""Proposing: one proposal at a time, from its computation to the layer that shows it.

Owns the job, the early answer for the slice in view, what is left after a computation was stopped, and the order in
which unsure slices are visited.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.support import SupportSet
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.fewshot.networks import TRAINED, network
from voxelsmith.plugin.docks.fewshot.preview import Preview
from voxelsmith.plugin.docks.prompt.source import Source, load
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment import trained
from voxelsmith.segment.canvas import SlicePreview
from voxelsmith.segment.fewshot import AUTOMATIC, ENGINES, NEEDS_NETWORK, FewShotRequest, propose
from voxelsmith.segment.proposal import Proposal
from voxelsmith.train.trained_runs import load_model

_JOB = "proposal"
_TITLES = {**ENGINES, **NEEDS_NETWORK, trained.ENGINE: "Trained network"}
# A step of an engine may take seconds; Cancel answers sooner.
_PATIENCE_S = 0.2


def _proposal_job(
    source: Source, support: SupportSet, engine: str, view: int | None, known_range: tuple[int, int] | None
) -> Job[tuple[Volume, Proposal]]:
    """Load an image and propose labels on it; both are returned."""
    loaded = yield from load(source)
    yield Progress(0, 0, "Choosing the engine")
    kind, folder = network(engine)
    if folder is not None and kind == TRAINED:
        return loaded.volume, (yield from trained.apply(load_model(folder), loaded.volume))
    name = engine if folder is None else AUTOMATIC
    request = FewShotRequest(loaded.volume, support, name, view, known_range, trained=folder)
    return loaded.volume, (yield from propose(request))


class Proposing:
    """The proposal of a dock.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    runner
        Runs the job.
    tell
        Takes a sentence for the user.
    on_change
        Called when a computation begins or ends, or the proposal goes.

    Attributes
    ----------
    image : napari.layers.Image or None
        What the proposal is for.
    frame : int or None
        Which frame of it, if it is a time series.
    proposal : Proposal or None
    running : bool
        Whether one is being computed.
    untouched : bool
        Whether nothing of the proposal was accepted yet.
    """

    def __init__(
        self, viewer: Any, runner: JobRunner, tell: Callable[[str], None], on_change: Callable[[], None]
    ) -> None:
        self._runner, self._tell, self._on_change = runner, tell, on_change
        self.preview = Preview(viewer)
        self.image: Any = None
        self.frame: int | None = None
        self.proposal: Proposal | None = None
        self.running = False
        self.untouched = True
        self._visited: set[int] = set()

    def start(
        self,
        image: Any,
        source: Source,
        support: SupportSet,
        *,
        engine: str,
        view: int | None,
        known_range: tuple[int, int] | None,
        on_loaded: Callable[[Volume], None],
    ) -> None:
        """Compute a proposal for an image.

        Parameters
        ----------
        image
            The layer.
        source
            What it shows.
        support, engine, view, known_range
            See :class:`~voxelsmith.segment.fewshot.FewShotRequest`.
        on_loaded
            Called at the end with the volume that was computed on.
        """
        if image is not self.image:
            self.let_go()
            self.image = image
        began, first = time.perf_counter(), [0.0]
        self.running = True

        def show_early(early: object) -> None:
            if isinstance(early, SlicePreview):
                first[0] = first[0] or time.perf_counter() - began
                self.preview.show_slice(image, early, support, self.proposal)
                kind = "refined" if early.refined else "from shapes alone"
                self._tell(f"Slice {early.index} is there, {kind}; the volume follows.")

        def finish(result: tuple[Volume, Proposal]) -> None:
            volume, self.proposal = result
            self.frame = source.frame
            self.running, self.untouched = False, True
            self._visited.clear()
            on_loaded(volume)
            self.preview.show(image, self.proposal, support)
            self._tell(_summary(self.proposal, first[0], time.perf_counter() - began))
            self._on_change()

        def give_up(why: str) -> None:
            self.running = False
            self.preview.show(image, self.proposal, support)
            self._tell(why)
            self._on_change()

        self._runner.start(
            lambda: _proposal_job(source, support, engine, view, known_range),
            title="Proposing",
            layers=[image],
            key=_JOB,
            on_partial=show_early,
            on_result=finish,
            on_error=lambda error: give_up(str(error)),
            on_cancelled=lambda: give_up("Stopped; nothing was changed."),
            patience=_PATIENCE_S,
        )
        self._on_change()

    def next_unsure(self, done: set[int]) -> int | None:
        """The least sure slice that was not visited yet, beside those that are done; after all of them the first again.

        Parameters
        ----------
        done
            Slices that need no look, as the annotated ones.
        """
        if self.proposal is None:
            return None
        confidence = self.proposal.confidence
        order = [
            n for n in np.argsort(confidence, kind="stable").tolist() if not np.isnan(confidence[n]) and n not in done
        ]
        left = [n for n in order if n not in self._visited]
        if not left:
            self._visited.clear()
            left = order
        if not left:
            return None
        self._visited.add(left[0])
        return int(left[0])

    def forget(self) -> None:
        """The proposal is wanted no more; a computation is stopped."""
        self._runner.cancel(_JOB)
        self.proposal, self.running = None, False
        self.preview.remove()
        self._on_change()

    def let_go(self) -> None:
        """Take the proposal away; if nothing of it was accepted, its layer is left to the user."""
        if self.proposal is not None and self.untouched:
            self.preview.leave()
        else:
            self.preview.remove()
        self.image = self.proposal = None


def _summary(proposal: Proposal, first: float, seconds: float) -> str:
    title = _TITLES[proposal.provenance.engine]
    early = f"slice in view {first:.1f} s, " if first else ""
    lines = [f"{title}: {early}volume {seconds:.1f} s."]
    if (worst := proposal.worst_slice) is not None:
        lines.append(f"Least sure of slice {worst} (confidence {proposal.confidence[worst]:.2f}).")
    return "\n".join([*lines, *proposal.notes])
