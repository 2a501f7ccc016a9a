"""The recipe of the tumour network: transition, then fusion.

Owns how the two stages are put together: what each is trained on, whose parameters begin whose, and the one job that
trains both. :mod:`.crossmodality_transition` and :mod:`.crossmodality_fusion` have the losses,
:mod:`.crossmodality_data` the windows, :mod:`.loop` runs them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job
from voxelsmith.models.crossmodality import CrossModalityNet
from voxelsmith.models.device import pick_device
from voxelsmith.segment.crossmodality import load_network
from voxelsmith.train.checkpoint import export
from voxelsmith.train.crossmodality_data import Patches, Readable
from voxelsmith.train.crossmodality_fusion import FusionRecipe
from voxelsmith.train.crossmodality_settings import CMFSettings, fusion_settings, transition_settings
from voxelsmith.train.crossmodality_transition import TransitionModel, TransitionRecipe
from voxelsmith.train.history import History
from voxelsmith.train.loop import train
from voxelsmith.train.together import Together
from voxelsmith.train.tumours import BrainMap

__all__ = ["Material", "fusion_recipe", "fusion_settings", "run", "transition_recipe", "transition_settings"]

TRANSITION = "transition"
"""Folder in a run folder in which the first stage is trained."""

_GENERATORS = "generators."


@dataclass(frozen=True)
class Material:
    """What is learned from.

    Parameters
    ----------
    cases
        Patients to train on, with sequences in the order of the network's channels.
    judges
        Patients to validate on; where there are none, made-up tumours judge, or else the patients of the training.
    maps
        Label maps of heads for made-up tumours.

    Raises
    ------
    InputError
        If there is nothing to train on.
    """

    cases: Sequence[Readable] = ()
    judges: Sequence[Readable] = ()
    maps: Sequence[BrainMap] = ()

    def __post_init__(self) -> None:
        if not self.cases and not self.maps:
            raise InputError("The tumour network learns from patients or from label maps of heads; give some of them.")

    def patches(self, settings: CMFSettings, *, dropout: float) -> tuple[Patches, Patches]:
        """Windows to train on and those to validate on."""
        windows = partial(
            Patches,
            maps=self.maps,
            modalities=settings.architecture.modalities,
            side=settings.side,
            synthetic=settings.synthetic,
            colour=settings.colour,
        )
        judges = self.judges or (() if self.maps else self.cases)
        train_on = windows(self.cases, seed=settings.seed, dropout=dropout)
        return train_on, windows(judges, seed=settings.seed + 1, dropout=0.0)


def transition_recipe(settings: CMFSettings, material: Material) -> TransitionRecipe:
    """The recipe of stage 1; the settings' seed decides the windows and the first weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = TransitionModel(settings)
    return TransitionRecipe(settings, model, *material.patches(settings, dropout=0.0))


def fusion_recipe(
    settings: CMFSettings,
    material: Material,
    transition: Mapping[str, Tensor] | None = None,
    start: Path | str | None = None,
) -> FusionRecipe:
    """The recipe of stage 2.

    Parameters
    ----------
    settings
        Its settings; their seed decides the windows and the first weights.
    material
        Patients and label maps.
    transition
        What stage 1 learned, as :func:`voxelsmith.train.checkpoint.export` gives it; None for a network without
        generators, which is the plain one.
    start
        Instead: weights to go on from, as :func:`voxelsmith.segment.crossmodality.load_network` finds them, generators
        included.

    Raises
    ------
    InputError
        If the weights are of another network, or those of stage 1 are missing for a network with generators.
    ModelUnavailableError, FormatError
        If there are no weights to start from, or they cannot be used.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = CrossModalityNet(settings.architecture)
    if start is not None:
        earlier = load_network(start)
        if earlier.architecture != settings.architecture:
            raise InputError(f"The weights of {start} are of another network; train that one, or start anew.")
        model.load_state_dict(earlier.state_dict())
    elif settings.architecture.fusion != "concatenation":
        learned = {} if transition is None else transition
        found = {
            name.removeprefix(_GENERATORS): value for name, value in learned.items() if name.startswith(_GENERATORS)
        }
        try:
            model.generators.load_state_dict(found)
        except RuntimeError as error:
            raise InputError(
                "The second stage needs generators of its own size from the first; train the transition of this "
                "network before, or begin anew in another folder."
            ) from error
        if settings.transfer:
            model.transfer()
    if settings.architecture.fusion != "concatenation":
        model.generators.requires_grad_(False)
    return FusionRecipe(settings, model, *material.patches(settings, dropout=settings.dropout))


def run(
    transition: CMFSettings,
    fusion: CMFSettings,
    material: Material,
    out: Path,
    *,
    start: Path | str | None = None,
    resume: bool = False,
) -> Job[History]:
    """Train both stages, as a job; the plain network has no first one, nor has one that goes on from weights.

    Parameters
    ----------
    transition, fusion
        Settings of the stages; both name one architecture. The time limit of ``fusion`` is for both stages together.
    material
        What is learned from.
    out
        Run folder of stage 2; stage 1 trains in :data:`TRANSITION` in it.
    start
        Weights to go on from; see :func:`fusion_recipe`.
    resume
        Go on where an earlier run in ``out`` stopped.

    Returns
    -------
    History
        Of stage 2; of stage 1 if its time limit ended it.
    """
    learned, started = None, time.monotonic()
    if start is None and fusion.architecture.fusion != "concatenation":
        first = out / TRANSITION
        history = yield from train(transition_recipe(transition, material), transition, first, resume=resume)
        if not history.finished:
            return history
        # The first of several processes writes what all of them read.
        Together(pick_device(fusion.device)).any(False)
        learned = export(first)
    if fusion.max_seconds is not None:
        fusion = replace(fusion, max_seconds=max(fusion.max_seconds - (time.monotonic() - started), 1.0))
    recipe = fusion_recipe(fusion, material, learned, start)
    return (yield from train(recipe, fusion, out, resume=resume))
