"""What a tumour segmentation is asked to do: the sequences that there are, a brain mask, and settings.

Owns the frozen request, which sequence the others are brought onto, and which regions cannot be relied on where a
sequence is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from voxelsmith.core.errors import InputError
from voxelsmith.core.regions import Region
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.segment.tumour.names import MODALITIES, Modality

Device: TypeAlias = Literal["auto", "cpu", "cuda", "mps"]

PREVIEW_SPACING = 2.0
_REFERENCES: tuple[Modality, ...] = ("t1c", "flair", "t2", "t1")
_NO_CONTRAST = "There is no T1 with contrast, which alone shows what enhances and where the core ends."
_NO_FLUID = "There is neither FLAIR nor T2, which alone show the oedema."


@dataclass(frozen=True)
class TumourSettings:
    """How a tumour is segmented.

    Parameters
    ----------
    model
        "auto", a name of weights that ship, a file of weights, or the run folder of ``voxelsmith train cmf``.
    spacing
        Size of a working voxel in millimetres.
    registration
        Which sequences are brought onto the reference: by "auto" those that lie on another grid, "always" all of them,
        "never" none, so that the positions in the headers hold.
    strip
        Whether the optional package deepbet finds the brain where there is no mask and the images still have their
        skull: "auto" if it is installed, "never" not even then.
    least_whole_mm3, least_enhancing_mm3
        Pieces of the whole tumour that are smaller, or have less than a tenth of the largest one, are dropped; smaller
        pieces that enhance become core.
    overlap
        Share of a window that its neighbour sees as well, 0 to under 1.
    device
        Where the network runs.

    Raises
    ------
    InputError
        If a number is out of its range.
    """

    model: str | Path = "auto"
    spacing: float = 1.0
    registration: Literal["auto", "always", "never"] = "auto"
    strip: Literal["auto", "never"] = "auto"
    least_whole_mm3: float = 500.0
    least_enhancing_mm3: float = 200.0
    overlap: float = 0.25
    device: Device = "auto"

    def __post_init__(self) -> None:
        if not 0.5 <= self.spacing <= 8:
            raise InputError(f"A working voxel has 0.5 to 8 mm, got {self.spacing:g} mm; 1 mm is usual, 2 a preview.")
        if not 0 <= self.overlap < 1:
            raise InputError(f"Windows overlap by a share from 0 to below 1, got {self.overlap:g}.")
        if min(self.least_whole_mm3, self.least_enhancing_mm3) < 0:
            raise InputError("The smallest piece that is kept has 0 mm³ or more; give a volume that is not negative.")

    def preview(self) -> TumourSettings:
        """The same at 2 mm."""
        return replace(self, spacing=max(self.spacing, PREVIEW_SPACING))


@dataclass(frozen=True, eq=False)
class TumourRequest:
    """One patient.

    Parameters
    ----------
    images
        The sequences that there are, one to four, each on a grid of its own.
    mask
        The brain, on the grid of any of them; None takes what is not background, or looks for the brain.
    settings
        How it is done.

    Raises
    ------
    InputError
        If there is no sequence, or one that is not T1, T1c, T2 or FLAIR.
    """

    images: Mapping[Modality, Volume]
    mask: LabelVolume | None = None
    settings: TumourSettings = field(default_factory=TumourSettings)

    def __post_init__(self) -> None:
        strange = [name for name in self.images if name not in MODALITIES]
        if strange or not self.images:
            got = f"got {', '.join(map(str, strange))}" if strange else "got none"
            raise InputError(f"A tumour is looked for in one to four of {', '.join(MODALITIES)}, {got}.")
        object.__setattr__(self, "images", {m: self.images[m] for m in MODALITIES if m in self.images})

    @property
    def reference(self) -> Modality:
        """The sequence that the others are brought onto and whose grid the result has: T1c, else FLAIR, T2, T1."""
        return next(m for m in _REFERENCES if m in self.images)


def unreliable_regions(available: Iterable[Modality]) -> dict[Region, str]:
    """The regions that cannot be relied on with these sequences only, and a sentence why for each."""
    there = set(available)
    found: dict[Region, str] = {}
    if not there & {"flair", "t2"}:
        found["WT"] = _NO_FLUID
    if "t1c" not in there:
        found |= {"TC": _NO_CONTRAST, "ET": _NO_CONTRAST}
    return found
