"""Learning from corrections: a tumour network goes on training with the patients that a user has corrected.

Owns the job that an application runs in the background for some minutes, the weights that it leaves, and what is said
of them: Dice before and after, on patients that were kept apart, or on those it learned from while they are few. Few
patients are learned by heart, and others then suffer; weights half-way between those of before and after suffer less
(Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from voxelsmith.core.progress import Job, Progress

WRITTEN_AS = "brats2018"
"""Convention of the labels in a folder of corrected patients."""

_STEPS = 600
_LEARNING_RATE = 5e-4
_WAY = 0.5


@dataclass(frozen=True)
class Learned:
    """What came of it.

    Parameters
    ----------
    folder
        The run folder; :func:`voxelsmith.segment.crossmodality.load_network` takes it.
    patients
        How many were learned from.
    judges
        Names of the patients that judge and were not learned from; empty if there were too few to keep one apart, so
        that those learned from judge.
    before, after
        Dice over windows around the tumours that judge: by region, and "score", their mean.
    """

    folder: Path
    patients: int
    judges: tuple[str, ...]
    before: Mapping[str, float]
    after: Mapping[str, float]

    @property
    def better(self) -> bool:
        """Whether it is at least as good as before."""
        return self.after["score"] >= self.before["score"]


def learn(patients: Path, start: Path | str, out: Path, seconds: float, inbox: object = None) -> Job[Learned]:
    """Train a tumour network on the patients of a folder, beginning with weights that there are, and go half the way.

    Parameters
    ----------
    patients
        Folder of patients with labels of :data:`WRITTEN_AS`; from five on, every fifth judges.
    start
        Weights to go on from, as :func:`voxelsmith.segment.crossmodality.load_network` finds them.
    out
        Run folder, made if absent.
    seconds
        When to stop, at the first step that ends later.
    inbox
        Where a process finds messages; none is expected.

    Yields
    ------
    Progress
        One a step.

    Raises
    ------
    InputError
        If there are no such patients, or ``out`` holds a training already.
    ModelUnavailableError, FormatError
        If there are no weights to start from, or they cannot be used.
    """
    import torch

    from voxelsmith.segment.crossmodality import WEIGHTS, load_network
    from voxelsmith.train.checkpoint import export
    from voxelsmith.train.crossmodality import Material, fusion_recipe, fusion_settings
    from voxelsmith.train.loop import train
    from voxelsmith.train.tumour_folder import tumour_folder

    yield Progress(0, _STEPS, "Reading the patients")
    architecture = load_network(start).architecture
    found = tumour_folder(patients, architecture.modalities, labelled_as=WRITTEN_AS)
    settings = fusion_settings(
        architecture=architecture,
        steps=_STEPS,
        learning_rate=_LEARNING_RATE,
        average=0.98,
        validate_every=_STEPS,
        max_seconds=seconds,
    )
    recipe = fusion_recipe(settings, Material(found.train, found.judges), start=start)
    begun = {name: value.clone() for name, value in recipe.model.state_dict().items()}
    with torch.no_grad():
        before = recipe.validate()
    history = yield from train(recipe, settings, out)
    yield Progress(history.step, history.steps, "Judging what was learned")
    state = {name: torch.lerp(begun[name].float(), value.float(), _WAY) for name, value in export(out).items()}
    recipe.model.load_state_dict(state)
    with torch.no_grad():
        after = recipe.validate()
    recipe.save(state, out / WEIGHTS, {"step": str(history.step), "start": str(start)})
    return Learned(out, len(found.train), tuple(one.name for one in found.judges), before, after)
