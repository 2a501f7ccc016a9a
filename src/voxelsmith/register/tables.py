"""Tables: the measures of a registration as rows to read.

Owns which numbers a table shows, in which order, and how they are written; the numbers themselves are those of
:class:`~voxelsmith.register.result.Measures`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from voxelsmith.core.errors import InputError
from voxelsmith.register.result import Change, Measures, RegistrationResult

METRIC_COLUMNS = ("Measure", "Before", "After")
LANDMARK_COLUMNS = ("Landmark", "Before (mm)", "After (mm)")

_HD95 = (
    "Distance within which 95 % of the structure's surface lies from its surface in the other image; – where nothing "
    "of the moving one lies on the fixed grid, and the mean leaves that label out"
)


class Row(NamedTuple):
    """A line of a table: what is measured, its values as text, and what it means."""

    name: str
    before: str
    after: str
    meaning: str = ""


def metric_rows(result: RegistrationResult) -> list[Row]:
    """Similarity, overlap of labels, distance of landmarks and evenness of the deformation, before and after."""
    measures = result.measures
    rows = [
        Row(
            measures.similarity.capitalize(),
            _number(measures.similarity_before),
            _number(measures.similarity_after),
            f"How alike the images are, higher is better; {_number(measures.similarity_affine)} after the affine part",
        )
    ]
    rows += _label_rows(result)
    if measures.tre_after_mm:
        pairs = ((np.mean, "Mean"), (np.max, "Largest"))
        rows += [
            Row(
                f"{word} landmark error",
                f"{function(measures.tre_before_mm):.2f} mm",
                f"{function(measures.tre_after_mm):.2f} mm",
                "Target registration error: distance of landmarks to their partners in the moving world",
            )
            for function, word in pairs
        ]
    return rows + _evenness_rows(measures)


def landmark_rows(result: RegistrationResult) -> list[Row]:
    """The target registration error of each landmark, counted from 1, in millimetres of the moving world."""
    measures = result.measures
    pairs = zip(measures.tre_before_mm, measures.tre_after_mm, strict=True)
    return [Row(str(n), f"{before:.2f}", f"{after:.2f}") for n, (before, after) in enumerate(pairs, start=1)]


def as_csv(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """A table as comma-separated text with a header.

    Raises
    ------
    InputError
        If there is no row.
    """
    if not rows:
        raise InputError("There is nothing in this table to save; register two images first.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row.name, row.before, row.after] for row in rows)
    return text.getvalue()


def _label_rows(result: RegistrationResult) -> list[Row]:
    """Dice and HD95 of each label, each after its mean."""
    labels = result.request.fixed_labels
    names = {} if labels is None else labels.names
    rows = []
    for measure, by_label, text, meaning in (
        ("Dice", result.measures.dice, _number, "Overlap of the structure in both images, 0 to 1"),
        ("HD95", result.measures.hd95_mm, _distance, _HD95),
    ):
        if by_label:
            mean = _mean(list(by_label.values()))
            rows.append(Row(f"{measure}, mean", text(mean.before), text(mean.after), meaning))
        rows += [
            Row(f"{measure}, {names.get(label, f'label {label}')}", text(c.before), text(c.after), meaning)
            for label, c in by_label.items()
        ]
    return rows


def _mean(changes: Sequence[Change]) -> Change:
    """Mean before and after of what is finite both times; infinite if nothing is."""
    pairs = np.array([(c.before, c.after) for c in changes])
    finite = pairs[np.isfinite(pairs).all(axis=1)]
    before, after = finite.mean(axis=0) if len(finite) else (np.inf, np.inf)
    return Change(float(before), float(after))


def _evenness_rows(measures: Measures) -> list[Row]:
    rows = []
    if measures.folding_share is not None:
        rows.append(
            Row("Folding", "", f"{measures.folding_share:.3%}", "Share of voxels where the deformation folds; best 0")
        )
    for name, value, meaning in (
        ("SDlogJ", measures.sdlogj, "How uneven the deformation is: standard deviation of log of the Jacobian"),
        (
            "SDlogJ (Learn2Reg)",
            measures.sdlogj_learn2reg,
            "The same of the determinant plus 3, as Learn2Reg reports it",
        ),
    ):
        if value is not None:
            rows.append(Row(name, "", _number(value), meaning))
    if measures.inverse_consistency_mm is not None:
        meaning = "Mean distance by which places fail to return when moved forth and back"
        rows.append(Row("Inverse consistency", "", f"{measures.inverse_consistency_mm:.3f} mm", meaning))
    return rows


def _distance(value: float) -> str:
    return f"{value:.2f} mm" if np.isfinite(value) else "–"


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "no overlap"
