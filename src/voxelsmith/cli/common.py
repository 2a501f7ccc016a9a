"""What every command shares: the common options, numbers on the command line, progress and output."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any, Protocol, TypeAlias

import typer

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Progress

_AXES = {"i": 0, "j": 1, "k": 2, "0": 0, "1": 1, "2": 2}


class Device(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


DeviceOption: TypeAlias = Annotated[Device, typer.Option("--device", help="Where to compute.")]
QuietOption: TypeAlias = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors (and JSON).")]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def numbers(text: str, count: int, what: str) -> tuple[float, ...]:
    """Read ``count`` comma-separated numbers; InputError names the option otherwise."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(math.isfinite(v) for v in values):
        raise InputError(f"{what} takes {count} numbers separated by commas, got {text!r}.")
    return values


def annotated_slices(text: str) -> tuple[int, tuple[int, ...]]:
    """Axis and slices of ``AXIS:3,9,15`` with the axis i, j or k; InputError names the option otherwise."""
    axis, _, listed = text.partition(":")
    parts = [part.strip() for part in listed.split(",")]
    if axis not in _AXES or not all(part.isdecimal() for part in parts):
        raise InputError(f"--slices takes AXIS:3,9,15 with the axis i, j or k, got {text!r}.")
    return _AXES[axis], tuple(int(part) for part in parts)


def emit(record: Mapping[str, Any], text: str, *, quiet: bool, as_json: bool) -> None:
    """Print the outcome of a command: the record as JSON, or the text for people."""
    if as_json:
        print(json.dumps(plain(record), allow_nan=False))
    elif not quiet:
        print(text)


def plain(value: Any) -> Any:
    """A value as JSON can hold it, which has no infinity and no NaN: both become null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def note_device(device: Device, *, quiet: bool) -> None:
    """Say so when a command that only knows the CPU is asked for something else."""
    if device not in (Device.auto, Device.cpu) and not quiet:
        print(f"voxelsmith: this runs on the CPU; --device {device.value} changes nothing.", file=sys.stderr)


class ProgressSink(Protocol):
    """Takes the reports of a job."""

    def __call__(self, progress: Progress, /) -> bool | None: ...


@contextmanager
def progress_bar(title: str, *, quiet: bool) -> Iterator[ProgressSink]:
    """A rich progress bar on standard error for one job; silent when quiet or not on a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda progress: None
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with RichProgress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None)

        def show(progress: Progress) -> None:
            bar.update(
                task, description=progress.message or title, completed=progress.done, total=progress.total or None
            )

        yield show
