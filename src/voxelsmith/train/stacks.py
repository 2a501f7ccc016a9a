"""Stacks: volumes as few-shot sees them, slice by slice on a modest grid, with the regions that episodes are about.

Owns how a volume of the split becomes slices (as the engine cuts them: see :mod:`voxelsmith.segment.common_grid`), its
supervoxels, the superpixels of one slice, and which slices show enough of a region.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from voxelsmith.core.affine import Affine
from voxelsmith.core.resample import resample_to
from voxelsmith.core.volume import Volume
from voxelsmith.segment.common_grid import common_pixel, sliced_query, slicing_axis
from voxelsmith.segment.encoders import unit_range
from voxelsmith.segment.pseudo_masks import DEFAULT_SCALE, pseudo_masks
from voxelsmith.train.entry import Entry
from voxelsmith.train.sample import Annotated, Field, Labels, Vector

LEAST_SHARE, MOST_SHARE = 0.004, 0.5
"""Of a slice, how much a region fills at least and at most to be a class there."""

# Coarser than the regions that the promptable network learns from, since a slice shows little of those.
_SUPERVOXELS = 30.0
_SUPERVOXEL_SHARE = 0.0005


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices of one volume.

    Parameters
    ----------
    image : float32 array, shape (N, A, B)
        Brightness, 0 to 1, the slice axis first.
    labels : integer array, shape (N, A, B)
        0 for background and wherever nothing is known.
    spacing
        Voxel size along these axes in millimetres.
    """

    image: Field
    labels: Labels
    spacing: Vector
    _shown: dict[str, dict[int, list[int]]] = field(default_factory=dict)

    @cached_property
    def supervoxels(self) -> Labels:
        """Regions of the volume, 1, 2, ...; 0 for none."""
        scale = DEFAULT_SCALE * _SUPERVOXELS
        return pseudo_masks(self.image, self.spacing, scale=scale, least_share=_SUPERVOXEL_SHARE)

    def superpixels(self, n: int, coarseness: float = 1.0) -> Labels:
        """Regions of one slice, shape (A, B); the greater ``coarseness``, the larger they are."""
        plane = pseudo_masks(
            self.image[n][..., None],
            [*self.spacing[1:].tolist(), 1.0],
            scale=DEFAULT_SCALE * coarseness,
            least_share=LEAST_SHARE,
        )
        return plane[..., 0]

    def shown(self, kind: str) -> dict[int, list[int]]:
        """For each region of kind "labels" or "supervoxels", the slices that show enough of it and not too much.

        Regions that fewer than two slices show are left out.
        """
        if kind not in self._shown:
            regions = self.labels if kind == "labels" else self.supervoxels
            area = regions[0].size
            counts = np.stack([np.bincount(plane.ravel(), minlength=int(regions.max()) + 1) for plane in regions])
            enough = (counts >= max(8, LEAST_SHARE * area)) & (counts <= MOST_SHARE * area)
            slices = {value: np.flatnonzero(enough[:, value]).tolist() for value in range(1, counts.shape[1])}
            self._shown[kind] = {value: found for value, found in slices.items() if len(found) > 1}
        return self._shown[kind]


def stack_of(entry: Entry) -> Stack:
    """The slices of a volume of the split.

    Raises
    ------
    FormatError, GeometryError, InputError
        If it cannot be read, its labels lie on another grid, or it has no image.
    """
    volume, annotated = entry.read_image(), entry.read_labels()
    axis = slicing_axis(volume, [])
    image = sliced_query(volume, axis, common_pixel(volume, [], axis)).image
    labels = np.zeros(image.grid, np.uint8)
    if annotated is not None:
        volume.require_same_grid(annotated)
        array = np.asarray(annotated.array)
        small = volume.labels(array.astype(np.min_scalar_type(int(array.max()))))
        labels = np.asarray(resample_to(small, image.affine, image.grid).array)
    return _stack(image, labels, axis)


def stack_of_sample(sample: Annotated, axis: int) -> Stack:
    """The slices of a made-up volume along an axis."""
    return _stack(Volume(sample.image, Affine.from_spacing(sample.spacing)), sample.labels, axis)


def _stack(image: Volume, labels: Labels, axis: int) -> Stack:
    order = [axis, *(a for a in range(3) if a != axis)]
    planes, known = unit_range(image).transpose(order), labels.transpose(order)
    return Stack(np.ascontiguousarray(planes), np.ascontiguousarray(known), image.spacing[order])
