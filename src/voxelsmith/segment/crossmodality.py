"""The tumour network as a file, and the intensities that it expects.

Owns how its weights are found and read, those that ship and those of a training of one's own; and z-scoring in the
brain, which training and use have in common.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from voxelsmith.core.errors import FormatError, InputError, ModelUnavailableError
from voxelsmith.models.crossmodality import Architecture, CrossModalityNet
from voxelsmith.weights import containers, save, store

WEIGHTS = "weights.safetensors"
"""The file in a run folder that a training leaves for others to use."""

SHIPPED = ("cmf-2", "cmf-4")
"""Names of weights that ship: for T1c and FLAIR, and for all four sequences."""

HIGHEST = 5.0
"""z-scores beyond this are cut."""

_ARCHITECTURE = "architecture"
_LEAST_DEVIATION = 1e-6


def zscored(array: npt.NDArray[np.number], brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Intensities as the network expects them: (x - mean) / standard deviation over the brain, cut at -5 and 5.

    Parameters
    ----------
    array, shape (I, J, K)
        One sequence.
    brain, shape (I, J, K)
        Where the brain is; elsewhere the result is 0.

    Raises
    ------
    InputError
        If the brain is empty, or the sequence is constant or not finite in it.
    """
    inside = np.asarray(array)[brain].astype(np.float64)
    deviation = float(inside.std()) if inside.size else 0.0
    if not deviation > _LEAST_DEVIATION:
        raise InputError(
            "A sequence should vary within the brain, but this one is constant or not finite there, or the brain mask "
            "is empty; choose another file or another mask."
        )
    out = np.zeros(brain.shape, dtype=np.float32)
    out[brain] = np.clip((inside - inside.mean()) / deviation, -HIGHEST, HIGHEST)
    return out


def save_network(architecture: Architecture, state: Mapping[str, Tensor], path: Path, about: Mapping[str, str]) -> None:
    """Write weights as a file that :func:`load_network` reads; ``about`` is further text that travels in it."""
    save(state, path, {**about, _ARCHITECTURE: json.dumps(architecture.record())})


def load_network(source: Path | str) -> CrossModalityNet:
    """The network of weights that ship, of a file, or of the run folder of a training; ready to answer.

    Parameters
    ----------
    source
        One of :data:`SHIPPED`, or a path.

    Raises
    ------
    ModelUnavailableError
        If there are no such weights, or they cannot be read.
    FormatError
        If the file holds no weights of a tumour network, or damaged ones.
    """
    if source in SHIPPED:
        file = store.verify(str(source))
    else:
        path = Path(source)
        file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise ModelUnavailableError(
            f"{file} should be a file with weights of the tumour network, but there is none; name one, or the run "
            "folder of voxelsmith train cmf."
        )
    with torch.device("meta"):
        network = CrossModalityNet(_architecture(file))
    network.load_state_dict(containers.load(file, network), assign=True)
    return network.eval()


def _architecture(file: Path) -> Architecture:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            about = opened.metadata() or {}
        return Architecture.from_record(json.loads(about[_ARCHITECTURE]))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise FormatError(
            f"{file} should hold weights of the tumour network as a training writes them, but does not say of which "
            "network they are; choose the file or the folder that voxelsmith train cmf wrote."
        ) from error
