"""What a training tells of itself: rows of numbers, kept as JSON lines that can be read while it runs.

Owns :class:`Row` and :class:`History`, the sums between two rows, and the file ``history.jsonl`` of a run folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from voxelsmith.core.errors import FormatError
from voxelsmith.io.atomic import refusals, replacing, sweep

HISTORY, CHECKPOINT = "history.jsonl", "checkpoint.pt"


@dataclass(frozen=True)
class Row:
    """One row: the steps since the row before it.

    Parameters
    ----------
    step
        Steps done when the row was written.
    losses
        Mean of every term of the loss; "loss" is the one that was descended. Empty if every step was skipped.
    learning_rate
        Of the last step.
    seconds
        Computing time since the training began, over all its runs.
    data_rate
        Samples per second of the data engine: samples over the time that the loop waited for them.
    network_rate
        Samples per second of the network: samples over the time of its passes and updates.
    skipped
        Steps that changed nothing because their loss or gradient was not finite.
    validation
        What the recipe measured after this step; None if it did not.
    """

    step: int
    losses: dict[str, float]
    learning_rate: float
    seconds: float
    data_rate: float
    network_rate: float
    skipped: int = 0
    validation: dict[str, float] | None = None


@dataclass(frozen=True)
class History:
    """A training so far.

    Parameters
    ----------
    rows
        From the first step to the last.
    step, steps
        Steps done and planned.
    best_score, best_step
        Highest score of the validations and the step it was reached at; None if there was none.
    """

    rows: tuple[Row, ...]
    step: int
    steps: int
    best_score: float | None = None
    best_step: int | None = None

    @property
    def finished(self) -> bool:
        """Whether every planned step was done."""
        return self.step >= self.steps


@dataclass
class Tally:
    """Sums since the last row."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    skipped: int = 0
    data_seconds: float = 0.0
    network_seconds: float = 0.0

    def add(self, losses: Iterable[Mapping[str, float]]) -> None:
        """Add the loss terms of samples."""
        for terms in losses:
            for name, value in terms.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
                self.counts[name] = self.counts.get(name, 0) + 1

    def row(self, step: int, learning_rate: float, seconds: float, validation: dict[str, float] | None) -> Row:
        """The row that these sums make."""
        return Row(
            step=step,
            losses={name: total / self.counts[name] for name, total in self.sums.items()},
            learning_rate=learning_rate,
            seconds=seconds,
            data_rate=self.samples / max(self.data_seconds, 1e-9),
            network_rate=self.samples / max(self.network_seconds, 1e-9),
            skipped=self.skipped,
            validation=validation,
        )


class HistoryFile:
    """``history.jsonl`` of a run folder, opened with the rows that a resumed training already has.

    Rows past those, which a run wrote after its last checkpoint, are dropped; so is what a killed run was writing.
    """

    def __init__(self, folder: Path, rows: Iterable[Row]) -> None:
        self.path = folder / HISTORY
        sweep(folder)
        with replacing(self.path) as temporary:
            temporary.write_text("".join(map(_line, rows)), encoding="utf-8")

    def append(self, row: Row) -> None:
        """Write one more row; it is on its way to the disk when this returns. ResourceError if the disk refuses."""
        with refusals(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(_line(row))


def read_history(folder: Path | str) -> tuple[Row, ...]:
    """Rows of the training in a run folder, also while it runs.

    Raises
    ------
    FormatError
        If the folder holds no history, or a damaged one. A last line that was cut off is left out.
    """
    path = Path(folder) / HISTORY
    try:
        *lines, _ = path.read_text(encoding="utf-8").split("\n")
        return tuple(row_from(json.loads(line)) for line in lines)
    except FileNotFoundError:
        raise FormatError(f"{folder} holds no {HISTORY}; choose the folder that a training wrote to.") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FormatError(f"{path} is damaged; resume the training, which writes it anew.") from error


def row_from(record: Mapping[str, Any]) -> Row:
    """A row from what :func:`dataclasses.asdict` or JSON made of it (null is not a number)."""
    validation = record["validation"]
    return Row(
        **{
            **record,
            "losses": _numbers(record["losses"]),
            "validation": None if validation is None else _numbers(validation),
        }
    )


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: math.nan if value is None else float(value) for name, value in values.items()}


def _line(row: Row) -> str:
    return json.dumps(_strict(asdict(row)), allow_nan=False) + "\n"


def _strict(value: Any) -> Any:
    """JSON has no infinity and no NaN: both become null."""
    if isinstance(value, dict):
        return {name: _strict(v) for name, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
