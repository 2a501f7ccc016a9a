"""Training case: a corrected patient as a folder that ``voxelsmith train cmf`` learns from.

Owns what is written: the prepared sequences on the working grid, so that all lie on one, the regions resampled onto it
by nearest neighbour, and the brain. Nothing is registered again where a run has left its preparation. A patient has one
folder, known by the voxels of the first sequence; what is saved later takes the place of what was saved before.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voxelsmith import io
from voxelsmith.core.errors import ResourceError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.regions import Convention
from voxelsmith.core.resample import resample_to
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.plugin.docks.tumour.material import Material, load
from voxelsmith.segment.tumour.request import TumourSettings

if TYPE_CHECKING:
    from voxelsmith.segment.tumour.engine import PreparedCase

_ENDING = ".nii.gz"


def training_case(
    material: Material,
    settings: TumourSettings,
    prepared: PreparedCase | None,
    labels: LabelVolume,
    convention: Convention,
    parent: Path,
    written_as: Convention | None = None,
) -> Job[Path]:
    """Job that writes one patient into a folder of patients; returns the patient's folder.

    Parameters
    ----------
    material, settings, prepared
        As for :func:`~voxelsmith.plugin.docks.tumour.jobs.segmentation`.
    labels, convention
        The regions, and what their labels mean.
    parent
        The folder of patients.
    written_as
        What the labels that are written mean; None for the same.

    Raises
    ------
    InputError, ModelUnavailableError
        If the sequences cannot be prepared.
    ResourceError
        If the folder cannot be written.
    """
    from voxelsmith.segment.tumour.engine import at_spacing, prepare

    if prepared is None:
        loaded = yield from load(material)
        prepared = yield from prepare(loaded.request(settings))
    case = yield from at_spacing(prepared, settings.spacing)
    laid = resample_to(labels, case.brain.affine, case.brain.grid, order=0)
    seg = LabelVolume((written_as or convention).labels(convention.depth(laid.array)), laid.affine)
    files: dict[str, Volume] = {"seg": seg, "brain_mask": case.brain}
    files.update(case.images.items())
    request = prepared.request
    folder = parent / f"patient-{request.images[request.reference].fingerprint()[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for earlier in folder.glob(f"*{_ENDING}"):
            earlier.unlink()
    except OSError as error:
        raise ResourceError(
            f"The patient's folder {folder} cannot be made ({error.strerror}); choose another folder."
        ) from error
    for done, (name, volume) in enumerate(files.items()):
        yield Progress(done, len(files), f"{name}{_ENDING}")
        io.write(volume, folder / f"{name}{_ENDING}")
    return folder
