"""Jobs of the dock.

Owns the registration as it runs in the viewer, with a picture of each level made in the job's own thread, and the
short job that makes a result of the last level when a run was stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from voxelsmith.core.progress import Job
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.register.material import Material, load
from voxelsmith.plugin.docks.register.parameters import settings_for
from voxelsmith.register.result import Preview, RegistrationResult


@dataclass(frozen=True, eq=False)
class Picture:
    """How far a run has come, and the moving image as it lies on the fixed grid then."""

    preview: Preview
    warped: Volume


def registration(material: Material, preset: str, changes: Mapping[str, Any]) -> Job[RegistrationResult]:
    """Job that reads what is not in memory, and registers; ``partial`` is now and then a :class:`Picture`.

    Parameters
    ----------
    material
        What it is computed from.
    preset, changes
        How, as for :func:`~voxelsmith.plugin.docks.register.parameters.settings_for`.
    """
    from voxelsmith.register.pipeline import register

    loaded = yield from load(material)
    settings = settings_for(preset, changes, loaded.images["fixed"].volume)
    result = yield from _pictured(register(loaded.request(settings)))
    return replace(result, notes=(*material.notes, *result.notes))


def conclusion(preview: Preview) -> Job[RegistrationResult]:
    """Job that makes a result of how far a stopped run had come."""
    from voxelsmith.register.pipeline import conclude

    return (yield from conclude(preview))


def _pictured(job: Job[RegistrationResult]) -> Job[RegistrationResult]:
    """The same job with pictures for previews."""
    try:
        while True:
            progress = next(job)
            if isinstance(progress.partial, Preview):
                # A chance to stop before the picture is made.
                yield replace(progress, partial=None)
                progress = replace(progress, partial=Picture(progress.partial, progress.partial.warped()))
            yield progress
    except StopIteration as stop:
        result: RegistrationResult = stop.value
        return result
    finally:
        job.close()
