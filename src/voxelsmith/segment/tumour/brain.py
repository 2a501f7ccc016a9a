"""Where the brain is: what is not background, and whether that is a brain without its skull.

Owns how the background of a skull-stripped image is told: one value, not necessarily 0, that fills the border of the
image. Owns the optional package deepbet (Fisch et al., Human Brain Mapping 2024; MIT licence, weights in the package),
which finds the brain in images that still have their skull.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.connectivity import fill_cavities
from voxelsmith.core.errors import ModelUnavailableError
from voxelsmith.core.prompts import Box
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.segment.tumour.names import Modality

Mask = npt.NDArray[np.bool_]

LARGEST_BRAIN_ML = 2200.0
"""No brain has more; a head has."""

_BORDER_SHARE = 0.5
# deepbet learned from T1 without contrast.
_FOR_DEEPBET: tuple[Modality, ...] = ("t1", "t1c", "t2", "flair")


def background(array: npt.NDArray[Any]) -> float | None:
    """The value that at least half of the border of an image (I, J, K) has, NaN included; None if there is none."""
    faces = [np.asarray(np.moveaxis(array, axis, 0)[end]).ravel() for axis in range(3) for end in (0, -1)]
    border = np.concatenate(faces).astype(np.float64)
    nan = np.isnan(border)
    if nan.mean() >= _BORDER_SHARE:
        return float("nan")
    values, counts = np.unique(border[~nan], return_counts=True)
    commonest = int(np.argmax(counts))
    return float(values[commonest]) if counts[commonest] >= _BORDER_SHARE * border.size else None


def foreground(array: npt.NDArray[Any]) -> Mask:
    """What is finite and not background, without cavities; all that is finite where there is no background."""
    empty = background(array)
    inside: Mask = np.isfinite(array)
    if empty is not None and not np.isnan(empty):
        inside &= array != array.dtype.type(empty)
    if inside.any():
        part = Box.around(inside).slices
        inside[part] = fill_cavities(inside[part])
    return inside


def is_stripped(array: npt.NDArray[Any], inside: Mask, voxel_volume: float) -> bool:
    """Whether an image has background, and what is not background could be a brain.

    Parameters
    ----------
    array : shape (I, J, K)
        The image.
    inside
        Its :func:`foreground`.
    voxel_volume
        In cubic millimetres.
    """
    return background(array) is not None and bool(np.count_nonzero(inside) * voxel_volume <= 1000 * LARGEST_BRAIN_ML)


def can_strip() -> bool:
    """Whether deepbet is installed."""
    return importlib.util.find_spec("deepbet") is not None


def strip(images: Mapping[Modality, Volume]) -> tuple[Modality, LabelVolume]:
    """The sequence in which deepbet looks for the brain, and what it finds, on the grid of that one.

    Raises
    ------
    ModelUnavailableError
        If deepbet is not installed or finds no brain.
    """
    if not can_strip():
        raise ModelUnavailableError(
            "Finding the brain needs the package deepbet; install it with pip install napari-voxelsmith[strip], or "
            "give a brain mask."
        )
    import nibabel as nib
    from deepbet import BrainExtraction

    modality = next(m for m in _FOR_DEEPBET if m in images)
    image = images[modality]
    nifti: Any = nib.Nifti1Image
    values = np.nan_to_num(np.asarray(image.array, dtype=np.float32))
    try:
        _, found, _ = BrainExtraction(no_gpu=True).run(nifti(values, image.affine.matrix))
    except (AssertionError, ValueError) as error:
        raise ModelUnavailableError(f"deepbet found no brain in {image.name!r}; give a brain mask instead.") from error
    return modality, image.labels(np.asarray(found.dataobj).astype(np.uint8), "brain")
