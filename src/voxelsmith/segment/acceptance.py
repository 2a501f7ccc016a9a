"""Acceptance: what of a proposal is written into a label array.

Owns the choice of voxels: those of the classes and the slice that the user accepts, never over a committed label
unless the user asks, and never against what was painted in an annotated slice.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.prompts import Box
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.segment.commit import Commit
from voxelsmith.segment.proposal import Proposal


def plan_acceptance(
    target: npt.NDArray[Any],
    proposal: Proposal,
    support: SupportSet,
    *,
    values: Collection[int] | None = None,
    index: int | None = None,
    overwrite: bool = False,
) -> tuple[Commit, ...]:
    """Work out what accepting a proposal writes, without doing it.

    Parameters
    ----------
    target : integer array, shape of the proposal's grid
        Where labels go.
    proposal
        What is accepted.
    support
        Its examples of the same image are what was painted, whether they are switched on or not.
    values
        The classes to accept; None for all.
    index
        The one slice to accept, along the proposal's axis; None for all.
    overwrite
        Whether voxels that already carry another label may be taken. Painted slices stay as they are even then.

    Returns
    -------
    tuple of Commit
        One for each class of which something is written, in the order of their values.

    Raises
    ------
    GeometryError
        If the target has another shape than the proposal.
    InputError
        If the target cannot hold a label.
    """
    proposed = np.asarray(proposal.labels.array)
    if tuple(target.shape) != proposal.labels.grid:
        raise GeometryError(
            f"The target labels need the grid of the proposal, {proposal.labels.grid}, but have {tuple(target.shape)}."
        )
    painted = [e for e in support.examples if e.image_fingerprint == proposal.provenance.image]
    commits = []
    for value in sorted(proposal.classes if values is None else set(proposal.classes) & set(values)):
        mask = _in_slice(proposed == value, proposal.axis, index)
        for example in painted:
            _respect(mask, value, example)
        mask &= target != value if overwrite else target == 0
        if not mask.any():
            continue
        if target.dtype.kind not in "iu" or value > np.iinfo(target.dtype).max:
            raise InputError(
                f"The target holds {target.dtype} and cannot take label {value}; convert it to a larger integer type."
            )
        box = Box.around(mask)
        voxels = mask[box.slices].copy()
        name = proposal.labels.names.get(value, "")
        before = target[box.slices][voxels]
        commits.append(Commit(target, box, voxels, before, value, name, proposal.provenance.engine))
    return tuple(commits)


def _in_slice(mask: npt.NDArray[np.bool_], axis: int, index: int | None) -> npt.NDArray[np.bool_]:
    if index is None:
        return mask
    one = np.zeros_like(mask)
    at: tuple[Any, ...] = (*(slice(None),) * axis, index)
    one[at] = mask[at]
    return one


def _respect(mask: npt.NDArray[np.bool_], value: int, example: SupportExample) -> None:
    """Take out of a mask the voxels of which an example says that they are not of this class."""
    part = np.asarray(example.labels.array[example.index])
    against = part != value
    if value not in example.classes:
        against &= part > 0
    if example.ignored is not None:
        against &= ~example.ignored[example.index]
    mask[example.index] &= ~against
