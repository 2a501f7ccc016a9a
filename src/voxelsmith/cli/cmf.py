"""``voxelsmith train cmf``: the tumour network, from a folder of patients with labels to weights."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from voxelsmith.cli.common import Device, DeviceOption, JsonOption, QuietOption
from voxelsmith.cli.train import MaxSecondsOption, OutOption, ResumeOption, SeedOption, WorkersOption, drive, tell
from voxelsmith.train.ranks import ranks


class Sequences(StrEnum):
    """Choices of ``--sequences``."""

    four = "4"
    two = "2"


class FusionKind(StrEnum):
    """Choices of ``--fusion``."""

    guided = "guided"
    plain = "plain"
    mean = "mean"
    concatenation = "concatenation"


def cmf(
    out: OutOption,
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of patients, laid out as by BraTS 2013 to 2024 or the Decathlon.")
    ] = None,
    maps: Annotated[
        Path | None, typer.Option(help="Folder of head label maps (FreeSurfer's numbers) to grow tumours in.")
    ] = None,
    sequences: Annotated[
        Sequences, typer.Option(help="T1, T1c, T2 and FLAIR, any of which may be missing; or T1c and FLAIR.")
    ] = Sequences.four,
    convention: Annotated[
        str | None, typer.Option(help="What the labels mean, such as brats2018 or msd (default: found out).")
    ] = None,
    validate: Annotated[
        list[str] | None, typer.Option(help="Patient that judges; may be given several times (default: every fifth).")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Patient that is not looked at; may be given several times.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Weights to go on from: cmf-2 or cmf-4, a file, or a run folder.")
    ] = None,
    synthetic: Annotated[float | None, typer.Option(help="Share of made-up tumours, 0 to 1.")] = None,
    side: Annotated[int | None, typer.Option(help="Voxels of a window along each axis, a multiple of 16.")] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Share of windows from which sequences are taken away, 0 to 1 (second stage).")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate of the second stage.")] = None,
    average: Annotated[
        float | None, typer.Option(help="Decay of the averaged weights in the second stage, 0 for none.")
    ] = None,
    fusion: Annotated[FusionKind, typer.Option(help="How the pairs are fused.")] = FusionKind.guided,
    transfer: Annotated[
        bool, typer.Option("--transfer/--no-transfer", help="Begin the branches with what the generators learned.")
    ] = True,
    transition_steps: Annotated[int | None, typer.Option(help="Optimiser steps of the first stage.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps of the second stage.")] = None,
    max_seconds: MaxSecondsOption = None,
    resume: ResumeOption = False,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train the tumour network: translate sequences into each other, then fuse them into WT, TC and ET."""
    from voxelsmith.models.crossmodality import MODALITIES, TWO, Architecture
    from voxelsmith.segment.crossmodality import WEIGHTS, save_network
    from voxelsmith.train import crossmodality as trainer
    from voxelsmith.train.checkpoint import export, has_checkpoint
    from voxelsmith.train.tumour_folder import tumour_folder
    from voxelsmith.train.tumours import brain_maps

    names = MODALITIES if sequences is Sequences.four else TWO
    architecture = Architecture(names, fusion=fusion.value)
    shared = _given(max_seconds=max_seconds, workers=workers, side=side, synthetic=synthetic)
    shared |= {"architecture": architecture, "device": device.value, "seed": seed, "transfer": transfer}
    of_second = _given(steps=steps, dropout=dropout, learning_rate=learning_rate, average=average)
    first = trainer.transition_settings(**shared, **_given(steps=transition_steps))
    second = trainer.fusion_settings(**shared, **of_second)
    heads = () if maps is None else brain_maps(maps)
    found = (
        None
        if folder is None
        else tumour_folder(folder, names, labelled_as=convention, validate=validate, left_out=leave_out or ())
    )
    notes = () if found is None else found.notes
    material = trainer.Material(maps=heads) if found is None else trainer.Material(found.train, found.judges, heads)
    for note in notes if ranks().first and not quiet else ():
        print(f"voxelsmith: {note}", file=sys.stderr)
    job = trainer.run(first, second, material, out, start=start, resume=resume)
    done = drive(job, first.steps + second.steps, quiet=quiet or as_json)
    if not ranks().first:
        return
    history, weights = done.result, out / WEIGHTS
    if has_checkpoint(out):
        save_network(architecture, export(out), weights, {"step": str(history.step), "steps": str(history.steps)})
    more = {"modalities": list(names), "notes": list(notes)}
    tell(out, weights, history, done.seconds, more, quiet=quiet, as_json=as_json)


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}
