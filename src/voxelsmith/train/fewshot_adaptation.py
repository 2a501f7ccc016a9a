"""Adaptation: an encoder of prototypes goes on learning from a user's own volumes, which need no labels.

Owns the job that an application runs in the background for some minutes, on episodes of supervoxels as ``voxelsmith
train episodes --images`` has them, and the file of weights that it leaves. torch is imported when it starts.
"""

from __future__ import annotations

from pathlib import Path

from voxelsmith.core.progress import Job
from voxelsmith.segment.episodic import WEIGHTS


def adapt(images: Path, out: Path, seconds: float, inbox: object = None) -> Job[Path]:
    """Train an encoder on the volumes of a folder.

    Parameters
    ----------
    images
        Folder of volumes without labels.
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

    Returns
    -------
    Path
        The file of weights in the run folder: the best ones so far, or the last ones before the first validation.

    Raises
    ------
    InputError
        If the folder holds no volumes, or ``out`` holds a training already.
    """
    from voxelsmith.train.checkpoint import export
    from voxelsmith.train.fewshot import recipe, settings
    from voxelsmith.train.loop import train

    chosen = settings("prototype", max_seconds=seconds)
    learned = recipe(chosen, images=images)
    history = yield from train(learned, chosen, out)
    best = history.best_score is not None
    step = history.best_step if best else history.step
    learned.save(export(out, best=best), out / WEIGHTS, {"step": str(step), "steps": str(history.steps)})
    return out / WEIGHTS
