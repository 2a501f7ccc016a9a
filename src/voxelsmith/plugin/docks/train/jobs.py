"""Jobs of the dock: a training in a process of its own, and what is done with its model.

Owns the way from what the user chose to requests, and the account of a running training, which grows from report to
report so that nothing is lost when some of them are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.support import SupportExample
from voxelsmith.core.volume import Volume
from voxelsmith.jobs.process import ProcessJob
from voxelsmith.plugin.docks.prompt.source import Source, load
from voxelsmith.plugin.docks.train.material import ClassChoice, Material, examples
from voxelsmith.plugin.docks.train.runs import write_record
from voxelsmith.segment.acceptance import plan_acceptance
from voxelsmith.segment.commit import Commit
from voxelsmith.segment.proposal import Proposal
from voxelsmith.segment.trained import apply, recut
from voxelsmith.segment.uncertainty import entropy
from voxelsmith.train.history import Row
from voxelsmith.train.pairs import read_pairs
from voxelsmith.train.state import TrainingState
from voxelsmith.train.tvunet import (
    Live,
    Preview,
    ShowSlice,
    TakeLabels,
    Trained,
    TrainingRequest,
    TVUnetSettings,
    run,
    trained_model,
)

_LEVELS = 255


@dataclass(frozen=True, eq=False)
class Account:
    """What is known of a running training.

    Parameters
    ----------
    state
        What it is doing.
    progress
        Its latest report.
    rows
        Of its history, since it was started or resumed.
    notes
        What the user should know, in sentences.
    preview
        The latest one.
    seconds_per_step, seconds_left
        As for :class:`~voxelsmith.train.tvunet.Live`.
    """

    state: TrainingState
    progress: Progress
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    preview: Preview | None = None
    seconds_per_step: float | None = None
    seconds_left: float | None = None

    def after(self, state: TrainingState, progress: Progress) -> Account:
        """This account with one more report."""
        grown = replace(self, state=state, progress=progress)
        live = progress.partial
        if not isinstance(live, Live):
            return grown
        return replace(
            grown,
            rows=self.rows + live.rows,
            notes=self.notes + live.notes,
            preview=live.preview or self.preview,
            seconds_per_step=live.seconds_per_step or self.seconds_per_step,
            seconds_left=live.seconds_left if live.seconds_left is not None else self.seconds_left,
        )


@dataclass(eq=False)
class Line:
    """The line to a training; there is nobody at its end before the process was started.

    Parameters
    ----------
    process
        Who is at its end.
    classes
        Label values that it learns.
    beside
        Examples of a folder of pairs, which it learns from whatever is painted.
    alone
        Whether it began with these alone; then they stay the first ones, as volumes are known by their place.
    """

    process: ProcessJob[Trained] | None = None
    classes: frozenset[int] = frozenset()
    beside: tuple[SupportExample, ...] = ()
    alone: bool = False

    def send(self, message: ShowSlice | TakeLabels) -> None:
        """Tell the training something."""
        if self.process is not None:
            self.process.send(message)


@dataclass(frozen=True, eq=False)
class Plan:
    """A training as the user asked for it.

    Parameters
    ----------
    material, choice
        See :func:`~voxelsmith.plugin.docks.train.material.examples`.
    folder, settings, resume, show
        See :class:`~voxelsmith.train.tvunet.TrainingRequest`.
    pairs
        A folder of pairs to learn from as well; see :func:`~voxelsmith.train.pairs.read_pairs`.
    """

    material: tuple[Material, ...]
    choice: ClassChoice
    folder: Path
    settings: TVUnetSettings
    resume: bool = False
    show: ShowSlice | None = None
    pairs: Path | None = None


def training(plan: Plan, line: Line) -> Job[Trained]:
    """Job that trains in a process of its own; ``partial`` is an :class:`Account`.

    Raises
    ------
    InputError
        If nothing is annotated.
    """
    support = yield from examples(plan.material, plan.choice)
    judges: tuple[SupportExample, ...] = ()
    if plan.pairs is not None:
        pairs = yield from read_pairs(plan.pairs, plan.choice.names, plan.choice.left_out)
        line.beside, line.alone, judges = pairs.support.examples, not plan.material, pairs.judges
        for example in line.beside:
            support = support.add(example)
    if not any(example.has_foreground for example in support.enabled):
        raise InputError("Training needs annotated slices with something painted on them; paint a few and add them.")
    if not plan.resume:
        about = {
            "classes": list(support.values),
            "images": [
                {"name": one.source.volume.name, "axis": one.axis, "slices": list(one.slices)} for one in plan.material
            ],
            "pairs": None if plan.pairs is None else str(plan.pairs),
        }
        write_record(plan.folder, plan.settings, about)
    request = TrainingRequest(support, plan.folder, plan.settings, judges=judges, resume=plan.resume, show=plan.show)
    process = ProcessJob(run, request)
    line.process, line.classes = process, frozenset(support.values)
    account = Account(TrainingState.preparing, Progress(0, 0))
    job = process.run()
    try:
        while True:
            try:
                progress = next(job)
            except StopIteration as end:
                result: Trained = end.value
                return result
            account = account.after(process.state, progress)
            yield replace(progress, partial=account)
    finally:
        job.close()


def new_labels(material: tuple[Material, ...], choice: ClassChoice, line: Line) -> Job[int]:
    """Job that hands new annotations to a running training; returns how many slices they are."""
    support = yield from examples(material, replace(choice, always=line.classes))
    both = (line.beside, support.enabled) if line.alone else (support.enabled, line.beside)
    line.send(TakeLabels(both[0] + both[1]))
    return sum(len(one.slices) for one in material)


def application(
    source: Source, material: tuple[Material, ...], folder: Path, *, best: bool, device: Any
) -> Job[tuple[Volume, Proposal]]:
    """Job that applies the model of a run to a volume, which is returned too; cut at one half.

    ``material`` is what is annotated of this volume, whose shapes count beside what the model says.
    """
    loaded = yield from load(source)
    yield Progress(0, 0, "Loading the model")
    model = trained_model(folder, best=best)
    here = tuple(replace(one, source=loaded) for one in material)
    support = yield from examples(here, ClassChoice(always=frozenset(model.plan.classes)))
    return loaded.volume, (yield from apply(model, loaded.volume, device, support.examples))


def cutting(proposal: Proposal, threshold: float, filters: Mapping[str, Any]) -> Job[Proposal]:
    """Job that cuts cached probabilities anew; see :func:`~voxelsmith.segment.trained.cut`."""
    yield Progress(0, 1, "Cutting")
    return recut(proposal, threshold, **filters)


def uncertainty(proposal: Proposal) -> Job[npt.NDArray[np.uint8]]:
    """Job that makes a map of the entropy of a proposal, 0 to 255, on the image's grid."""
    full = np.zeros(proposal.labels.grid, np.uint8)
    planes = np.moveaxis(full[proposal.box.slices], proposal.axis, 0)
    likely = np.moveaxis(proposal.probabilities, proposal.axis + 1, 0)
    for number, plane in enumerate(likely):
        planes[number] = entropy_levels(plane)
        yield Progress(number + 1, len(likely), "Mapping uncertainty")
    return full


def entropy_levels(probabilities: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Entropy, 0 to 255, of probabilities, 0 to 1, shape (C, ...)."""
    return np.rint(entropy(probabilities) * _LEVELS).astype(np.uint8)


def acceptance(
    target: npt.NDArray[Any],
    proposal: Proposal,
    material: tuple[Material, ...],
    *,
    overwrite: bool,
) -> Job[tuple[Commit, ...]]:
    """Job that works out what accepting a proposal writes; see :func:`~voxelsmith.segment.acceptance.plan_acceptance`.

    Raises
    ------
    InputError
        If the target cannot hold a label, or nothing of the proposal is new.
    """
    support = yield from examples(material, ClassChoice(always=frozenset(proposal.classes)))
    yield Progress(0, 1, "Comparing with what is painted")
    commits = plan_acceptance(target, proposal, support, overwrite=overwrite)
    if not commits:
        raise InputError("There is nothing new in the proposal; all of it is in the labels, or against them.")
    return commits
