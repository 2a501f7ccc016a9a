"""``voxelsmith tumour``: from MR sequences of a brain to whole tumour, tumour core and enhancing tumour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from voxelsmith.cli.common import Device, DeviceOption, JsonOption, QuietOption, emit, progress_bar
from voxelsmith.core.errors import InputError
from voxelsmith.core.regions import Convention, convention, detect
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import read, read_labels, write
from voxelsmith.jobs.local import run_here

if TYPE_CHECKING:
    from voxelsmith.segment.tumour.names import Modality
    from voxelsmith.segment.tumour.report import ReportRow
    from voxelsmith.segment.tumour.result import TumourResult

_DETECT = "auto"


class Registering(StrEnum):
    """Which sequences are brought onto the reference."""

    auto = "auto"
    always = "always"
    never = "never"


class Stripping(StrEnum):
    """Whether the brain is looked for in images with their skull."""

    auto = "auto"
    never = "never"


def tumour(
    out: Annotated[Path, typer.Option(help="Labels to write, on the grid of T1c, else FLAIR, T2 or T1.")],
    t1: Annotated[Path | None, typer.Option(help="T1 without contrast.")] = None,
    t1c: Annotated[Path | None, typer.Option(help="T1 with contrast.")] = None,
    t2: Annotated[Path | None, typer.Option(help="T2.")] = None,
    flair: Annotated[Path | None, typer.Option(help="FLAIR.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="A patient's folder, sorted by names; or a 4-D file in the Decathlon's order.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="The brain, for images that have their skull.")] = None,
    model: Annotated[
        str, typer.Option(help="auto, weights that ship, a file of weights, or the run folder of train cmf.")
    ] = "auto",
    labels_as: Annotated[
        str, typer.Option("--convention", help="What the labels mean: brats2013 to brats2024, or msd.")
    ] = "brats2023",
    preview: Annotated[bool, typer.Option("--preview", help="A quick look at 2 mm.")] = False,
    registration: Annotated[
        Registering, typer.Option("--register", help="Which sequences are registered: those on another grid, or all.")
    ] = Registering.auto,
    strip: Annotated[Stripping, typer.Option(help="Whether deepbet may look for the brain.")] = Stripping.auto,
    probabilities: Annotated[
        Path | None, typer.Option(help="Probabilities of WT, TC and ET to write, as three frames of one file.")
    ] = None,
    reference: Annotated[Path | None, typer.Option(help="Labels of an expert to compare with.")] = None,
    reference_as: Annotated[
        str, typer.Option("--reference-convention", help="What those mean; auto looks at them.")
    ] = _DETECT,
    report: Annotated[Path | None, typer.Option(help="CSV table to write, a row a region.")] = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Segment a brain tumour from one to four MR sequences: whole tumour, core, enhancing tumour."""
    written_as = convention(labels_as)
    expert, expert_as, doubt = _reference(reference, reference_as)
    given: dict[Modality, Path | None] = {"t1": t1, "t1c": t1c, "t2": t2, "flair": flair}
    images, brain, notes = _sequences(given, folder, mask)

    from voxelsmith.segment.tumour.engine import run
    from voxelsmith.segment.tumour.report import report_rows, write_report
    from voxelsmith.segment.tumour.request import TumourRequest, TumourSettings

    settings = TumourSettings(model, registration=registration.value, strip=strip.value, device=device.value)
    request = TumourRequest(images, brain, settings.preview() if preview else settings)
    if expert is not None:
        request.images[request.reference].require_same_grid(expert)
    with progress_bar("Segmenting the tumour", quiet=quiet or as_json) as show:
        done = run_here(run(request), title="Segmenting the tumour", on_progress=show)
    result = done.result
    rows = report_rows(result.depth, result.unreliable, expert, expert_as)
    write(result.labels(written_as), out)
    if probabilities is not None:
        write(_frames(result), probabilities)
    if report is not None:
        write_report(rows, report)
    result = replace(result, notes=(*notes, *doubt, *result.notes))
    record = _record(result, rows, out, written_as, expert_as, done.seconds)
    emit(record, _text(record, rows), quiet=quiet, as_json=as_json)


def _reference(path: Path | None, name: str) -> tuple[LabelVolume | None, Convention | None, tuple[str, ...]]:
    """The labels to compare with, what they mean, and a doubt about that."""
    chosen = None if name == _DETECT else convention(name)
    if path is None:
        return None, chosen, ()
    labels = read_labels(path)
    if chosen is not None:
        chosen.depth(labels.array)
        return labels, chosen, ()
    found = detect(labels.array)
    return labels, found.convention, (found.warning,) if found.warning else ()


def _sequences(
    given: Mapping[Modality, Path | None], folder: Path | None, mask: Path | None
) -> tuple[dict[Modality, Volume], LabelVolume | None, tuple[str, ...]]:
    """The images, the brain mask, and doubts about names; what is given by itself goes before the folder."""
    from voxelsmith.segment.tumour.names import match_folder, split_channels

    images: dict[Modality, Volume] = {}
    notes: tuple[str, ...] = ()
    files = {modality: path for modality, path in given.items() if path is not None}
    if folder is not None and folder.is_file():
        images |= split_channels(read(folder))
    elif folder is not None:
        matched = match_folder(folder)
        files, notes, mask = {**matched.images, **files}, matched.notes, mask or matched.mask
    elif not files:
        raise InputError("A tumour is looked for in MR sequences; give --t1, --t1c, --t2, --flair or --folder.")
    images |= {modality: read(path) for modality, path in files.items()}
    return images, None if mask is None else read_labels(mask), notes


def _frames(result: TumourResult) -> Volume:
    """Probabilities of WT, TC and ET as the frames of one volume."""
    array = np.moveaxis(result.probabilities.astype(np.float32), 0, -1)
    return Volume(array, result.depth.affine, "probabilities", extra_axis="time")


def _record(
    result: TumourResult,
    rows: tuple[ReportRow, ...],
    out: Path,
    written_as: Convention,
    expert_as: Convention | None,
    seconds: float,
) -> dict[str, Any]:
    """What the command prints."""
    scored = any(row.score is not None for row in rows)
    return {
        "out": str(out),
        "convention": written_as.name,
        "reference_convention": expert_as.name if expert_as is not None and scored else None,
        "model": result.model,
        "sequences": list(result.request.images),
        "synthetic": list(result.synthetic),
        "notes": list(result.notes),
        "regions": {
            row.region: {k: None if v == "" else v for k, v in row.as_record().items() if k != "region"} for row in rows
        },
        "seconds": seconds,
        "fingerprints": dict(result.fingerprints),
    }


def _text(record: dict[str, Any], rows: tuple[ReportRow, ...]) -> str:
    """The outcome for people."""
    lines = [*record["notes"], f"{record['out']}: labels as in {record['convention']}, weights {record['model']}"]
    if record["synthetic"]:
        lines.append(f"Made up by the network: {', '.join(record['synthetic'])}")
    for row in rows:
        parts = [row.region, f"{row.volume_ml:.2f} mL"]
        if row.score is not None:
            s = row.score
            parts += [f"Dice {s.dice:.3f}", f"sensitivity {s.sensitivity:.3f}", f"HD95 {s.hd95_mm:.1f} mm"]
        if row.unreliable:
            parts.append("cannot be relied on")
        lines.append("\t".join(parts))
    return "\n".join(lines)
