"""Commits: writing a finished object into a label array, reversibly.

Owns the rule that committed labels are never overwritten unless the user asks, and what it takes to undo a commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.prompts import Box
from voxelsmith.segment.engine import Segmentation


@dataclass(frozen=True, eq=False)
class Commit:
    """One object written into a label array.

    Parameters
    ----------
    target : integer array of the image's grid
        Changed in place by :meth:`apply` and :meth:`revert`.
    box
        The part of the target that changes.
    voxels : bool array of shape ``box.shape``
        Which voxels of the box take the label.
    before
        Their earlier values.
    label, name
        The value written, and what the user calls it.
    engine
        Name of the engine that made the mask.
    threshold
        Where its probabilities were cut; None if it gave none.
    """

    target: npt.NDArray[Any]
    box: Box
    voxels: npt.NDArray[np.bool_]
    before: npt.NDArray[Any]
    label: int
    name: str = ""
    engine: str = ""
    threshold: float | None = None

    @property
    def count(self) -> int:
        """Number of voxels that take the label."""
        return len(self.before)

    def apply(self) -> Box:
        """Write the label, except where somebody has changed the value since; returns the box that changed."""
        view = self.target[self.box.slices]
        values = view[self.voxels]
        view[self.voxels] = np.where(values == self.before, self.label, values)
        return self.box

    def revert(self) -> Box:
        """Give back the earlier values, except where somebody has changed the label since."""
        view = self.target[self.box.slices]
        values = view[self.voxels]
        view[self.voxels] = np.where(values == self.label, self.before, values)
        return self.box


def next_free_label(target: npt.NDArray[Any]) -> int:
    """One more than the highest label in use."""
    return int(target.max(initial=0)) + 1


def plan_commit(
    target: npt.NDArray[Any],
    segmentation: Segmentation,
    label: int | None = None,
    *,
    name: str = "",
    overwrite: bool = False,
) -> Commit:
    """Work out a commit without doing it.

    Parameters
    ----------
    target : integer array, shape of the image
        Where the object goes.
    segmentation
        The object.
    label
        Value to write; None takes the next free one.
    name
        What the user calls it.
    overwrite
        Whether voxels that already carry another label may be taken.

    Raises
    ------
    GeometryError
        If the target is not on the image's grid.
    InputError
        If the target cannot hold the label.
    """
    grid = segmentation.request.image.grid
    if tuple(target.shape) != grid:
        raise GeometryError(f"The target labels need the grid of the image, {grid}, but have {tuple(target.shape)}.")
    label = next_free_label(target) if label is None else label
    if target.dtype.kind not in "iu" or not 0 < label <= np.iinfo(target.dtype).max:
        raise InputError(
            f"The target holds {target.dtype} and cannot take label {label}; convert it to a larger integer type."
        )
    view = target[segmentation.box.slices]
    voxels = segmentation.mask if overwrite else segmentation.mask & (view == 0)
    threshold = None if segmentation.probability is None else segmentation.threshold
    return Commit(target, segmentation.box, voxels, view[voxels], label, name, segmentation.engine, threshold)
