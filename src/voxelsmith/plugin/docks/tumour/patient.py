"""Patient: a folder with the sequences of one patient, read and sorted by the names of its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from voxelsmith import io
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.tumour.choices import MASK
from voxelsmith.segment.tumour.names import match_folder

LABELS = "labels"


@dataclass(frozen=True, eq=False)
class Patient:
    """What a folder holds.

    Parameters
    ----------
    volumes
        By slot, and under :data:`LABELS` a reference segmentation if there is one.
    notes
        A sentence for each doubt about the names.
    """

    volumes: Mapping[str, Volume]
    notes: tuple[str, ...]


def patient(folder: Path) -> Job[Patient]:
    """Job that reads the sequences in a folder.

    Raises
    ------
    FormatError
        If there is no such folder, or a file cannot be read.
    InputError
        If no name says which sequence a file is.
    """
    found = match_folder(folder)
    files: dict[str, Path] = dict(found.images.items())
    labels = {slot: path for slot, path in ((MASK, found.mask), (LABELS, found.labels)) if path is not None}
    volumes: dict[str, Volume] = {}
    for done, (slot, path) in enumerate({**files, **labels}.items()):
        yield Progress(done, len(files) + len(labels), path.name)
        volumes[slot] = io.read_labels(path) if slot in labels else io.read(path)
    return Patient(volumes, found.notes)
