"""A folder of patients with tumours, as the BraTS challenges and the Medical Segmentation Decathlon lay it out.

Owns which patients there are, who of them judges, and how one is read: sequences by the names of their files, labels by
a convention that is detected over several patients and told, everything on voxels of 1 mm with axes to left, posterior
and superior, z-scored in the brain and cut to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voxelsmith.core.errors import InputError
from voxelsmith.core.regions import Convention, convention, detect
from voxelsmith.core.resample import reorient, resample_to_spacing
from voxelsmith.core.volume import Volume
from voxelsmith.io import read, read_labels
from voxelsmith.segment.crossmodality import zscored
from voxelsmith.segment.tumour.names import MSD_CHANNELS, match_folder
from voxelsmith.train.crossmodality_data import Case
from voxelsmith.train.tumours import bounding_box

_DECATHLON = ("imagesTr", "labelsTr")
_ENDINGS = (".nii.gz", ".nii")
_VOLUMES = (*_ENDINGS, ".mha")
_DEEPEST = 2
_LOOKED_AT = 8
_EVERY = 5
_TOLERANCE_MM = 0.01


@dataclass(frozen=True)
class CaseFiles:
    """The files of a patient, read when it is their turn.

    Parameters
    ----------
    name
        Of the patient.
    images
        File of each sequence, or one file with all of them in the Decathlon's order under "msd".
    labels, mask
        The tumour, and the brain if a file says where it is.
    labelled_as
        What the labels mean.
    modalities
        Sequences of the network, in the order of its channels.
    """

    name: str
    images: tuple[tuple[str, Path], ...]
    labels: Path
    mask: Path | None
    labelled_as: Convention
    modalities: tuple[str, ...]

    def read(self) -> Case:
        """The patient.

        Raises
        ------
        FormatError, GeometryError
            If a file cannot be read, or lies on another grid than the others.
        InputError
            If labels are not of the convention, or a sequence is constant in the brain.
        """
        volumes = self._sequences()
        first = next(iter(volumes.values()))
        labels = read_labels(self.labels)
        mask: Volume | None = None if self.mask is None else read_labels(self.mask)
        for other in (*volumes.values(), labels, *(() if mask is None else (mask,))):
            first.require_same_grid(other)
        depth: Volume = labels.labels(self.labelled_as.depth(np.asarray(labels.array)))
        if mask is None:
            # Released volumes are stripped: what lies outside the brain has the value of the corner.
            arrays = [np.asarray(volume.array) for volume in volumes.values()]
            mask = first.labels(np.any([array != array.flat[0] for array in arrays], axis=0).astype(np.uint8))
        brain, depth = _laid_out(mask), _laid_out(depth)
        inside = np.asarray(brain.array) > 0
        box = bounding_box(inside)
        x = np.zeros((len(self.modalities), *inside[box].shape), dtype=np.float32)
        for name, volume in volumes.items():
            x[self.modalities.index(name)] = zscored(np.asarray(_laid_out(volume).array), inside)[box]
        available = np.array([name in volumes for name in self.modalities])
        return Case(self.name, x, available, np.asarray(depth.array)[box].astype(np.uint8))

    def _sequences(self) -> dict[str, Volume]:
        """The sequences that the network knows."""
        if self.images[0][0] == "msd":
            whole = read(self.images[0][1])
            found: dict[str, Volume] = {name: whole.frame(n) for n, name in enumerate(MSD_CHANNELS)}
        else:
            found = {name: read(path).frame() for name, path in self.images}
        return {name: volume for name, volume in found.items() if name in self.modalities}


@dataclass(frozen=True, eq=False)
class TumourFolder:
    """What a folder holds.

    Parameters
    ----------
    train, judges
        Patients to train on, and to validate on.
    labelled_as
        What their labels mean.
    notes
        What was found, and what is doubtful, in sentences.
    """

    train: tuple[CaseFiles, ...]
    judges: tuple[CaseFiles, ...]
    labelled_as: Convention
    notes: tuple[str, ...]


def tumour_folder(
    folder: Path,
    modalities: Sequence[str],
    *,
    labelled_as: str | None = None,
    validate: Collection[str] | None = None,
    left_out: Collection[str] = (),
) -> TumourFolder:
    """Find the patients of a folder.

    Parameters
    ----------
    folder
        Either a folder for each patient, with files named as BraTS names them, or ``imagesTr`` and ``labelsTr`` of the
        Decathlon's task 1.
    modalities
        Sequences of the network; a patient has one of them at least.
    labelled_as
        Name of a label convention, see :data:`voxelsmith.core.regions.CONVENTIONS`; None to detect it.
    validate
        Names of the patients that judge; None for every fifth one.
    left_out
        Names of patients that are not looked at.

    Raises
    ------
    InputError
        If there is no patient with labels and one of the sequences, a name is of no patient, or labels are of no known
        convention.
    """
    found = _decathlon(folder) if (folder / _DECATHLON[0]).is_dir() else _by_patient(folder)
    strange = sorted({*(validate or ()), *left_out} - {name for name, *_ in found})
    if strange:
        raise InputError(f"{folder} has no patient {strange[0]}; it has {', '.join(name for name, *_ in found[:5])}.")
    found = [one for one in found if one[0] not in left_out and _known(one[1], modalities)]
    if not found:
        raise InputError(
            f"{folder} should hold a folder for each patient with labels and sequences like {modalities[-1]}.nii.gz, "
            f"or {' and '.join(_DECATHLON)}, but it has no such patient; check the names."
        )
    notes = [f"{len(found)} patients with labels."]
    if labelled_as is None:
        chosen, more = _detected([labels for _, _, labels, _ in found])
        notes += more
    else:
        chosen = convention(labelled_as)
    means = ", ".join(f"{value} {name}" for value, name in chosen.names.items())
    notes.append(f"Labels are read as those of {chosen.title}: {means}.")
    judging = {name for n, (name, *_) in enumerate(found, 1) if n % _EVERY == 0} if validate is None else set(validate)
    files = [CaseFiles(name, images, labels, mask, chosen, tuple(modalities)) for name, images, labels, mask in found]
    train, judges = ([one for one in files if (one.name in judging) == judge] for judge in (False, True))
    if not train:
        raise InputError(f"All {len(found)} patients of {folder} judge, and none is left to learn from; name fewer.")
    return TumourFolder(tuple(train), tuple(judges), chosen, tuple(notes))


_Found = tuple[str, tuple[tuple[str, Path], ...], Path, Path | None]


def _by_patient(folder: Path, depth: int = _DEEPEST) -> list[_Found]:
    """The patients in a folder, or in folders in it, such as HGG and LGG."""
    found: list[_Found] = []
    for inside in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not inside.is_dir():
            continue
        try:
            matched = match_folder(inside)
        except InputError:
            found += _by_patient(inside, depth - 1) if depth else []
            continue
        if matched.labels is not None:
            images: tuple[tuple[str, Path], ...] = tuple((m, _file(path)) for m, path in matched.images.items())
            found.append((inside.name, images, _file(matched.labels), matched.mask))
    return found


def _file(path: Path) -> Path:
    """The volume in a folder of its own, as in 2013 to 2015; a file, or a folder with a DICOM series, as it is."""
    inside = [one for one in path.iterdir() if one.name.endswith(_VOLUMES)] if path.is_dir() else []
    return inside[0] if len(inside) == 1 else path


def _decathlon(folder: Path) -> list[_Found]:
    images, labels = (folder / name for name in _DECATHLON)
    return [
        (path.name.split(".")[0], (("msd", path),), labels / path.name, None)
        for path in sorted(images.iterdir())
        if path.name.endswith(_ENDINGS) and not path.name.startswith(".") and (labels / path.name).is_file()
    ]


def _known(images: tuple[tuple[str, Path], ...], modalities: Sequence[str]) -> bool:
    return any(name == "msd" or name in modalities for name, _ in images)


def _detected(labels: list[Path]) -> tuple[Convention, list[str]]:
    """The convention that most of a few patients' labels follow, and what is doubtful about it."""
    looked_at = labels[:: max(1, len(labels) // _LOOKED_AT)][:_LOOKED_AT]
    guesses = [detect(np.asarray(read_labels(path).array)) for path in looked_at]
    sure = [guess for guess in guesses if not guess.warning] or guesses
    name = Counter(guess.convention.name for guess in sure).most_common(1)[0][0]
    chosen = next(guess for guess in sure if guess.convention.name == name)
    return chosen.convention, [chosen.warning] if chosen.warning else []


def _laid_out(volume: Volume) -> Volume:
    """On voxels of 1 mm, axes to left, posterior and superior."""
    volume = reorient(volume, "LPS")
    if np.abs(volume.spacing - 1).max() > _TOLERANCE_MM:
        volume = resample_to_spacing(volume, (1.0, 1.0, 1.0))
    return volume
