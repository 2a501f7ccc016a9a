"""Checks before a tumour is segmented: do the sequences belong together, and is what is needed there?

Owns the sentences about the request as a whole: sequences of different patients, on grids that do not meet, under each
other's name, with their skull; sequences that are missing and what cannot be relied on without them. Nothing is
refused that can be computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from voxelsmith.core.affine import FloatArray
from voxelsmith.core.errors import InputError
from voxelsmith.core.volume import Volume
from voxelsmith.segment.tumour import brain, exchanged
from voxelsmith.segment.tumour.findings import Finding, Seen, see
from voxelsmith.segment.tumour.names import MODALITY_TITLES, Modality
from voxelsmith.segment.tumour.request import TumourRequest, unreliable_regions

# Share by which brain volumes of one patient may differ, and least Dice of the brains on one grid.
_SAME_VOLUME, _SAME_BRAIN = 0.12, 0.93
_LOOK_MM = 2.0


def check(request: TumourRequest) -> tuple[Finding, ...]:
    """Look at a request; the gravest findings come first."""
    return findings_of(request, seen(request))


def seen(request: TumourRequest) -> dict[Modality, Seen]:
    """Each sequence, looked at."""
    return {modality: see(modality, volume) for modality, volume in request.images.items()}


def findings_of(request: TumourRequest, looked: Mapping[Modality, Seen]) -> tuple[Finding, ...]:
    """:func:`check` for sequences that have been looked at."""
    found = [finding for one in looked.values() for finding in one.findings]
    if not any(finding.severity == "error" for finding in found):
        found += [*_mask(request), *_skull(request, looked), *_together(request, looked), *_exchanged(request, looked)]
    found += _missing(request)
    order = ("error", "warning", "note")
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def require(findings: tuple[Finding, ...]) -> None:
    """Raise InputError with the sentence of the first finding that forbids the run, if there is one."""
    for finding in findings:
        if finding.severity == "error":
            raise InputError(finding.sentence)


def _missing(request: TumourRequest) -> Iterator[Finding]:
    names = tuple(request.images)
    if len(names) == 1:
        yield Finding(
            "warning",
            f"There is only one sequence, {MODALITY_TITLES[names[0]]}; add others of the same patient "
            "if you have them.",
            names,
        )
    reasons: dict[str, list[str]] = {}
    for region, why in unreliable_regions(names).items():
        reasons.setdefault(why, []).append(region)
    for why, regions in reasons.items():
        yield Finding("warning", f"{why} {' and '.join(regions)} cannot be relied on.")


def _mask(request: TumourRequest) -> Iterator[Finding]:
    if request.mask is None:
        return
    reference = request.images[request.reference]
    if request.mask.array.ndim != 3 or not np.any(request.mask.array):
        yield Finding(
            "error", "The brain mask should be a 3-D mask of the brain, but it is empty or 4-D; choose another."
        )
    elif _apart(reference, request.mask):
        yield Finding(
            "error",
            f"The brain mask {request.mask.name!r} does not overlap {reference.name!r} in space; choose one of this "
            "patient.",
        )


def _skull(request: TumourRequest, looked: Mapping[Modality, Seen]) -> Iterator[Finding]:
    whole = tuple(m for m, one in looked.items() if not one.stripped)
    if request.mask is not None or not whole:
        return
    titles = " and ".join(MODALITY_TITLES[m] for m in whole)
    if len(whole) < len(looked):
        yield Finding("warning", f"{titles} still has its skull; the brain is taken from the other sequences.", whole)
    elif request.settings.strip == "auto" and brain.can_strip():
        yield Finding("note", f"{titles} still has its skull; deepbet will look for the brain.", whole)
    else:
        yield Finding(
            "error",
            f"The images should show the brain without its skull, but {titles} has more than a brain around it; give a "
            "brain mask, or install deepbet with pip install napari-voxelsmith[strip].",
            whole,
        )


def _together(request: TumourRequest, looked: Mapping[Modality, Seen]) -> Iterator[Finding]:
    """Whether sequences are of one patient, and what is done about other grids."""
    name = request.reference
    reference = looked[name]
    for modality, one in looked.items():
        if modality == name:
            continue
        same = reference.volume.same_grid(one.volume)
        apart = _apart(reference.volume, one.volume)
        title, other = MODALITY_TITLES[modality], MODALITY_TITLES[name]
        if request.settings.registration == "never" and apart:
            yield Finding(
                "error",
                f"{title} should lie where {other} does, but they do not overlap in space; let it be registered, or "
                "choose a file of the same patient.",
                (modality, name),
            )
        elif request.settings.registration == "always" or (request.settings.registration == "auto" and not same):
            yield Finding(
                "note", f"{title} lies on another grid than {other} and will be registered to it.", (modality,)
            )
        elif not same:
            yield Finding(
                "note", f"{title} lies on another grid than {other}; their headers are relied on.", (modality,)
            )
        if reference.stripped and one.stripped and _differ(reference, one, same):
            yield Finding(
                "warning",
                f"The brains of {other} ({reference.brain_ml:.0f} mL) and {title} ({one.brain_ml:.0f} mL) differ in "
                "shape or size; check that both are of the same patient and that nothing is cut off.",
                (name, modality),
            )


def _apart(one: Volume, other: Volume) -> bool:
    """Whether the boxes of two volumes, with sides along R, A and S, miss each other."""
    (low, high), (least, most) = (_box(volume) for volume in (one, other))
    return bool((low > most).any() or (least > high).any())


def _box(volume: Volume) -> tuple[FloatArray, FloatArray]:
    """The lowest and highest R, A and S of a volume, in millimetres."""
    corners = volume.affine.apply(list(itertools.product(*((-0.5, count - 0.5) for count in volume.grid))))
    return corners.min(axis=0), corners.max(axis=0)


def _differ(one: Seen, other: Seen, same_grid: bool) -> bool:
    """Whether two brains are too unlike for one patient."""
    if one.inside is None or other.inside is None:
        return False
    both = max(one.brain_ml, other.brain_ml)
    if abs(one.brain_ml - other.brain_ml) > _SAME_VOLUME * both:
        return True
    if not same_grid:
        return False
    common = np.count_nonzero(one.inside & other.inside)
    return bool(2 * common < _SAME_BRAIN * (np.count_nonzero(one.inside) + np.count_nonzero(other.inside)))


def _exchanged(request: TumourRequest, looked: Mapping[Modality, Seen]) -> Iterator[Finding]:
    """Sequences under each other's name, as far as their brains are known."""
    coarse = {modality: found for modality, one in looked.items() if (found := _coarse(request, one)) is not None}
    looks: dict[Modality, exchanged.Look] = {}
    for modality, (values, inside) in coarse.items():
        volume = looked[modality].volume
        if (look := exchanged.look(values, inside, volume.spacing * _steps(volume))) is not None:
            looks[modality] = look
    doubts = list(exchanged.doubts(looks))
    yield from (Finding("warning", sentence, modalities) for modalities, sentence in doubts)
    if doubts or not {"t1", "t1c"} <= set(coarse) or not looked["t1"].volume.same_grid(looked["t1c"].volume):
        return
    (before, inside), (after, also) = coarse["t1"], coarse["t1c"]
    if exchanged.contrast_on_wrong_side(before, after, inside & also):
        yield Finding(
            "warning",
            "T1 and T1 with contrast may be exchanged: a contrast agent brightens places, but here T1 is the brighter "
            "one; look at both, and swap them if so.",
            ("t1", "t1c"),
        )


def _steps(volume: Volume) -> np.ndarray[tuple[int, ...], np.dtype[np.int_]]:
    """Voxels along i, j and k that make about 2 mm."""
    return np.maximum(1, np.round(_LOOK_MM / volume.spacing)).astype(int)


def _coarse(request: TumourRequest, one: Seen) -> tuple[exchanged.FloatArray, brain.Mask] | None:
    """Every voxel of about 2 mm: values, 0 where not finite, and where the brain is; None if that is not known."""
    inside = one.inside if one.stripped else None
    if request.mask is not None and one.volume.same_grid(request.mask):
        inside = request.mask.mask()
    if inside is None:
        return None
    part = tuple(slice(None, None, int(step)) for step in _steps(one.volume))
    values = np.asarray(one.volume.array)[part].astype(np.float32)
    finite = np.isfinite(values)
    return np.where(finite, values, 0), inside[part] & finite
