"""Material: what a segmentation is computed from, taken out of the chosen layers.

Owns the way from layers to a request. :func:`gather` looks at the layers, in the main thread; :func:`load` reads what
is not in memory, in a job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.plugin.docks.prompt.source import Source, frame_of, frame_shown, image_source
from voxelsmith.plugin.docks.prompt.source import load as load_source
from voxelsmith.plugin.docks.tumour.choices import MASK
from voxelsmith.plugin.layers import layer_to_volume
from voxelsmith.segment.tumour.names import MODALITIES, Modality
from voxelsmith.segment.tumour.request import TumourRequest, TumourSettings


@dataclass(frozen=True, eq=False)
class Material:
    """The sequences of one patient, and the brain.

    Parameters
    ----------
    sources
        By sequence.
    mask
        Labels that are not 0 in the brain; None if there are none.
    """

    sources: Mapping[Modality, Source]
    mask: LabelVolume | None = None

    @property
    def volumes(self) -> dict[Modality, Volume]:
        """The images by sequence."""
        return {modality: source.volume for modality, source in self.sources.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen on the user's behalf, a sentence each."""
        return tuple(f"{source.volume.name}: {source.note}" for source in self.sources.values() if source.note)

    def request(self, settings: TumourSettings) -> TumourRequest:
        """What is asked for, with these settings."""
        return TumourRequest(self.volumes, self.mask, settings)


def gather(chosen: Mapping[str, Any], viewer: Any) -> Material:
    """Look at the chosen layers, without reading any voxel.

    Parameters
    ----------
    chosen
        Layers by slot, as :class:`~voxelsmith.plugin.docks.tumour.choices.SlotChoices` has them.
    viewer : napari.components.ViewerModel
        Whose frame counts where a layer has a time axis.

    Raises
    ------
    InputError
        If no sequence is chosen, or a layer is of no use.
    GeometryError
        If the transform of a layer is unusable.
    ResourceError
        If an image is not in memory and too large to be loaded.
    """
    layers = {modality: chosen[modality] for modality in MODALITIES if chosen[modality] is not None}
    if not layers:
        raise InputError("A tumour is looked for in at least one of T1, T1c, T2 and FLAIR; choose a layer above.")
    sources = {modality: image_source(layer, frame_shown(viewer, layer)) for modality, layer in layers.items()}
    mask = None
    if chosen[MASK] is not None:
        volume = layer_to_volume(chosen[MASK])
        assert isinstance(volume, LabelVolume)
        mask = frame_of(volume, next(iter(sources.values())).frame)
    return Material(sources, mask)


def load(material: Material) -> Job[Material]:
    """Job that brings all voxels into memory, images as 3-D volumes of real numbers."""
    sources = {}
    for modality, source in material.sources.items():
        sources[modality] = yield from load_source(source)
    mask = material.mask
    return Material(sources, None if mask is None else replace(mask, array=np.asarray(mask.array)))
