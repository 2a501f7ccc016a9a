"""Chunk protocol: across-volume few-shot as the literature evaluates it, to compare with its figures.

Owns the evaluation in which the range of each organ is known in both volumes, the query's is cut into chunks, and each
chunk is segmented with one slice of one support volume, one organ at a time (Ouyang et al., ECCV 2020). A tool does not
know these ranges: :mod:`voxelsmith.segment.across_volumes` is for users.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.support import SupportExample
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.segment.common_grid import Sliced, common_pixel, region, sliced_example, sliced_query, slicing_axis
from voxelsmith.segment.features import Encoder
from voxelsmith.segment.placement import place
from voxelsmith.segment.prototype_bank import Bank, BankSettings, read_slices
from voxelsmith.segment.slice_matching import chunks, range_of


def evaluate(
    query: Volume, truth: LabelVolume, example: SupportExample, encoder: Encoder, number: int = 3
) -> Job[npt.NDArray[Any]]:
    """Segment the query by local prototypes, knowing where each organ begins and ends.

    Parameters
    ----------
    query
        A 3-D image.
    truth
        Its labels; only the range of slices of each organ is used.
    example
        The support, annotated in full.
    encoder
        Whose features are compared.
    number
        Chunks of each range.

    Yields
    ------
    Progress
        One for each organ.

    Returns
    -------
    integer array, shape (I, J, K)
        Labels; where organs overlap, the likelier one.

    Raises
    ------
    InputError
        If the truth or the example has no label.
    """
    axis = slicing_axis(query, [example])
    pixel = common_pixel(query, [example], axis)
    target, source = sliced_query(query, axis, pixel), sliced_example(example, query, axis, pixel)
    placement = yield from place(target, source, "slices")
    fine = region(query, axis, pixel)
    labels, best = np.zeros(query.grid, np.uint16), np.full(query.grid, 0.5, np.float32)
    values = [v for v in truth.values() if v in example.classes]
    for done, value in enumerate(values):
        yield Progress(done, len(values), f"Label {value}")
        likely = np.zeros(target.image.grid, np.float32)
        one = replace(source, labels=(np.asarray(source.labels) == value).astype(np.uint8))
        ranges = _range(truth.mask(value), axis), _range(np.asarray(one.labels) != 0, axis)
        for part, middle in chunks(*ranges, number):
            bank = Bank((1,), axis, BankSettings())
            for _ in bank.learn(_only(one, middle), placement, encoder):
                pass
            bank.finish()
            for n, features in read_slices(target, encoder, part):
                np.moveaxis(likely, axis, 0)[n] = bank.answer(target, n, features)[0][1]
        dense = fine.dense(likely)
        labels[dense > best] = value
        np.maximum(best, dense, out=best)
    return labels


def _range(mask: npt.NDArray[np.bool_], axis: int) -> tuple[int, int]:
    return range_of(np.asarray(mask.any(axis=tuple({0, 1, 2} - {axis}))))


def _only(source: Sliced, n: int) -> Sliced:
    """The same example with one annotated slice."""
    known = np.zeros(source.image.grid, dtype=bool)
    np.moveaxis(known, source.axis, 0)[n] = True
    return replace(source, known=known)
