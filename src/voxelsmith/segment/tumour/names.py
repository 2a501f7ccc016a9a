"""Which file is which sequence, by its name.

Owns the names that the BraTS challenges gave their files from 2013 to 2024 (``MR_T1c``, ``_t1ce``, ``-t1n``, ``-t2f``
and so on), and the words that clinics put into theirs. A guess is for the user to correct: what was passed over is told
in a sentence, and nothing is taken twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.core.volume import Volume
from voxelsmith.io.registry import READ_PATTERNS

Modality: TypeAlias = Literal["t1", "t1c", "t2", "flair"]

MODALITIES: tuple[Modality, ...] = ("t1", "t1c", "t2", "flair")
MODALITY_TITLES: Mapping[Modality, str] = {"t1": "T1", "t1c": "T1 with contrast", "t2": "T2", "flair": "FLAIR"}
MSD_CHANNELS: tuple[Modality, ...] = ("flair", "t1", "t1c", "t2")
"""The order of the channels in files of the Medical Segmentation Decathlon, task 1."""

# T1 with contrast is written in one word or in several: t1ce, T1 post Gd.
_CONTRAST = re.compile(r"c|ce|\+c|gd|gad|gado|gadolinium|post|postgd|postcontrast|contrast|enhanced|enh|km|cm|kontrast")
_WITHOUT = {"pre", "no", "non", "without", "native", "nativ", "plain", "ohne", "precontrast", "nocontrast"}
_PLANE = r"(?:ax|tra|cor|sag|2d|3d)?"
_T1 = re.compile(rf"{_PLANE}t1(?!\d)(?:wi?)?(.*)")
_T2 = re.compile(rf"{_PLANE}t2(?!f|\*|star|\d).*")
_FLAIR = re.compile(rf"{_PLANE}(?:t2)?w?fla(?:ir)?.*|t2f|darkfluid")
_T1_SEQUENCES = {"mprage", "mpr", "spgr", "fspgr", "bravo", "vibe", "tfl"}
_OTHER = re.compile(
    r"adc|dwi|dti|diff.*|trace.*|swi|swan|gre|t2\*|t2star|mra|tof|asl|perf.*|dsc|dce|bold|pd|loc.*|scout|phase|b\d+"
)
_LABELS = {"seg", "segm", "segmentation", "ot", "label", "labels", "gt", "truth", "groundtruth"}
_TUMOUR = {"tumor", "tumour"}
_MASK = {"mask", "brainmask"}


@dataclass(frozen=True)
class Matched:
    """What the names of files say.

    Parameters
    ----------
    images
        The file or folder of each sequence that was found.
    labels, mask
        A reference segmentation and a brain mask, if there are.
    left
        What was not taken.
    notes
        A sentence for each doubt.
    """

    images: Mapping[Modality, Path]
    labels: Path | None
    mask: Path | None
    left: tuple[Path, ...]
    notes: tuple[str, ...]


def modality_of(name: str) -> Modality | None:
    """The sequence that a file, folder or layer of this name holds; None if the name does not say."""
    words = _words(name)
    if not words or _is_labels(words) or _is_mask(words) or any(_OTHER.fullmatch(word) for word in words):
        return None
    t1 = [found[1] for word in words if (found := _T1.fullmatch(word))]
    t2 = any(_T2.fullmatch(word) for word in words)
    flair = any(_FLAIR.fullmatch(word) for word in words) or ("dark" in words and "fluid" in words)
    # A "T1 FLAIR" is a T1 whose fluid is dark, as it is anyway.
    if t1 and not t2:
        return "t1c" if _has_contrast(words, t1) else "t1"
    if flair:
        return "flair"
    if t2:
        return "t2" if not t1 else None
    if _T1_SEQUENCES & set(words):
        return "t1c" if _has_contrast(words, []) else "t1"
    return None


def match_files(paths: Iterable[Path]) -> Matched:
    """Sort files, or folders with a series each, by their names.

    Of several for one sequence the one with the shortest name is taken, and a note says so.
    """
    images: dict[Modality, Path] = {}
    labels: Path | None = None
    mask: Path | None = None
    left: list[Path] = []
    notes: list[str] = []
    for path in sorted(paths, key=lambda p: (len(p.name), p.name)):
        words = _words(path.name)
        found = modality_of(path.name)
        if found is not None and found not in images:
            images[found] = path
        elif found is not None:
            left.append(path)
            notes.append(
                f"{path.name} looks like {MODALITY_TITLES[found]} as well, but {images[found].name} was taken; choose "
                "the other one if that is wrong."
            )
        elif _is_mask(words) and mask is None:
            mask = path
        elif (_LABELS | _TUMOUR) & set(words) and labels is None:
            labels = path
        else:
            left.append(path)
    ordered = {modality: images[modality] for modality in MODALITIES if modality in images}
    return Matched(ordered, labels, mask, tuple(left), tuple(notes))


def match_folder(folder: Path) -> Matched:
    """Sort what lies in a folder: volume files, and folders with a DICOM series each.

    Raises
    ------
    FormatError
        If there is no such folder.
    InputError
        If no name in it says T1, T1c, T2 or FLAIR.
    """
    if not folder.is_dir():
        raise FormatError(
            f"A patient's sequences lie in a folder, but there is no folder {folder}; check the spelling."
        )
    inside = [p for p in folder.iterdir() if not p.name.startswith(".") and (p.is_dir() or _is_volume(p))]
    matched = match_files(inside)
    if not matched.images:
        names = ", ".join(sorted(p.name for p in inside)[:4]) or "nothing that can be opened"
        raise InputError(
            f"Names of sequences say t1, t1c, t2 or flair as those of BraTS do, but {folder} has {names}; rename the "
            "files, or say which is which."
        )
    return matched


def split_channels(volume: Volume) -> dict[Modality, Volume]:
    """The sequences of one 4-D volume with the channels of the Medical Segmentation Decathlon.

    Raises
    ------
    InputError
        If it has not four channels.
    """
    if volume.array.ndim != 4 or volume.array.shape[3] != len(MSD_CHANNELS):
        raise InputError(
            "One file for all sequences has four channels, FLAIR, T1, T1c and T2, as in the Medical Segmentation "
            f"Decathlon, but {volume.name!r} has shape {tuple(volume.array.shape)}; give each sequence by itself."
        )
    frames = {modality: volume.frame(number) for number, modality in enumerate(MSD_CHANNELS)}
    return {modality: replace(frames[modality], name=f"{volume.name} {modality}") for modality in MODALITIES}


def _is_volume(path: Path) -> bool:
    return any(path.match(pattern) or path.name.lower().endswith(pattern[1:]) for pattern in READ_PATTERNS)


def _words(name: str) -> list[str]:
    """Lower-case words of a name without its ending."""
    stem = name.lower()
    for pattern in READ_PATTERNS:
        if stem.endswith(pattern[1:]):
            stem = stem[: -len(pattern) + 1]
            break
    return [word for word in re.split(r"[^a-z0-9+*]+", stem) if word]


def _has_contrast(words: list[str], rests: list[str]) -> bool:
    """Whether words, or what follows "t1" in one of them, speak of a contrast agent."""
    parts = {*words, *rests}
    if parts & _WITHOUT:
        return False
    return any(_CONTRAST.fullmatch(part) for part in parts)


def _is_labels(words: list[str]) -> bool:
    return bool(_LABELS & set(words))


def _is_mask(words: list[str]) -> bool:
    return bool(_MASK & set(words))
