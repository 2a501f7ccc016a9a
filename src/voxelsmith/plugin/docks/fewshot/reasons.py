"""Reasons: which engine suits, and why, for the user to read before proposing."""

from __future__ import annotations

from dataclasses import dataclass

from voxelsmith.core.errors import VoxelsmithError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.support import SupportSet
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.fewshot.networks import TRAINED, network
from voxelsmith.plugin.docks.prompt.source import Source, load
from voxelsmith.segment.common_grid import slicing_axis
from voxelsmith.segment.fewshot import AUTOMATIC, ENGINES, choose
from voxelsmith.segment.proposal import SAME_VOLUME
from voxelsmith.train.trained_runs import read_trained_run


@dataclass(frozen=True, eq=False)
class Reason:
    """What is known before a proposal.

    Parameters
    ----------
    image
        The image, loaded.
    text
        Which engine suits, and why; or what is missing.
    slices
        Number of slices among which the user may give a range; None if none may be given.
    """

    image: Volume
    text: str
    slices: int | None


def reason(source: Source, support: SupportSet, engine: str, known_range: tuple[int, int] | None) -> Job[Reason]:
    """Job that finds out which engine suits an image and its support."""
    image = (yield from load(source)).volume
    yield Progress(0, 1, "Looking for the engine that suits")
    slices, (kind, folder) = None, network(engine)
    try:
        if folder is not None and kind == TRAINED:
            run = read_trained_run(folder)
            return Reason(image, f"{run.name} needs no examples. It knows {run.description}.", None)
        choice = choose(image, support, known_range, folder)
        if folder is not None:
            return Reason(image, choice.reason, image.grid[slicing_axis(image, support.enabled)])
        text = f"{ENGINES[choice.engine]}. {choice.reason}" if engine == AUTOMATIC else ""
        if engine not in (AUTOMATIC, choice.engine):
            text = f"Automatic would choose another one, {ENGINES[choice.engine]}. {choice.reason}"
        if (choice.engine if engine == AUTOMATIC else engine) != SAME_VOLUME:
            slices = image.grid[slicing_axis(image, support.enabled)]
    except VoxelsmithError as error:
        text = str(error)
    return Reason(image, text, slices)
