"""Region layers: Labels layers that hold tumour regions in a label convention.

Owns their colours and names, what they carry in their metadata about the run that made them, and the way from any
Labels layer to what its labels mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from voxelsmith.core.errors import InputError
from voxelsmith.core.regions import CONVENTIONS, REGION_COLOURS, REGIONS, Convention, Region, detect
from voxelsmith.core.volume import LabelVolume
from voxelsmith.plugin.layers import NAMESPACE, from_stored, labels_like, layer_to_volume, namespaced, stored_axes
from voxelsmith.segment.tumour.result import TumourResult

MARK = "tumour"
"""Key in our part of a layer's metadata that says what its labels mean."""
_OTHER = (0.55, 0.55, 0.55)
_OPACITY = 0.5


@dataclass(frozen=True, eq=False)
class About:
    """What is known of a layer with tumour regions.

    Parameters
    ----------
    convention
        What its labels mean.
    unreliable
        Regions that cannot be relied on, and why.
    synthetic
        Titles of the sequences that the network made up.
    model
        Which weights answered; empty if a person drew it.
    warning
        A sentence if its labels can be read in several ways.
    """

    convention: Convention
    unreliable: Mapping[Region, str] = field(default_factory=dict)
    synthetic: tuple[str, ...] = ()
    model: str = ""
    warning: str = ""


def about(layer: Any) -> About:
    """What a Labels layer says of itself, or what its labels look like.

    Raises
    ------
    InputError
        If its labels are of no known convention, or its voxels cannot be written.
    """
    if (
        not isinstance(layer.data, np.ndarray)
        or not layer.data.flags.writeable
        or len(stored_axes(layer)) != layer.ndim
    ):
        raise InputError(
            f"Tumour labels are a 3-D layer that can be painted, but {layer.name!r} is read-only or has a time axis; "
            "duplicate it or choose another one."
        )
    if (noted := noted_convention(layer)) is not None:
        known = namespaced(layer)[MARK]
        return About(noted, dict(known["unreliable"]), tuple(known["synthetic"]), known["model"])
    found = detect(layer.data)
    return About(found.convention, warning=found.warning)


def noted_convention(layer: Any) -> Convention | None:
    """The convention that a layer is known to follow; None where its labels have to be looked at."""
    known = namespaced(layer).get(MARK)
    return CONVENTIONS.get(known["convention"]) if isinstance(known, Mapping) else None


def dress(layer: Any, known: About) -> None:
    """Give a layer the colours and names of its regions, and note what is known of it for certain."""
    from napari.utils.colormaps import CyclicLabelColormap

    code_of = dict(zip(known.convention.codes, REGIONS, strict=True))
    # One colour for each value of a byte: a DirectLabelColormap would say the same, but napari compiles code for it.
    table = np.zeros((256, 4), dtype=np.float32)
    for label, depth in known.convention.depths.items():
        table[label] = (*(REGION_COLOURS[REGIONS[depth - 1]] if depth else _OTHER), 1)
    for label, region in code_of.items():
        table[label] = (*REGION_COLOURS[region], 1)
    layer.colormap = CyclicLabelColormap(colors=table)
    names = dict(known.convention.names)
    layer.features = {"index": [0, *names], "name": ["background", *names.values()]}
    ours = {key: value for key, value in namespaced(layer).items() if key != MARK} | {"names": names}
    if not known.warning:
        ours[MARK] = {
            "convention": known.convention.name,
            "unreliable": dict(known.unreliable),
            "synthetic": list(known.synthetic),
            "model": known.model,
        }
    layer.metadata[NAMESPACE] = ours


def result_layer(result: TumourResult, reference: Any, known: About, name: str) -> Any:
    """A Labels layer with the regions of a result, on the layer of its reference sequence."""
    labels = result.labels(known.convention)
    layer = labels_like(reference, np.array(from_stored(reference, labels.array)), name=name)
    dress(layer, known)
    layer.opacity = _OPACITY
    return layer


def labels_of(layer: Any) -> LabelVolume:
    """The labels of a layer, without a copy."""
    volume = layer_to_volume(layer)
    assert isinstance(volume, LabelVolume)
    return volume


def turned(layer: Any, known: About, wanted: Convention) -> About:
    """Take the labels of a layer for those of another convention where that was open, else write them in it.

    Raises
    ------
    InputError
        If that convention cannot tell apart what the labels tell apart.
    """
    labels = set(np.unique(layer.data).tolist()) - {0}
    now = replace(known, convention=wanted, warning="")
    if wanted.depths != known.convention.depths and not (known.warning and labels <= set(wanted.depths)):
        if own := labels - set(known.convention.codes):
            kept = " and ".join(known.convention.names[label] for label in sorted(own))
            raise InputError(
                f"{layer.name!r} has labels for {kept}, which {wanted.title} does not have; save it as it is, or erase "
                "them first."
            )
        layer.data = wanted.labels(known.convention.depth(layer.data)).astype(layer.data.dtype)
        # napari's undo history holds labels of the other convention; it goes when a layer cannot be edited.
        mode, layer.editable = layer.mode, False
        layer.editable = True
        layer.mode = mode
    dress(layer, now)
    return now
