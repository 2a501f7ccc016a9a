"""From painted slices to a network, and from it to labels: ``voxelsmith train tvunet|diffusion`` and ``predict``."""

from __future__ import annotations

import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import numpy as np
import typer

from voxelsmith.cli.common import (
    Device,
    DeviceOption,
    JsonOption,
    QuietOption,
    annotated_slices,
    emit,
    progress_bar,
)
from voxelsmith.cli.segment import image_to_prompt
from voxelsmith.cli.train import (
    MaxSecondsOption,
    OutOption,
    ResumeOption,
    SeedOption,
    StepsOption,
    drive,
    tell,
)
from voxelsmith.core.connectivity import betti_of_labels
from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import run_job
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import read, read_labels, write
from voxelsmith.jobs.local import run_here
from voxelsmith.train.ranks import ranks

if TYPE_CHECKING:
    from voxelsmith.segment.trained import TrainedModel
    from voxelsmith.train.tvunet import TVUnetSettings

_MODEL = "model.safetensors"

ImageOption: TypeAlias = Annotated[Path | None, typer.Option(help="Image to learn from.")]
LabelsOption: TypeAlias = Annotated[Path | None, typer.Option(help="Its labels, on the same grid.")]
SlicesOption: TypeAlias = Annotated[
    str | None, typer.Option(help="Which slices are annotated, as AXIS:3,9,15 along i, j or k (default: all).")
]
PairsOption: TypeAlias = Annotated[
    Path | None, typer.Option(help="Instead: folder with images and labels, or NAME_image and NAME_label files.")
]
AllOption: TypeAlias = Annotated[
    bool, typer.Option("--learn-from-all", help="Keep no annotated slices apart to judge by.")
]


class Dimensions(StrEnum):
    """Choices of ``--dims``."""

    flat = "2d"
    stacked = "2.5d"
    solid = "3d"


class Preset(StrEnum):
    """Choices of ``--preset``."""

    default = "default"
    paper = "paper"


def tvunet(
    out: OutOption,
    image: ImageOption = None,
    labels: LabelsOption = None,
    slices: SlicesOption = None,
    pairs: PairsOption = None,
    dims: Annotated[
        Dimensions, typer.Option(help="Learn slices, slices with their neighbours, or blocks.")
    ] = Dimensions.flat,
    variation: Annotated[
        float | None, typer.Option(help="Weight of the total variation, 0 for a plain U-Net (default: 0.03).")
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Channels of the finest level (default: 16 on a CPU, 32 elsewhere).")
    ] = None,
    coordinates: Annotated[
        bool, typer.Option("--coordinates", help="Tell the network where a voxel lies; for this one volume.")
    ] = False,
    flips: Annotated[bool, typer.Option("--flips", help="Flip samples; few anatomies allow it.")] = False,
    learn_from_all: AllOption = False,
    preset: Annotated[Preset, typer.Option(help="Settings: ours, or those of the paper.")] = Preset.default,
    steps: StepsOption = None,
    max_seconds: MaxSecondsOption = None,
    resume: ResumeOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train TV-Unet on a few annotated slices, or on a folder of annotated volumes."""
    from voxelsmith.train import tvunet as trainer

    given = {"steps": steps, "max_seconds": max_seconds, "width": width, "variation": variation}
    axes = (0, 1, 2) if dims is Dimensions.solid else (0, 1)
    make = trainer.paper_literal if preset is Preset.paper else trainer.settings
    settings = make(
        **{name: value for name, value in given.items() if value is not None},
        dims=dims.value,
        coordinates=coordinates,
        flips=axes if flips else (),
        spare=not learn_from_all,
        seed=seed,
        device=device.value,
    )
    examples = _from_pairs(pairs, image, labels, slices) if pairs else (_from_volume(image, labels, slices), ())
    _learn(settings, out, *examples, resume=resume, quiet=quiet, as_json=as_json)


def diffusion(
    out: OutOption,
    image: ImageOption = None,
    labels: LabelsOption = None,
    slices: SlicesOption = None,
    pairs: PairsOption = None,
    neighbours: Annotated[int, typer.Option(help="Slices on each side that are seen as well.")] = 0,
    width: Annotated[
        int | None, typer.Option(help="Channels of the finest level, a multiple of 8 (default: 16 on a CPU, else 32).")
    ] = None,
    samples: Annotated[int, typer.Option(help="Samples whose mean is the answer.")] = 5,
    denoising: Annotated[int, typer.Option(help="Steps from noise to a sample.")] = 10,
    learn_from_all: AllOption = False,
    steps: StepsOption = None,
    max_seconds: MaxSecondsOption = None,
    resume: ResumeOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Experimental: train a diffusion model, which draws several answers, on the same data as TV-Unet."""
    from voxelsmith.train.diffusion_settings import settings as make

    given = {"steps": steps, "max_seconds": max_seconds, "width": width, "neighbours": neighbours or None}
    settings = make(
        **{name: value for name, value in given.items() if value is not None},
        dims="2.5d" if neighbours else "2d",
        samples=samples,
        denoising=denoising,
        spare=not learn_from_all,
        seed=seed,
        device=device.value,
    )
    examples = _from_pairs(pairs, image, labels, slices) if pairs else (_from_volume(image, labels, slices), ())
    _learn(settings, out, *examples, resume=resume, quiet=quiet, as_json=as_json)


def _learn(
    settings: TVUnetSettings,
    out: Path,
    support: SupportSet,
    judges: tuple[SupportExample, ...],
    *,
    resume: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train by one of the recipes that learn annotated slices, and tell what came of it."""
    from voxelsmith.segment.trained_export import save
    from voxelsmith.train import tvunet as trainer

    request = trainer.TrainingRequest(support, out, settings, judges=judges, resume=resume)
    done = drive(trainer.run(request), settings.steps, quiet=quiet or as_json)
    if not ranks().first:
        return
    file = save(trainer.trained_model(out), out / _MODEL)
    for note in () if quiet else done.result.notes:
        print(f"voxelsmith: {note}", file=sys.stderr)
    more = {"fingerprint": done.result.fingerprint, "notes": list(done.result.notes)}
    tell(out, file, done.result.history, done.seconds, more, quiet=quiet, as_json=as_json)


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Run folder of a training, or its model file.")],
    image: Annotated[Path, typer.Argument(help="Image to segment.")],
    out: Annotated[Path, typer.Option(help="Labels to write, on the grid of the image.")],
    labels: Annotated[
        Path | None, typer.Option(help="Labels of this image: between its annotated slices their shapes count too.")
    ] = None,
    slices: Annotated[
        str | None, typer.Option(help="Which slices of them are annotated, as AXIS:3,9,15 along i, j or k.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="Where probabilities are cut, between 0 and 1.")] = 0.5,
    largest_only: Annotated[
        bool, typer.Option("--largest-only", help="Keep one piece of each class, the largest.")
    ] = False,
    least_voxels: Annotated[int, typer.Option(help="Pieces with fewer voxels go.")] = 1,
    fill: Annotated[bool, typer.Option("--fill", help="Fill cavities.")] = False,
    last: Annotated[
        bool, typer.Option("--last", help="The last weights, even if earlier ones were judged better.")
    ] = False,
    uncertainty: Annotated[
        Path | None, typer.Option(help="Also write how unsure each voxel is: the entropy, 0 to 1.")
    ] = None,
    series: Annotated[str | None, typer.Option(help="Which series of a DICOM folder.")] = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Segment a volume with a network that was trained here."""
    from voxelsmith.segment.engine import check_threshold
    from voxelsmith.segment.trained import apply, recut
    from voxelsmith.segment.uncertainty import entropy

    check_threshold(threshold)
    model = _model(run, best=not last)
    volume = image_to_prompt(read(image, series=series))
    annotated = _annotated(volume, labels, slices, model.plan.classes)
    with progress_bar("Segmenting", quiet=quiet or as_json) as show:
        done = run_here(
            apply(model, volume, device.value, annotated),
            title="Segmenting",
            fingerprint=volume.fingerprint(),
            on_progress=show,
        )
    proposal = recut(done.result, threshold, largest_only=largest_only, least_voxels=least_voxels, fill=fill)
    found: LabelVolume = proposal.labels
    write(found, out)
    if uncertainty is not None:
        write(replace(volume, array=entropy(proposal.probabilities), name="uncertainty"), uncertainty)
    for note in () if quiet else proposal.notes:
        print(f"voxelsmith: {note}", file=sys.stderr)
    topology = betti_of_labels(found)
    rows = {
        value: {
            "name": name,
            "voxels": int(np.count_nonzero(found.mask(value))),
            "components": topology[value].components if value in topology else 0,
            "cavities": topology[value].cavities if value in topology else 0,
        }
        for value, name in zip(model.plan.classes, model.plan.names, strict=True)
    }
    record = {
        "out": str(out),
        "uncertainty": None if uncertainty is None else str(uncertainty),
        "labels": rows,
        "annotated_slices": sum(len(example.slices or ()) for example in annotated),
        "threshold": threshold,
        "seconds": done.seconds,
        "model": model.name,
        "image_fingerprint": done.fingerprint,
        "worst_slice": proposal.worst_slice,
        "notes": list(proposal.notes),
    }
    text = ", ".join(f"{row['name']} {row['voxels']} voxels in {row['components']}" for row in rows.values())
    emit(record, f"{out}: {text}, {done.seconds:.1f} s", quiet=quiet, as_json=as_json)


def _from_volume(image: Path | None, labels: Path | None, slices: str | None) -> SupportSet:
    if image is None or labels is None:
        raise InputError(
            "TV-Unet learns from an image with its labels, or from a folder of pairs; give --image and "
            "--labels, or --pairs."
        )
    axis, chosen = (None, None) if slices is None else annotated_slices(slices)
    volume, annotation = image_to_prompt(read(image)), read_labels(labels)
    return SupportSet().add(SupportExample(volume, annotation, axis, chosen))


def _annotated(
    image: Volume, labels: Path | None, slices: str | None, classes: tuple[int, ...]
) -> tuple[SupportExample, ...]:
    """What is annotated of an image to which a network of some classes is applied."""
    if labels is None and slices is None:
        return ()
    if labels is None or slices is None:
        raise InputError(
            "Annotated slices are labels and the slices in which they were painted; give both --labels and --slices."
        )
    annotation = read_labels(labels)
    looked_for = frozenset(classes).union(annotation.values())
    return (SupportExample(image, annotation, *annotated_slices(slices), looked_for),)


def _from_pairs(
    folder: Path, image: Path | None, labels: Path | None, slices: str | None
) -> tuple[SupportSet, tuple[SupportExample, ...]]:
    from voxelsmith.train.pairs import read_pairs

    if image is not None or labels is not None or slices is not None:
        raise InputError("A folder of pairs has all slices annotated; leave out --image, --labels and --slices.")
    pairs = run_job(read_pairs(folder))
    return pairs.support, pairs.judges


def _model(run: Path, *, best: bool) -> TrainedModel:
    if run.is_file():
        from voxelsmith.segment.trained import load

        return load(run)
    from voxelsmith.train.tvunet import trained_model

    return trained_model(run, best=best)
