"""Sequences under each other's name: told from how bright parts of the brain are.

Owns three relations that hold in MR images of brains with and without tumours. On T2 the fluid around the brain is
brighter than tissue, on all others it is darker. FLAIR darkens that fluid more than T1 with contrast does, and shows
white matter less bright against the cortex. A contrast agent makes a T1 brighter in places and darker nowhere. The
first is sure; the others are weaker, so they are told as a doubt. Nothing is exchanged without the user.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.segment.tumour.names import MODALITY_TITLES, Modality

FloatArray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

# Depths below the surface of the brain in millimetres: fluid and cortex, cortex, white matter.
_SURFACE, _CORTEX, _WHITE = (0.0, 2.5), (2.0, 5.0), (10.0, 20.0)
_FLUID = 1.5
_BRIGHT_SURFACE, _DARK_SURFACE = -0.3, -0.5
_TAIL = 0.1
_LEAST_TAIL = 0.3
_LEAST_VOXELS = 50


@dataclass(frozen=True)
class Look:
    """What one sequence looks like, in interquartile ranges from the median of the brain.

    Parameters
    ----------
    surface
        Median of the outermost millimetres.
    fluid
        Share of them that is much darker than the median, 0 to 1.
    white
        By how much white matter is brighter than the cortex.
    """

    surface: float
    fluid: float
    white: float


def look(values: FloatArray, brain: Mask, spacing: npt.ArrayLike) -> Look | None:
    """Measure a sequence (I, J, K) in its brain; None if the brain is too small or all the same."""
    deep = ndimage.distance_transform_edt(np.pad(brain, 1), sampling=np.asarray(spacing).tolist())[1:-1, 1:-1, 1:-1]
    parts = [values[brain & (deep > low) & (deep <= high)] for low, high in (_SURFACE, _CORTEX, _WHITE)]
    if min(len(part) for part in parts) < _LEAST_VOXELS:
        return None
    low, middle, high = np.percentile(values[brain], (25, 50, 75)).tolist()
    if high <= low:
        return None
    surface, cortex, white = ((part - middle) / (high - low) for part in parts)
    return Look(
        float(np.median(surface)), float(np.mean(surface < -_FLUID)), float(np.median(white) - np.median(cortex))
    )


def doubts(looks: Mapping[Modality, Look]) -> Iterator[tuple[tuple[Modality, ...], str]]:
    """The sequences that seem to be under another's name, and a sentence for the user."""
    bright = [m for m, seen in looks.items() if m != "t2" and seen.surface > _BRIGHT_SURFACE]
    dark_t2 = "t2" in looks and looks["t2"].surface < _DARK_SURFACE
    if dark_t2 and len(bright) == 1:
        other = bright[0]
        yield (
            ("t2", other),
            f"T2 and {MODALITY_TITLES[other]} seem to be exchanged: the fluid around the brain is bright on T2 and "
            f"dark on the others, but here it is bright on {MODALITY_TITLES[other]}; swap them.",
        )
        return
    if dark_t2:
        yield (
            ("t2",),
            "What is given as T2 does not look like one: the fluid around the brain should be bright, but is dark; "
            "check which file it is.",
        )
    for modality in bright:
        yield (
            (modality,),
            f"What is given as {MODALITY_TITLES[modality]} looks like a T2: the fluid around the brain should be dark, "
            "but is bright; check which file it is.",
        )
    if "flair" in looks and "flair" not in bright:
        yield from _darker_than_flair(
            {m: looks[m] for m in looks if m in ("t1", "t1c") and m not in bright}, looks["flair"]
        )


def _darker_than_flair(others: Mapping[Modality, Look], flair: Look) -> Iterator[tuple[tuple[Modality, ...], str]]:
    """The T1, with or without contrast, that looks more like a FLAIR than the FLAIR, if there is one."""
    wrong = [m for m, seen in others.items() if seen.fluid > flair.fluid and seen.white < flair.white]
    if wrong:
        worst = max(wrong, key=lambda m: others[m].fluid)
        yield (
            (worst, "flair"),
            f"{MODALITY_TITLES[worst]} and FLAIR may be exchanged: on FLAIR the fluid should be darker and "
            "white matter less bright than on the other; look at both, and swap them if so.",
        )


def contrast_on_wrong_side(t1: FloatArray, t1c: FloatArray, brain: Mask) -> bool:
    """Whether bright places are on T1 rather than on T1 with contrast; both on one grid (I, J, K), aligned.

    Both are set to quartiles at -0.5 and 0.5; then the thousandth of the brain where they differ most upwards is
    compared with that where they differ most downwards.
    """
    if np.count_nonzero(brain) < _LEAST_VOXELS:
        return False
    levels = []
    for values in (t1, t1c):
        low, high = np.percentile(values[brain], (25, 75)).tolist()
        if high <= low:
            return False
        levels.append((values[brain] - (low + high) / 2) / (high - low))
    down, up = np.percentile(levels[1] - levels[0], (_TAIL, 100 - _TAIL)).tolist()
    return bool(-down > up + _LEAST_TAIL)
