"""Laying: sequences on one working grid, and z-scored in the brain.

Owns the working grid, which has the axes of the reference sequence turned to left, posterior and superior as BraTS
files have them and voxels of one size, and how each sequence gets there: averaged where the grid is coarser, then
interpolated once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Box, Grid
from voxelsmith.core.pull import V
from voxelsmith.core.resample import reorient, resample_to
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.segment.tumour.brain import Mask
from voxelsmith.segment.tumour.names import MODALITY_TITLES, Modality
from voxelsmith.segment.zoom import Region

AXES = "LPS"
_TOLERANCE = 0.01
_COARSER = 1.5


@dataclass(frozen=True, eq=False)
class Placed:
    """A sequence, and where it lies.

    Parameters
    ----------
    volume
        The sequence on its own grid.
    inside : bool array of that grid
        What is not background.
    stripped
        Whether that is a brain without its skull.
    transform
        From the world of the reference sequence to its own; rigid.
    """

    volume: Volume
    inside: Mask
    stripped: bool
    transform: Transform


def working_grid(reference: Volume, spacing: float) -> tuple[Affine, Grid]:
    """The grid for a reference sequence: axes to L, P, S and voxels of one size in millimetres.

    Voxels that have that size up to a hundredth stay where they are, so that nothing is interpolated.
    """
    turned = reorient(reference, AXES)
    factors = spacing / turned.spacing
    factors[np.abs(factors - 1) <= _TOLERANCE] = 1
    i, j, k = np.maximum(1, np.round(np.array(turned.grid) / factors)).astype(int).tolist()
    return turned.affine.scaled(factors), (i, j, k)


def moved(volume: V, transform: Transform) -> V:
    """A volume of the moving world, put where a rigid transform says that it lies in the fixed world."""
    return replace(volume, affine=Affine(transform.matrix).inverse() @ volume.affine)


def lay(
    sources: Mapping[Modality, Placed], reference: Modality, mask: LabelVolume | None, spacing: float
) -> Job[tuple[dict[Modality, Volume], LabelVolume]]:
    """Bring sequences onto the working grid and z-score them, as a job.

    Parameters
    ----------
    sources
        The sequences.
    reference
        The one that the grid is made for.
    mask
        The brain in the world of the reference; None takes what is not background in any sequence without skull.
    spacing
        Of the working grid, millimetres.

    Yields
    ------
    Progress
        Of the sequences.

    Returns
    -------
    images
        z-scores, float32, 0 outside the brain.
    brain
        The brain.

    Raises
    ------
    InputError
        If there is no brain on the grid, or a sequence is constant in it.
    """
    from voxelsmith.segment.crossmodality import zscored

    affine, grid = working_grid(sources[reference].volume, spacing)
    values: dict[Modality, npt.NDArray[np.float32]] = {}
    insides: dict[Modality, Mask] = {}
    for number, (modality, source) in enumerate(sources.items()):
        yield Progress(number, len(sources), f"Resampling {MODALITY_TITLES[modality]}")
        image = np.asarray(source.volume.array)
        clean = np.where(source.inside & np.isfinite(image), image, 0).astype(np.float32)
        values[modality] = _onto(moved(replace(source.volume, array=clean), source.transform), affine, grid)
        insides[modality] = _mask_onto(source.inside, moved(source.volume, source.transform), affine, grid)
    if mask is None:
        brain = np.logical_or.reduce([insides[m] for m, source in sources.items() if source.stripped])
    else:
        brain = _mask_onto(mask.mask(), mask, affine, grid)
    if not brain.any():
        raise InputError("The brain mask does not reach the images; choose a mask of this patient.")
    images: dict[Modality, Volume] = {}
    for modality, laid in values.items():
        try:
            scores = zscored(laid, brain & insides[modality])
        except InputError as error:
            raise InputError(f"{MODALITY_TITLES[modality]}: {error}") from error
        images[modality] = Volume(scores, affine, name=sources[modality].volume.name, history=("z-scored",))
    return images, LabelVolume(brain.astype(np.uint8), affine, name="brain")


def _mask_onto(mask: Mask, volume: Volume, affine: Affine, grid: Grid) -> Mask:
    """A mask on the grid of a volume, on the working grid."""
    return np.asarray(_onto(Volume(mask.astype(np.float32), volume.affine), affine, grid) > 0.5)


def _onto(volume: Volume, affine: Affine, grid: Grid) -> npt.NDArray[np.float32]:
    """A volume on the working grid; 0 beyond it."""
    turned = reorient(volume, AXES)
    near = affine.spacing / turned.spacing
    counts = np.array(turned.grid) / np.where(near >= _COARSER, near, 1.0)
    i, j, k = np.maximum(1, np.round(counts)).astype(int).tolist()
    if (i, j, k) != turned.grid:
        factors = np.array(turned.grid) / (i, j, k)
        whole = Box((0, 0, 0), (turned.grid[0] - 1, turned.grid[1] - 1, turned.grid[2] - 1))
        region = Region(whole, (i, j, k), factors, turned.spacing * factors)
        averaged = region.average(np.asarray(turned.array))
        turned = replace(turned, array=averaged, affine=turned.affine.scaled(factors))
    out: npt.NDArray[np.float32] = np.asarray(resample_to(turned, affine, grid).array, dtype=np.float32)
    return out
