"""Findings: what the user should know about the input before a run, a sentence each, and how grave it is.

Owns the record, and what can be said of a single sequence: axes, values that are not numbers, a skull, a brain of which
a part is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from voxelsmith.core.prompts import Box
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.segment.tumour import brain
from voxelsmith.segment.tumour.names import MODALITY_TITLES, Modality

_FEWEST_VOXELS = 8
_SMALLEST_BRAIN_ML = 700.0
_SHORTEST_BRAIN_MM = 95.0


@dataclass(frozen=True)
class Finding:
    """One thing to know.

    Parameters
    ----------
    severity
        An "error" forbids the run, a "warning" may spoil the result, a "note" tells what will be done.
    sentence
        What was expected, what came, what to do.
    modalities
        The sequences that it is about.
    """

    severity: Literal["error", "warning", "note"]
    sentence: str
    modalities: tuple[Modality, ...] = ()


@dataclass(frozen=True, eq=False)
class Seen:
    """One sequence, looked at.

    Parameters
    ----------
    volume
        The sequence.
    inside : bool array, shape (I, J, K)
        What is not background; None if the sequence cannot be used at all.
    stripped
        Whether that could be a brain without its skull.
    findings
        What there is to say.
    """

    volume: Volume
    inside: brain.Mask | None
    stripped: bool
    findings: tuple[Finding, ...]

    @property
    def brain_ml(self) -> float:
        """Millilitres that are not background."""
        return 0.0 if self.inside is None else np.count_nonzero(self.inside) * self.volume.affine.voxel_volume / 1000

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """How far the part that is not background reaches along i, j and k, in millimetres."""
        if self.inside is None or not self.inside.any():
            return 0.0, 0.0, 0.0
        i, j, k = (np.array(Box.around(self.inside).shape) * self.volume.spacing).tolist()
        return i, j, k


def look_at(modality: Modality, volume: Volume) -> tuple[Finding, ...]:
    """What can be said of one sequence by itself."""
    return see(modality, volume).findings


def see(modality: Modality, volume: Volume) -> Seen:
    """Look at one sequence."""
    title = MODALITY_TITLES[modality]
    unusable = _unusable(title, volume)
    if unusable:
        return Seen(volume, None, False, (Finding("error", unusable, (modality,)),))
    array = np.asarray(volume.array)
    inside = brain.foreground(array)
    values = array[inside]
    values = values[np.isfinite(values)]
    if not values.size or values.min() == values.max():
        sentence = (
            f"{title} should show a brain, but {volume.name!r} has the same value everywhere; choose another file."
        )
        return Seen(volume, None, False, (Finding("error", sentence, (modality,)),))
    stripped = brain.is_stripped(array, inside, volume.affine.voxel_volume)
    seen = Seen(volume, inside, stripped, ())
    findings = tuple(Finding("warning", sentence, (modality,)) for sentence in _doubts(title, seen))
    return Seen(volume, inside, stripped, findings)


def plain(volume: Volume) -> Volume:
    """An image, also where its file looked like labels."""
    if isinstance(volume, LabelVolume):
        return Volume(volume.array, volume.affine, volume.name, volume.units, volume.extra_axis, volume.history)
    return volume


def _unusable(title: str, volume: Volume) -> str:
    """Why a sequence cannot be used, or an empty sentence."""
    if volume.array.ndim != 3:
        kind = "time points" if volume.extra_axis == "time" else "channels"
        return f"{title} is one 3-D image, but {volume.name!r} has {volume.array.shape[3]} {kind}; choose one of them."
    if volume.array.dtype.kind not in "fiub":
        return f"{title} holds real numbers, but {volume.name!r} holds {volume.array.dtype}; convert it first."
    if min(volume.grid) < _FEWEST_VOXELS:
        size = " x ".join(map(str, volume.grid))
        return (
            f"{title} needs at least {_FEWEST_VOXELS} voxels along each axis, but {volume.name!r} has {size}; choose a "
            "series of the whole head."
        )
    if not np.isfinite(volume.array).any():
        return f"{title} should show a brain, but {volume.name!r} has no finite value; choose another file."
    return ""


def _doubts(title: str, seen: Seen) -> Iterator[str]:
    array, inside = np.asarray(seen.volume.array), seen.inside
    if inside is not None and array.dtype.kind == "f":
        bad = int(np.count_nonzero(~np.isfinite(array[inside])))
        if bad:
            yield (
                f"{title} has {bad} voxels in the brain that are NaN or infinite; they are taken as background, so "
                "export the image again if there should be none."
            )
    if not seen.stripped:
        return
    shortest = min(seen.extent_mm)
    if seen.brain_ml < _SMALLEST_BRAIN_ML or shortest < _SHORTEST_BRAIN_MM:
        yield (
            f"{title} shows {seen.brain_ml:.0f} mL that reach over {shortest:.0f} mm at the narrowest, but a brain has "
            f"about 1200 mL and more than {_SHORTEST_BRAIN_MM:.0f} mm; check that no part is cut off and that the "
            "voxel size is right."
        )
