"""What a tumour segmentation gives.

Owns the frozen result: regions and probabilities on the grid of the reference sequence, and what to think of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from voxelsmith.core.regions import REGION_TITLES, REGIONS, Convention, Region
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.segment.tumour.names import Modality
from voxelsmith.segment.tumour.request import TumourRequest

DEPTH_NAMES: Mapping[int, str] = {place + 1: REGION_TITLES[region] for place, region in enumerate(REGIONS)}


@dataclass(frozen=True, eq=False)
class TumourResult:
    """A finished segmentation.

    Parameters
    ----------
    request
        What was asked.
    fingerprints
        Hash of each sequence (:meth:`~voxelsmith.core.volume.Volume.fingerprint`).
    model
        Which weights answered.
    depth
        Depths 0 to 3 as in :mod:`voxelsmith.core.regions`, on the grid of the reference sequence.
    probabilities : float16 array, shape (3, I, J, K)
        Of WT, TC and ET on that grid, 0 to 1.
    unreliable
        Regions that cannot be relied on, and why, a sentence each.
    synthetic
        Sequences that were missing and that the network made up.
    notes
        What the user should know, a sentence each, the gravest first.
    """

    request: TumourRequest
    fingerprints: Mapping[Modality, str]
    model: str
    depth: LabelVolume
    probabilities: npt.NDArray[np.float16]
    unreliable: Mapping[Region, str]
    synthetic: tuple[Modality, ...]
    notes: tuple[str, ...]

    def labels(self, convention: Convention) -> LabelVolume:
        """The regions as labels of a convention, in the file of the reference sequence."""
        reference = self.request.images[self.request.reference]
        return reference.labels(convention.labels(self.depth.array), "tumour", names_of(convention))

    def probability_volumes(self) -> dict[Region, Volume]:
        """The probability of each region as an image, float32."""
        return {
            region: Volume(array.astype(np.float32), self.depth.affine, name=f"{region} probability")
            for region, array in zip(REGIONS, self.probabilities, strict=True)
        }

    @property
    def volumes_ml(self) -> dict[Region, float]:
        """Millilitres of each region."""
        return volumes_ml(self.depth)


def volumes_ml(depth: LabelVolume) -> dict[Region, float]:
    """Millilitres of each region of depths 0 to 3."""
    counts = np.bincount(np.asarray(depth.array).ravel(), minlength=len(REGIONS) + 1)
    voxel_ml = depth.affine.voxel_volume / 1000
    return {region: float(counts[place + 1 :].sum() * voxel_ml) for place, region in enumerate(REGIONS)}


def names_of(convention: Convention) -> dict[int, str]:
    """What the labels that are written stand for."""
    return {code: convention.names[code] for code in convention.codes}
