"""Preparation: from sequences as a clinic has them to what a network takes.

Owns the order of the checks, the rigid maps that bring the sequences onto the reference, the search for the brain, and
the case that comes out. A case that was prepared can be laid on a coarser grid without registering again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from voxelsmith.core.errors import InputError, VoxelsmithError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.resample import resample_to
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.register.pipeline import register
from voxelsmith.register.request import AffineSettings, RegistrationRequest, RegistrationSettings
from voxelsmith.segment.tumour import brain
from voxelsmith.segment.tumour.checks import findings_of, require, seen
from voxelsmith.segment.tumour.findings import Finding, plain
from voxelsmith.segment.tumour.laying import Placed, lay, moved, working_grid
from voxelsmith.segment.tumour.names import MODALITY_TITLES, Modality
from voxelsmith.segment.tumour.parts import part
from voxelsmith.segment.tumour.request import TumourRequest

_TOTAL = 100
_CHECKED, _REGISTERED, _FOUND = 10, 70, 80
_LEAST_OVERLAP = 0.85
_COMPARED_MM = 4.0


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """One patient, ready for the network.

    Parameters
    ----------
    request
        What was asked.
    images
        z-scores in the brain on the working grid, float32, 0 elsewhere.
    brain
        The brain on the working grid.
    sources
        The sequences as they came, and where they lie.
    mask
        The brain in the world of the reference, where it was given or looked for.
    fingerprints
        Hashes of the sequences as they came.
    findings
        What the user should know.
    """

    request: TumourRequest
    images: Mapping[Modality, Volume]
    brain: LabelVolume
    sources: Mapping[Modality, Placed]
    mask: LabelVolume | None
    fingerprints: Mapping[Modality, str]
    findings: tuple[Finding, ...]

    @property
    def transforms(self) -> dict[Modality, Transform]:
        """From the world of the reference to that of each sequence."""
        return {modality: source.transform for modality, source in self.sources.items()}


def prepare(request: TumourRequest) -> Job[PreparedCase]:
    """Check, register, find the brain, resample and z-score.

    Parameters
    ----------
    request
        The sequences and how.

    Yields
    ------
    Progress
        Of 100.

    Returns
    -------
    PreparedCase

    Raises
    ------
    InputError
        If a check forbids the run, a sequence cannot be registered, or it is constant in the brain.
    ModelUnavailableError
        If the brain has to be looked for and is not found.
    """
    yield Progress(0, _TOTAL, "Checking the sequences")
    request = replace(request, images={m: plain(v) for m, v in request.images.items()})
    looked = seen(request)
    findings = list(findings_of(request, looked))
    require(tuple(findings))
    sources: dict[Modality, Placed] = {}
    for modality, one in looked.items():
        if one.inside is not None:
            sources[modality] = Placed(one.volume, one.inside, one.stripped, Transform())
    moving = _to_register(request)
    share = (_REGISTERED - _CHECKED) / max(1, len(moving))
    for number, modality in enumerate(moving):
        begin = _CHECKED + int(number * share)
        placed, doubts = yield from part(
            _registered(request.reference, modality, sources), begin, int(begin + share), _TOTAL
        )
        sources[modality] = placed
        findings = [*doubts, *findings]
    yield Progress(_REGISTERED, _TOTAL, "Looking for the brain")
    mask = _mask(request, sources)
    prints = {modality: volume.fingerprint() for modality, volume in request.images.items()}
    laid = yield from part(lay(sources, request.reference, mask, request.settings.spacing), _FOUND, _TOTAL, _TOTAL)
    return PreparedCase(request, *laid, sources, mask, prints, tuple(findings))


def at_spacing(case: PreparedCase, spacing: float) -> Job[PreparedCase]:
    """A prepared case with working voxels of another size in millimetres, as a job; nothing is registered again."""
    if spacing == case.request.settings.spacing:
        return case
    request = replace(case.request, settings=replace(case.request.settings, spacing=spacing))
    images, inside = yield from lay(case.sources, request.reference, case.mask, spacing)
    return replace(case, request=request, images=images, brain=inside)


def _to_register(request: TumourRequest) -> list[Modality]:
    """The sequences that have to be brought onto the reference."""
    mode, fixed = request.settings.registration, request.images[request.reference]
    others = [m for m in request.images if m != request.reference and mode != "never"]
    return [m for m in others if mode == "always" or not request.images[m].same_grid(fixed)]


def _registered(
    name: Modality, modality: Modality, sources: Mapping[Modality, Placed]
) -> Job[tuple[Placed, list[Finding]]]:
    """Where a sequence lies by a rigid map onto the reference, and doubts about that."""
    title, fixed, moving = MODALITY_TITLES[modality], sources[name], sources[modality]
    settings = RegistrationSettings(AffineSettings(model="rigid", similarity="mi"))
    yield Progress(0, 1, f"Registering {title}")
    try:
        result = yield from register(
            RegistrationRequest(_finite(fixed.volume), _finite(moving.volume), settings=settings)
        )
    except VoxelsmithError as error:
        raise InputError(f"{title} cannot be brought onto {MODALITY_TITLES[name]}: {error}") from error
    findings = [Finding("warning", f"{title}: {note}", (modality,)) for note in result.notes]
    placed = replace(moving, transform=result.transform)
    if fixed.stripped and moving.stripped:
        overlap = _overlap(fixed, placed)
        if overlap < _LEAST_OVERLAP:
            sentence = (
                f"After registration the brains of {MODALITY_TITLES[name]} and {title} overlap by a Dice of "
                f"{overlap:.2f} only; check that both are of the same patient."
            )
            findings.append(Finding("warning", sentence, (name, modality)))
    return placed, findings


def _overlap(fixed: Placed, placed: Placed) -> float:
    """Dice of two brains, looked at coarsely."""
    here, there = (
        moved(LabelVolume(one.inside.astype(np.uint8), one.volume.affine), one.transform) for one in (fixed, placed)
    )
    affine, grid = working_grid(here, _COMPARED_MM)
    return dice(resample_to(here, affine, grid).array, resample_to(there, affine, grid).array)


def _mask(request: TumourRequest, sources: Mapping[Modality, Placed]) -> LabelVolume | None:
    """The brain in the world of the reference; None if it is what is not background."""
    if request.mask is not None:
        given = request.mask
        home = next((m for m, source in sources.items() if source.volume.same_grid(given)), request.reference)
        return moved(given, sources[home].transform)
    if any(source.stripped for source in sources.values()):
        return None
    modality, mask = brain.strip(request.images)
    return moved(mask, sources[modality].transform)


def _finite(volume: Volume) -> Volume:
    """A volume with 0 where there is no finite value."""
    array = np.asarray(volume.array)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return volume
    return replace(volume, array=np.nan_to_num(array, nan=0, posinf=0, neginf=0))
