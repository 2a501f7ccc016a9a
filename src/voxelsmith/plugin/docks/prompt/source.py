"""Sources: what a session is computed on, and which masks it can start from.

Owns the way from a layer to the one 3-D volume of real numbers that engines take: of a time series the frame that is
shown, of a colour image its luminance. Whatever was chosen on the user's behalf is said in a note.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from voxelsmith.core.errors import GeometryError, InputError, PromptError, ResourceError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import MaskPrompt
from voxelsmith.core.resample import resample_to
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.plugin.layers import layer_to_volume

if TYPE_CHECKING:
    from napari.layers import Image, Labels

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
_LARGEST_LOAD = 4 * 2**30
"""Bytes of an image that is read piece by piece, as from a Zarr store, which may be taken into memory."""


@dataclass(frozen=True)
class Source:
    """The volume of a session.

    Parameters
    ----------
    volume
        3-D, real numbers.
    frame
        Which frame of the layer it is, None if the layer has no time axis.
    note
        What was chosen on the user's behalf, a sentence or empty.
    """

    volume: Volume
    frame: int | None = None
    note: str = ""


def image_source(layer: Image, frame: int = 0) -> Source:
    """The volume to segment of an Image layer; ``frame`` is used if it has a time axis.

    Raises
    ------
    InputError
        If the layer has more axes than time and space.
    GeometryError
        If its transform is unusable.
    ResourceError
        If it is not in memory and too large to be loaded.
    """
    volume = layer_to_volume(layer)
    if volume.extra_axis == "time":
        return Source(_at_hand(volume.frame(frame)), frame, f"Working on frame {frame} of {volume.array.shape[3]}.")
    if volume.extra_axis == "channel":
        colours = _at_hand(volume).array[..., :3].astype(np.float32)
        grey = replace(volume, array=colours @ _LUMINANCE, extra_axis=None)
        return Source(grey, None, "Colours were turned into luminance.")
    return Source(_at_hand(volume))


def _at_hand(volume: Volume) -> Volume:
    """The volume with its voxels in memory; an array that is, is not copied."""
    array = volume.array
    size = math.prod(array.shape) * array.dtype.itemsize
    if not isinstance(array, np.ndarray) and size > _LARGEST_LOAD:
        raise ResourceError(
            f"Prompting loads an image that is read piece by piece, at most {_LARGEST_LOAD / 1e9:.1f} GB of it, but "
            f"{volume.name!r} has {size / 1e9:.1f} GB; crop it or open it at a lower resolution."
        )
    return replace(volume, array=np.asarray(volume.array))


def frame_of(labels: LabelVolume, frame: int | None) -> LabelVolume:
    """One frame of labels on a time series; labels of one frame are returned as they are."""
    if labels.array.ndim == 3:
        return labels
    one = labels.frame(frame or 0)
    return LabelVolume(one.array, one.affine, name=one.name)


def mask_job(layer: Labels, image: Volume, frame: int | None, only_selected: bool) -> Job[tuple[MaskPrompt, str]]:
    """Job that turns a Labels layer into a mask to start from, and a note about how.

    The layer is read here; the job computes on what was read.

    Raises
    ------
    PromptError
        If the layer has no such label.
    GeometryError
        From the job, if the layer lies beside the image.
    """
    labels = frame_of(_labels_of(layer), frame)
    array = np.asarray(labels.array)
    mask = array == layer.selected_label if only_selected else array != 0
    what = f"label {layer.selected_label}" if only_selected else "any label"
    if not mask.any():
        raise PromptError(f"A mask to start from needs voxels, but {layer.name!r} has none with {what}.")
    return _onto(replace(labels, array=mask.astype(np.uint8)), image)


def _onto(labels: LabelVolume, image: Volume) -> Job[tuple[MaskPrompt, str]]:
    yield Progress(0, 1, "Reading the mask")
    if image.same_grid(labels):
        return MaskPrompt.cropped(labels.array), f"Started from {labels.name!r}."
    moved = resample_to(labels, image.affine, image.grid, order=0).array
    if not moved.any():
        raise GeometryError(
            f"{labels.name!r} and {image.name!r} do not overlap in space, so there is nothing to start from; "
            "register them first or choose another mask."
        )
    return MaskPrompt.cropped(moved), f"Started from {labels.name!r}, resampled onto the grid of {image.name!r}."


def _labels_of(layer: Any) -> LabelVolume:
    volume = layer_to_volume(layer)
    if not isinstance(volume, LabelVolume):
        raise InputError(f"A mask to start from is a Labels layer, but {layer.name!r} is not.")
    return volume
