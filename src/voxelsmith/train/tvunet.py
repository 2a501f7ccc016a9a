"""TV-Unet as a job: from painted slices to a network, watched, previewed and told things on the way.

Owns the frozen request, what a running training shows (:class:`Live`) and what it may be told (:class:`ShowSlice`,
:class:`TakeLabels`), and the door to the job, which runs here or in a process of its own
(:class:`voxelsmith.jobs.process.ProcessJob`). torch is imported when the job runs, so that a window can hold requests
without it; :mod:`voxelsmith.train.tvunet_session` does the work.
"""

from __future__ import annotations

import queue
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import FormatError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.segment.plan import Plan
from voxelsmith.train.history import History, Row
from voxelsmith.train.tvunet_settings import TVUnetSettings, paper_literal, settings

if TYPE_CHECKING:
    from voxelsmith.segment.trained import TrainedModel

__all__ = [
    "Live",
    "Preview",
    "ShowSlice",
    "TVUnetSettings",
    "TakeLabels",
    "Trained",
    "TrainingRequest",
    "paper_literal",
    "run",
    "settings",
    "trained_model",
]

VERSION = 1
_TITLES = {"tvunet": "TV-Unet", "diffusion": "a diffusion model"}


@dataclass(frozen=True)
class ShowSlice:
    """Which slice to preview from now on.

    Parameters
    ----------
    index
        The slice, along the array axis of the volume that runs as the annotated slices do.
    volume
        Which of the examples in use, from 0.
    """

    index: int
    volume: int = 0


@dataclass(frozen=True, eq=False)
class TakeLabels:
    """Annotations to go on with from the next epoch on, in place of the earlier ones.

    Parameters
    ----------
    examples
        As in the request; the same classes.
    """

    examples: tuple[SupportExample, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "examples", tuple(_portable(example) for example in self.examples))


@dataclass(frozen=True, eq=False)
class TrainingRequest:
    """A training of TV-Unet, or of another recipe on the same data, as the class of the settings says.

    Parameters
    ----------
    support
        The classes, and the volumes with their annotated slices; examples that are not in use are left out. Arrays
        must not change while the request is computed; labels are copied by the examples.
    out
        Run folder; see :func:`voxelsmith.train.loop.train`.
    settings
        The numbers; :func:`settings` has the defaults.
    judges
        Volumes that only judge, if some are kept apart; otherwise slices are.
    resume
        Go on with the training in ``out``.
    show
        The slice to preview; None for one in the middle of the annotated ones of the first volume.
    """

    support: SupportSet
    out: Path
    settings: TVUnetSettings
    judges: tuple[SupportExample, ...] = ()
    resume: bool = False
    show: ShowSlice | None = None

    def __post_init__(self) -> None:
        examples = tuple(_portable(example) for example in self.support.enabled)
        object.__setattr__(self, "support", replace(self.support, examples=examples))
        object.__setattr__(self, "judges", tuple(_portable(example) for example in self.judges))
        object.__setattr__(self, "out", Path(self.out))


@dataclass(frozen=True, eq=False)
class Preview:
    """What the network says of one slice.

    Parameters
    ----------
    slice
        Which one.
    axis
        Array axis of its volume that it is counted along.
    classes
        The label value of each channel.
    probabilities : uint8 array, shape (C, rows, columns)
        0 to 255, at the image's own pixels, in the order of the image's other two axes.
    step
        Steps done when it was made.
    """

    slice: ShowSlice
    axis: int
    classes: tuple[int, ...]
    probabilities: npt.NDArray[np.uint8]
    step: int


@dataclass(frozen=True, eq=False)
class Live:
    """What a running training shows; the partial result of its reports.

    Parameters
    ----------
    rows
        Rows of the history since the last report.
    preview
        A new one, or None.
    notes
        What the user should know, in sentences, since the last report.
    seconds_per_step
        Of the latest steps.
    seconds_left
        Until the last step, or until the time limit if that comes first; None before the first step.
    """

    rows: tuple[Row, ...] = ()
    preview: Preview | None = None
    notes: tuple[str, ...] = ()
    seconds_per_step: float | None = None
    seconds_left: float | None = None

    def after(self, earlier: Live) -> Live:
        """This one, with what an earlier one told that nobody has seen."""
        return replace(
            self,
            rows=earlier.rows + self.rows,
            preview=self.preview or earlier.preview,
            notes=earlier.notes + self.notes,
        )


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training returns.

    Parameters
    ----------
    history
        Rows, steps done, best validation.
    out
        The run folder, from which :func:`trained_model` takes the network.
    fingerprint
        Of the annotations that it learned from at the end.
    notes
        What the user should know, in sentences.
    """

    history: History
    out: Path
    fingerprint: str
    notes: tuple[str, ...]


def run(request: TrainingRequest, inbox: queue.SimpleQueue[Any] | None = None) -> Job[Trained]:
    """Train.

    Parameters
    ----------
    request
        Data, numbers, and where to.
    inbox
        From which :class:`ShowSlice` and :class:`TakeLabels` are taken between steps.

    Yields
    ------
    Progress
        After each step, with a :class:`Live`. Closed between two of them, the job leaves a checkpoint.

    Raises
    ------
    InputError
        If there is nothing to learn from, the run folder holds a training that is not to be resumed, or the resumed one
        has other classes or settings; see :func:`voxelsmith.train.loop.train`.
    FormatError
        If the checkpoint is damaged, or not of this recipe.
    ResourceError
        If memory runs out for the smallest patch too, or the run folder cannot be written.
    """
    yield Progress(0, request.settings.steps, "Preparing the slices")
    from voxelsmith.train.tvunet_session import Session

    session = Session(request, queue.SimpleQueue() if inbox is None else inbox)
    return (yield from session.run())


def trained_model(folder: Path | str, *, best: bool = True) -> TrainedModel:
    """The network of a run folder, finished or not.

    Parameters
    ----------
    folder
        Where :func:`run` trained.
    best
        Take the weights with the best validation, if there was one, rather than the last ones.

    Raises
    ------
    InputError
        If the folder holds no training.
    FormatError
        If its checkpoint is damaged, or of another recipe or version.
    """
    from voxelsmith.models.trainable import architecture_from
    from voxelsmith.segment.trained import TrainedModel
    from voxelsmith.train.checkpoint import load

    checkpoint = load(folder)
    about = require_ours(checkpoint.about, folder)
    chosen = checkpoint.best if best and checkpoint.best is not None else None
    details = {"steps": str(checkpoint.step)}
    if chosen is not None:
        details = {"steps": str(chosen["step"]), "score": f"{chosen['score']:.4f}"}
    return TrainedModel(
        Plan.from_record(about["plan"]),
        architecture_from(about["recipe"], about["architecture"]),
        checkpoint.weights if chosen is None else chosen["weights"],
        Path(folder).resolve().name,
        about["fingerprint"],
        details,
    )


def require_ours(about: Mapping[str, Any], folder: Path | str, recipe: str | None = None) -> Mapping[str, Any]:
    """What travelled in a checkpoint; FormatError if it is not of this version and of one recipe, or of any."""
    known = _TITLES if recipe is None else {recipe: _TITLES[recipe]}
    if about.get("recipe") not in known or about.get("version") != VERSION:
        came = f"version {about['version']}" if about.get("recipe") in known else "of another kind"
        raise FormatError(
            f"{folder} should hold a training of {' or '.join(known.values())}, version {VERSION}, but it is {came}; "
            "train into another folder, or use the version of voxelsmith that it was made with."
        )
    return about


def _portable(example: SupportExample) -> SupportExample:
    """An example without what its source file said beyond it, so that it can travel to a process."""
    image, labels = example.image, example.labels
    bare: dict[str, Any] = {"metadata": {}, "history": ()}
    return replace(
        example,
        image=replace(image, array=np.asarray(image.array), **bare),
        labels=replace(labels, array=np.asarray(labels.array), names=dict(labels.names), **bare),
    )
