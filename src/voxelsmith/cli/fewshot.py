"""``voxelsmith fewshot``: from annotated examples to labels of another volume, or of the rest of the same one."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import numpy as np
import typer
from typer.core import TyperCommand

from voxelsmith.cli.common import (
    Device,
    DeviceOption,
    JsonOption,
    QuietOption,
    annotated_slices,
    emit,
    numbers,
    progress_bar,
)
from voxelsmith.core.errors import InputError
from voxelsmith.core.metrics import compare
from voxelsmith.core.support import SupportSet
from voxelsmith.core.volume import Volume, volume_text
from voxelsmith.io import read_labels, write
from voxelsmith.io.atomic import replacing
from voxelsmith.io.pairs import read_example, read_image
from voxelsmith.io.support import read_support, write_support
from voxelsmith.jobs.local import Finished, run_here

if TYPE_CHECKING:
    from voxelsmith.segment.fewshot import Choice
    from voxelsmith.segment.proposal import Proposal

app = typer.Typer(
    name="fewshot", help="Segment by a few annotated slices or volumes.", no_args_is_help=True, rich_markup_mode=None
)

_ALL = "all"


class _PairsCommand(TyperCommand):
    """A command with an option that takes two values each time, for which typer has no annotation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for parameter in self.params:
            if parameter.name == "support":
                parameter.nargs, parameter.metavar = 2, "IMAGE LABELS"


class _Pair:
    """An image file and the file with its labels."""

    def __init__(self, files: tuple[str, str]) -> None:
        self.image, self.labels = (Path(file) for file in files)


SupportOption: TypeAlias = Annotated[
    list[_Pair] | None, typer.Option(parser=_Pair, help="An image and its labels; may be given several times.")
]
SlicesOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="AXIS:3,9,15, the annotated slices along i, j or k, or all; once, or once for each --support."),
]
SetOption: TypeAlias = Annotated[Path | None, typer.Option(help="A saved support set, a folder or a zip file.")]
EngineOption: TypeAlias = Annotated[str, typer.Option(help="automatic, same-volume, prototypes or propagation.")]
EncoderOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Run folder or weights of train episodes: an encoder for prototypes, or a conditional network."),
]
RangeOption: TypeAlias = Annotated[
    str | None, typer.Option("--range", help="FIRST,LAST slice of the query with something to find, for prototypes.")
]


@app.command("fit", cls=_PairsCommand)
def fit(
    out: Annotated[Path, typer.Option(help="Support set to write: a .zip file, or a folder.")],
    support: SupportOption = None,
    slices: SlicesOption = None,
    support_set: SetOption = None,
    name: Annotated[list[str] | None, typer.Option(help="VALUE=NAME of a class; may be given several times.")] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Collect annotated examples in a support set, which the window and the other commands use."""
    collected = _named(_support(support, slices, support_set), name)
    path = write_support(collected, out)
    sizes = {v: sum(int((e.labels.array == v).sum()) for e in collected.examples) for v in collected.values}
    record = {
        "out": str(path),
        "examples": [e.content_hash for e in collected.examples],
        "classes": {v: {"name": collected.names[v], "voxels": sizes[v]} for v in collected.values},
    }
    lines = [f"{path}: {len(collected.examples)} examples"]
    lines += [f"{v} {collected.names[v]}: {sizes[v]} voxels annotated" for v in collected.values]
    emit(record, "\n".join(lines), quiet=quiet, as_json=as_json)


@app.command("predict", cls=_PairsCommand)
def predict(
    query: Annotated[Path, typer.Option(help="The image to label.")],
    out: Annotated[Path, typer.Option(help="Labels to write (.nii.gz, .nii, .nrrd, .mha, .mhd).")],
    support: SupportOption = None,
    slices: SlicesOption = None,
    support_set: SetOption = None,
    engine: EngineOption = "automatic",
    known_range: RangeOption = None,
    encoder: EncoderOption = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label a volume by annotated slices of it or by other annotated volumes."""
    image, collected = read_image(query), _support(support, slices, support_set)
    choice, done = _propose(image, collected, engine, known_range, encoder, device, quiet=quiet, as_json=as_json)
    found = done.result
    write(replace(found.labels, name="labels"), out)
    sizes = {v: int((np.asarray(found.labels.array) == v).sum()) for v in found.classes}
    millilitres = {v: size * image.affine.voxel_volume / 1000 for v, size in sizes.items()}
    names = collected.names
    record = {
        "out": str(out),
        "classes": {v: {"name": names[v], "voxels": sizes[v], "volume_ml": millilitres[v]} for v in sizes},
        "axis": found.axis,
        "confidence": found.confidence.astype(float).tolist(),
        "worst_slice": found.worst_slice,
        **_told(choice, done),
    }
    lines = [f"{out}: {choice.reason}"]
    lines += [f"{v} {names[v]}: {sizes[v]} voxels, {volume_text(1000 * millilitres[v])}" for v in sizes]
    if found.worst_slice is not None:
        least = found.confidence[found.worst_slice]
        lines.append(f"least sure of slice {'ijk'[found.axis]} {found.worst_slice}, confidence {least:.2f}")
    emit(record, "\n".join([*lines, f"{done.seconds:.1f} s"]), quiet=quiet, as_json=as_json)


@app.command("evaluate", cls=_PairsCommand)
def evaluate(
    query: Annotated[Path, typer.Option(help="The image to label.")],
    reference: Annotated[Path, typer.Option(help="Its right labels, on the same grid.")],
    support: SupportOption = None,
    slices: SlicesOption = None,
    support_set: SetOption = None,
    engine: EngineOption = "automatic",
    known_range: RangeOption = None,
    encoder: EncoderOption = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Table to write, a row a class.")] = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label a volume as predict does and compare with its right labels, where nothing was annotated."""
    from voxelsmith.segment.fewshot import on_query

    image, collected = read_image(query), _support(support, slices, support_set)
    truth = read_labels(reference)
    image.require_same_grid(truth)
    unseen = np.ones(image.grid, dtype=bool)
    for example in collected.enabled:
        if on_query(image, example):
            unseen[example.index] = False
    if not unseen.any():
        raise InputError(
            "Every slice of the query is annotated in the support, so there is nothing to judge by; name some slices "
            "with --slices."
        )
    choice, done = _propose(image, collected, engine, known_range, encoder, device, quiet=quiet, as_json=as_json)
    right, found = (np.where(unseen, labels.array, 0) for labels in (truth, done.result.labels))
    rows = {v: compare(right == v, found == v, image.spacing) for v in done.result.classes}
    columns = ["label", "name", *next(iter(rows.values()))]
    if csv_file is not None:
        with replacing(csv_file) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(columns)
            writer.writerows([v, collected.names[v], *row.values()] for v, row in rows.items())
    mean = float(np.mean([row["dice"] for row in rows.values()]))
    record = {"reference": str(reference), "labels": rows, "mean_dice": mean, **_told(choice, done)}
    lines = ["\t".join(columns)]
    lines += ["\t".join([str(v), collected.names[v], *(f"{x:.4g}" for x in row.values())]) for v, row in rows.items()]
    emit(record, "\n".join([*lines, f"mean Dice {mean:.3f}"]), quiet=quiet, as_json=as_json)


def _propose(
    image: Volume,
    support: SupportSet,
    engine: str,
    known_range: str | None,
    encoder: Path | None,
    device: Device,
    *,
    quiet: bool,
    as_json: bool,
) -> tuple[Choice, Finished[Proposal]]:
    """Run the engine that was asked for or that suits; its notes go to standard error."""
    from voxelsmith.segment.fewshot import AUTOMATIC, Choice, FewShotRequest, choose, propose

    ends = None if known_range is None else _range(known_range)
    asked = Choice(engine, "This engine was asked for.")
    choice = choose(image, support, ends, encoder) if engine == AUTOMATIC else asked
    request = FewShotRequest(image, support, choice.engine, known_range=ends, device=device.value, trained=encoder)
    with progress_bar("Proposing", quiet=quiet or as_json) as show:
        done = run_here(propose(request), title="Proposing", fingerprint=image.fingerprint(), on_progress=show)
    if not quiet:
        for note in done.result.notes:
            print(f"voxelsmith: {note}", file=sys.stderr)
    return choice, done


def _told(choice: Choice, done: Finished[Proposal]) -> dict[str, Any]:
    """What every record says of a proposal."""
    found = done.result
    return {
        "engine": found.provenance.engine,
        "reason": choice.reason,
        "notes": list(found.notes),
        "support": list(found.provenance.support),
        "settings": found.provenance.settings,
        "seconds": done.seconds,
        "image_fingerprint": done.fingerprint,
    }


def _support(pairs: list[_Pair] | None, slices: list[str] | None, support_set: Path | None) -> SupportSet:
    """The saved set and the pairs, in one."""
    pairs, chosen = pairs or [], slices or [_ALL]
    if not pairs and support_set is None:
        raise InputError("Few-shot needs examples; give --support IMAGE LABELS, or --support-set with a saved set.")
    if len(chosen) not in (1, len(pairs)):
        raise InputError(
            f"--slices is given once for all examples or once for each --support, got {len(chosen)} for {len(pairs)}; "
            "write all for an example that is annotated as a whole."
        )
    collected = SupportSet() if support_set is None else read_support(support_set)
    for pair, text in zip(pairs, chosen * len(pairs) if len(chosen) == 1 else chosen, strict=True):
        axis, indices = (None, None) if text == _ALL else annotated_slices(text)
        collected = collected.add(read_example(pair.image, pair.labels, axis, indices))
    return collected


def _range(text: str) -> tuple[int, int]:
    first, last = numbers(text, 2, "--range")
    if first != int(first) or last != int(last) or first > last:
        raise InputError(f"--range takes the first and the last slice as whole numbers, got {text!r}.")
    return int(first), int(last)


def _named(support: SupportSet, names: list[str] | None) -> SupportSet:
    for text in names or ():
        value, _, name = text.partition("=")
        if not value.isdecimal() or not name.strip() or int(value) not in support.values:
            raise InputError(f"--name takes VALUE=NAME with one of the labels {list(support.values)}, got {text!r}.")
        support = support.describe(int(value), name)
    return support
