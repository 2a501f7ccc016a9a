"""Learning: the tumour network goes on training with what the user has corrected.

Owns the folder of corrected patients, the job that adds one and trains in another process, and what the user is told of
it. The network that comes of it is chosen if it is no worse than the one before.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxelsmith.core.progress import Job
from voxelsmith.core.regions import REGIONS, Convention, convention
from voxelsmith.core.volume import LabelVolume
from voxelsmith.jobs.process import ProcessJob
from voxelsmith.plugin import notify
from voxelsmith.plugin.docks.train.runs import fresh_folder
from voxelsmith.plugin.docks.tumour.choices import SlotChoices
from voxelsmith.plugin.docks.tumour.material import Material, gather
from voxelsmith.plugin.docks.tumour.models import training_command, weights_behind
from voxelsmith.plugin.docks.tumour.run import Runs
from voxelsmith.plugin.docks.tumour.training_case import training_case
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.tumour.request import TumourSettings
from voxelsmith.train.trained_runs import home
from voxelsmith.train.tumour_corrections import WRITTEN_AS, Learned, learn

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.tumour.view import TumourDock
    from voxelsmith.segment.tumour.engine import PreparedCase

PATIENTS = "tumour-patients"
_JOB = "learning"


def learning(
    material: Material,
    settings: TumourSettings,
    prepared: PreparedCase | None,
    labels: LabelVolume,
    labelled_as: Convention,
    start: Path | str,
    folder: Path,
    seconds: float,
) -> Job[Learned]:
    """Job that puts a patient among those corrected, and trains on all of them in another process.

    Parameters
    ----------
    material, settings, prepared, labels, labelled_as
        As for :func:`~voxelsmith.plugin.docks.tumour.training_case.training_case`.
    start, folder, seconds
        As for :func:`~voxelsmith.train.tumour_corrections.learn`.
    """
    patients = home() / PATIENTS
    yield from training_case(material, settings, prepared, labels, labelled_as, patients, convention(WRITTEN_AS))
    process = ProcessJob(learn, patients, start, folder, seconds)
    return (yield from process.run())


class Learning:
    """What a dock has learned, and the training cases that it leaves for others to learn from.

    Parameters
    ----------
    view
        The dock.
    viewer : napari.components.ViewerModel
    runner
        Runs the jobs.
    choices
        The sequences.
    runs
        Keeps the preparation of the last run.
    """

    def __init__(self, view: TumourDock, viewer: Any, runner: JobRunner, choices: SlotChoices, runs: Runs) -> None:
        self._view, self._viewer, self._runner, self._choices, self._runs = view, viewer, runner, choices, runs
        view.result.learning_wanted.connect(self.start)
        view.result.case_saved.connect(self.save_case)

    def start(self, minutes: int) -> None:
        """Learn from the sequences and the regions that are chosen, and from the patients of before."""
        settings = self._view.settings.settings
        start = weights_behind(settings.model, self._choices.images)
        folder = fresh_folder(home(), "tumour")
        with notify.sentences():
            case = self._case()
            if case is None:
                return
            self._view.result.set_learning(True)
            self._runner.start(
                lambda: learning(*case, start, folder, 60.0 * minutes),
                title="Learning",
                key=_JOB,
                on_result=self._finish,
                on_error=lambda error: self._end(str(error)),
                on_cancelled=lambda: self._end("Stopped; the network stays as it was."),
            )

    def save_case(self, parent: str) -> None:
        """Write the sequences and the regions as a patient into a folder of patients."""
        command = training_command(self._view.settings.settings.model, self._choices.images, Path(parent))
        with notify.sentences():
            case = self._case()
            if case is None:
                return
            self._runner.start(
                lambda: training_case(*case, Path(parent)),
                title="Save training case",
                on_result=lambda folder: self._view.set_status(
                    f"Saved {folder}. When there are some patients, go on training with {command}"
                ),
                on_error=lambda error: self._view.set_status(str(error)),
            )

    def _case(self) -> tuple[Material, TumourSettings, PreparedCase | None, LabelVolume, Convention] | None:
        """What a training case is made of; None if no layer with regions is chosen."""
        results, settings = self._view.results, self._view.settings.settings
        labels, known = results.labels_as_they_are(), results.known
        if labels is None or known is None:
            return None
        prepared = self._runs.prepared_for(self._choices.chosen, settings)
        return gather(self._choices.chosen, self._viewer), settings, prepared, labels, known.convention

    def _finish(self, learned: Learned) -> None:
        if learned.better:
            self._view.settings.choose_model(learned.folder)
        self._end(account(learned))

    def _end(self, text: str) -> None:
        self._view.result.set_learning(False)
        self._view.set_status(text)


def account(learned: Learned) -> str:
    """What is said of a network that has learned."""
    whose = f"{', '.join(learned.judges)}, not learned from" if learned.judges else "what it learned from"
    dice = ", ".join(f"{name} {learned.before[name]:.2f} → {learned.after[name]:.2f}" for name in REGIONS)
    count = f"{learned.patients} patient{'s' if learned.patients > 1 else ''}"
    end = f"{learned.folder.name} is the model now" if learned.better else "the model stays, as this is no better"
    return f"Learned from {count}. Dice around the tumour, on {whose}: {dice}; {end}. Run again to use it."
