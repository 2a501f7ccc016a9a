"""Nested tumour regions and the label conventions that write them down.

Owns the regions of brain tumours as the BraTS challenges score them: the enhancing tumour (ET) lies in the tumour core
(TC), which lies in the whole tumour (WT). Here they are one map of depths: 0 outside, 1 in WT only, 2 in TC but not ET,
3 in ET. A region is what is at least as deep, so no map of depths can break the nesting. Which label stands for which
depth differs from year to year (Menze et al., IEEE TMI 2015 for BraTS 2013; Bakas et al., arXiv 1811.02629 for 2017 and
2018; Baid et al., arXiv 2107.02314 for 2021; de Verdier et al., arXiv 2405.18368 for 2024) and in the Medical
Segmentation Decathlon (Antonelli et al., Nature Communications 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.prompts import Box

Region: TypeAlias = Literal["WT", "TC", "ET"]
DepthMap: TypeAlias = npt.NDArray[np.uint8]

REGIONS: tuple[Region, ...] = ("WT", "TC", "ET")
"""From the outside in; the depth at which a region begins is its place here plus one."""

REGION_TITLES: Mapping[Region, str] = {"WT": "whole tumour", "TC": "tumour core", "ET": "enhancing tumour"}
REGION_COLOURS: Mapping[Region, tuple[float, float, float]] = {
    "WT": (0.2, 0.8, 0.2),
    "TC": (0.9, 0.15, 0.15),
    "ET": (1.0, 0.85, 0.1),
}
"""Red, green and blue, 0 to 1, of what is as deep as a region begins: oedema green, core red, enhancing yellow."""

_UNKNOWN = 255


@dataclass(frozen=True, eq=False)
class Convention:
    """What the labels of a source mean.

    Parameters
    ----------
    name
        As the command line takes it, such as "brats2018".
    title
        For people.
    names
        What each label stands for.
    depths
        How deep each label lies, 0 to 3; 0 is known, but outside the whole tumour.
    codes
        The labels that are written for depths 1, 2 and 3.
    """

    name: str
    title: str
    names: Mapping[int, str]
    depths: Mapping[int, int]
    codes: tuple[int, int, int]

    def depth(self, labels: npt.NDArray[Any]) -> DepthMap:
        """The depths of an integer array of labels of any shape; InputError for labels that are not known."""
        known = np.full(max(self.depths) + 2, _UNKNOWN, np.uint8)
        known[0] = 0
        for label, depth in self.depths.items():
            known[label] = depth
        # What lies beyond the table, on either side, falls on its last entry, which stays unknown.
        last = len(known) - 1
        place = np.where((labels < 0) | (labels > last), last, labels).astype(np.intp)
        out: DepthMap = known[place]
        if (wrong := out == _UNKNOWN).any():
            strange = np.unique(labels[wrong])[:5].tolist()
            raise InputError(
                f"Labels of {self.title} are {_listed(sorted({0, *self.depths}))}, got {_listed(strange)}; choose "
                "another convention or file."
            )
        return out

    def labels(self, depth: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Depths 0 to 3 as the labels of this convention."""
        written: npt.NDArray[np.uint8] = np.array((0, *self.codes), np.uint8)[depth]
        return written


@dataclass(frozen=True, eq=False)
class Detected:
    """The convention that labels seem to follow.

    Parameters
    ----------
    convention
        The likeliest one.
    alternatives
        Others that have these labels, with another meaning.
    warning
        A sentence for the user where there are such; else empty.
    """

    convention: Convention
    alternatives: tuple[Convention, ...]
    warning: str


_NECROSIS, _OEDEMA, _ENHANCING = "necrosis", "oedema", "enhancing tumour"
_CORE = "necrotic and non-enhancing core"
_OLD = (
    {1: _NECROSIS, 2: _OEDEMA, 3: "non-enhancing core", 4: _ENHANCING},
    {1: 2, 2: 1, 3: 2, 4: 3},
    (2, 1, 4),
)
_MIDDLE = ({1: _CORE, 2: _OEDEMA, 4: _ENHANCING}, {1: 2, 2: 1, 4: 3}, (2, 1, 4))
_NEW = ({1: _CORE, 2: _OEDEMA, 3: _ENHANCING}, {1: 2, 2: 1, 3: 3}, (2, 1, 3))
_TREATED = (
    {1: "non-enhancing core", 2: "surrounding FLAIR hyperintensity", 3: _ENHANCING, 4: "resection cavity"},
    {1: 2, 2: 1, 3: 3, 4: 0},
    (2, 1, 3),
)
_DECATHLON = ({1: _OEDEMA, 2: "non-enhancing core", 3: _ENHANCING}, {1: 1, 2: 2, 3: 3}, (1, 2, 3))
_BY_YEAR = {
    **dict.fromkeys((2018, 2017, 2019, 2020, 2021, 2022), _MIDDLE),
    2023: _NEW,
    **dict.fromkeys((2013, 2014, 2015, 2016), _OLD),
    2024: _TREATED,
}

CONVENTIONS: Mapping[str, Convention] = {
    **{f"brats{year}": Convention(f"brats{year}", f"BraTS {year}", *table) for year, table in _BY_YEAR.items()},
    "msd": Convention("msd", "the Medical Segmentation Decathlon", *_DECATHLON),
}
"""The conventions by name, the usual ones first."""


def convention(name: str) -> Convention:
    """The convention of a name; InputError if there is none."""
    if name not in CONVENTIONS:
        raise InputError(f"A label convention is {', '.join(CONVENTIONS)}, got {name!r}.")
    return CONVENTIONS[name]


def detect(labels: npt.NDArray[Any]) -> Detected:
    """Which convention labels follow, by their values and by which of them lies outermost.

    A 4 without a 3 counts as enhancing tumour, which it is in all years but 2024.

    Parameters
    ----------
    labels : integer array, shape (I, J, K)
        Labels with 0 outside.

    Raises
    ------
    InputError
        If no convention has these values.
    """
    values = [int(v) for v in np.unique(labels) if v != 0]
    fitting = [c for c in CONVENTIONS.values() if set(values) <= set(c.depths)]
    if 4 in values and 3 not in values:
        fitting = [c for c in fitting if c.depths[4]]
    if not fitting:
        raise InputError(
            f"Tumour labels have values 1 to 4 as in {_titles(CONVENTIONS.values())}, got {_listed(values[:6])}; "
            "export them with one of these conventions."
        )
    meanings: dict[tuple[int, ...], Convention] = {}
    for each in fitting:
        meanings.setdefault(tuple(each.depths[v] for v in values), each)
    if len(meanings) == 1:
        return Detected(fitting[0], (), "")
    outermost = _outermost(labels, values)
    chosen, *others = sorted(meanings.values(), key=lambda c: c.depths[outermost] != 1)
    tells = chosen.depths[outermost] == 1 and any(c.depths[outermost] != 1 for c in others)
    because = f", as label {outermost} lies outermost and so should be oedema" if tells else ""
    return Detected(
        chosen,
        tuple(others),
        f"The labels {_listed(values)} mean different things in {_titles([chosen, *others])}; they were taken as those "
        f"of {chosen.title}{because}. Choose the convention if that is wrong.",
    )


def region_masks(depth: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """The masks of WT, TC and ET, shape (3, I, J, K), of depths (I, J, K)."""
    return np.stack([depth > place for place in range(len(REGIONS))])


def depth_of(masks: npt.NDArray[Any]) -> DepthMap:
    """Depths of masks of WT, TC and ET, shape (3, I, J, K): what is in ET counts as TC, and what is in TC as WT."""
    out = np.zeros(masks.shape[1:], np.uint8)
    for place, mask in enumerate(masks):
        out[np.asarray(mask, dtype=bool)] = place + 1
    return out


def keep_nested(
    labels: npt.NDArray[Any],
    region: Region,
    mask: npt.NDArray[np.bool_],
    *,
    erase: bool = False,
    convention: Convention,
) -> npt.NDArray[Any]:
    """Paint or erase a region so that ET stays in TC and TC in WT.

    Painting makes voxels at least as deep as the region begins: what is painted as WT over TC stays TC. Erasing a
    region takes along what lies inside it and leaves what lies around it: what was TC becomes oedema.

    Parameters
    ----------
    labels : integer array, shape (I, J, K)
        Labels of the convention, all of an image or a part of it.
    region
        What is painted.
    mask : bool array of the same shape
        Where.
    erase
        Whether the region is erased there.
    convention
        What the labels mean.

    Returns
    -------
    array
        New labels of the same type; voxels that are deep enough already, or shallow enough, keep their label.
    """
    if mask.shape != labels.shape:
        raise GeometryError(f"What is painted has the shape of the labels, {labels.shape}, got {mask.shape}.")
    begin = REGIONS.index(region) + 1
    depth = convention.depth(labels)
    code = (0, *convention.codes)
    out = labels.copy()
    if erase:
        out[mask & (depth >= begin)] = code[begin - 1]
    else:
        out[mask & (depth < begin)] = code[begin]
    return out


def _outermost(labels: npt.NDArray[Any], values: list[int]) -> int:
    """The label with the most voxels that touch 0."""
    part = np.pad(labels[Box.around(labels != 0).slices], 1)
    outer = np.zeros(part.shape, bool)
    empty = part == 0
    for axis in range(part.ndim):
        for step in (-1, 1):
            outer |= np.roll(empty, step, axis)
    counts = [int(np.count_nonzero(outer & (part == value))) for value in values]
    return values[int(np.argmax(counts))]


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values))


def _titles(conventions: Any) -> str:
    """Titles of conventions, those of the same table once."""
    tables: dict[tuple[tuple[int, int], ...], list[str]] = {}
    for each in conventions:
        tables.setdefault(tuple(each.depths.items()), []).append(each.title)
    shown = [titles[0] for titles in tables.values()]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
