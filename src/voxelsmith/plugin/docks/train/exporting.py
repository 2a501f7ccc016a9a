"""Exporting: the model of a run as a file or a folder for other programs.

Owns which formats the dock offers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from voxelsmith.core.progress import Job, Progress
from voxelsmith.segment import trained_export
from voxelsmith.segment.trained import TrainedModel
from voxelsmith.train.tvunet import trained_model


@dataclass(frozen=True)
class Format:
    """One format.

    Parameters
    ----------
    title
        What people read.
    ending
        Of the file; empty for a folder.
    save
        Writes a model.
    """

    title: str
    ending: str
    save: Callable[[TrainedModel, str], Path]


FORMATS: Mapping[str, Format] = {
    "checkpoint": Format("Checkpoint (safetensors)", ".safetensors", trained_export.save),
    "torchscript": Format("TorchScript", ".pt", trained_export.save_torchscript),
    "onnx": Format("ONNX", ".onnx", trained_export.save_onnx),
    "bundle": Format("MONAI bundle (folder)", "", trained_export.save_bundle),
}


def exporting(folder: Path, name: str, path: str, *, best: bool) -> Job[Path]:
    """Job that exports the model of a run.

    Parameters
    ----------
    folder
        Of the run.
    name
        A key of :data:`FORMATS`.
    path
        Where to.
    best
        Take the weights with the best validation, if there was one.
    """
    yield Progress(0, 0, "Loading the model")
    model = trained_model(folder, best=best)
    yield Progress(0, 0, f"Writing {Path(path).name}")
    return FORMATS[name].save(model, path)
