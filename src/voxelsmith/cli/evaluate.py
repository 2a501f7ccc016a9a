"""``voxelsmith evaluate``: how well two label volumes agree."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer

from voxelsmith.cli.common import Device, DeviceOption, JsonOption, QuietOption, emit, note_device
from voxelsmith.core.metrics import compare, compare_labels
from voxelsmith.io import read_labels
from voxelsmith.io.atomic import replacing


def evaluate(
    reference: Annotated[Path, typer.Argument(help="The right labels.")],
    prediction: Annotated[Path, typer.Argument(help="The labels to judge, on the same grid.")],
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Table to write, a row a label.")] = None,
    binary: Annotated[bool, typer.Option("--binary", help="Compare everything but background as one label.")] = False,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare two label volumes: overlap, surface distances in millimetres, volumes in millilitres."""
    note_device(device, quiet=quiet)
    truth, judged = read_labels(reference), read_labels(prediction)
    truth.require_same_grid(judged)
    rows = {1: compare(truth.mask(), judged.mask(), truth.spacing)} if binary else compare_labels(truth, judged)
    columns = ["label", *next(iter(rows.values()), {})]
    if csv_file is not None:
        with replacing(csv_file) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(columns)
            writer.writerows([label, *row.values()] for label, row in rows.items())
    lines = ["\t".join(columns)]
    lines += ["\t".join([str(label), *(f"{v:.4g}" for v in row.values())]) for label, row in rows.items()]
    record = {"reference": str(reference), "prediction": str(prediction), "labels": rows}
    emit(record, "\n".join(lines), quiet=quiet, as_json=as_json)
