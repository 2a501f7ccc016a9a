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
from voxelsmith.plugin.layers import layer_to_volume, stored_axes

if TYPE_CHECKING:
    from napari.layers import Image, Labels

_LARGEST_LOAD = 4 * 2**30
"""Bytes of an image that is read piece by piece, as from a Zarr store, which may be taken into memory."""


@dataclass(frozen=True)
class Source:
    """The volume of a session.

    Parameters
    ----------
    volume
        3-D real numbers once it went through :func:`load`; before, it may be lazy or coloured.
    frame
        Which frame of the layer it is, None if the layer has no time axis.
    note
        What was chosen on the user's behalf, a sentence or empty.
    """

    volume: Volume
    frame: int | None = None
    note: str = ""

    @property
    def in_memory(self) -> bool:
        """Whether no voxel has to be read from elsewhere."""
        return isinstance(self.volume.array, np.ndarray)


def frame_shown(viewer: Any, layer: Any) -> int:
    """Which frame of a layer is shown; 0 if it has no time axis."""
    if layer.ndim == len(stored_axes(layer)):
        return 0
    at = layer.world_to_data(np.asarray(viewer.dims.point)[-layer.ndim :])[0]
    return int(np.clip(round(float(at)), 0, layer.data.shape[0] - 1))


def image_source(layer: Image, frame: int = 0) -> Source:
    """What to segment of an Image layer, without reading any voxel; ``frame`` is used if it has a time axis.

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
        note = f"Working on frame {frame} of {volume.array.shape[3]}."
        source = Source(volume.frame(frame), frame, note)
    elif volume.extra_axis == "channel":
        source = Source(volume, None, "Colours were turned into luminance.")
    else:
        source = Source(volume)
    array = source.volume.array
    size = math.prod(array.shape) * array.dtype.itemsize
    if not source.in_memory and size > _LARGEST_LOAD:
        raise ResourceError(
            f"An image that is read piece by piece is loaded if it has at most {_LARGEST_LOAD / 1e9:.1f} GB, but "
            f"{volume.name!r} has {size / 1e9:.1f} GB; crop it or open it at a lower resolution."
        )
    return source


def load(source: Source) -> Job[Source]:
    """Job that brings the voxels of a source into memory, as one 3-D volume of real numbers."""
    volume = source.volume
    if not source.in_memory:
        array = np.empty(volume.array.shape, volume.array.dtype)
        # Whole chunks along k, so that no chunk is read twice.
        chunks = getattr(volume.array, "chunks", None)
        ends = np.cumsum(chunks[2]) if chunks else np.arange(1, array.shape[2] + 1)
        for start, end in zip((0, *ends[:-1]), ends, strict=True):
            yield Progress(int(start), array.shape[2], f"Reading {volume.name}")
            array[:, :, start:end] = np.asarray(volume.array[:, :, start:end])
        volume = replace(volume, array=array)
    yield Progress(1, 1, f"Reading {volume.name}")
    return replace(source, volume=volume.luminance() if volume.extra_axis == "channel" else volume)


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
