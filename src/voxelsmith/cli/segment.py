"""``voxelsmith segment``: one object from prompts."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from voxelsmith.cli.common import (
    Device,
    DeviceOption,
    JsonOption,
    QuietOption,
    emit,
    note_device,
    numbers,
    progress_bar,
)
from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.prompts import Box, MaskPrompt, ObjectPrompts, Point, Prompt, TextPrompt
from voxelsmith.core.volume import LabelVolume, Volume, volume_text
from voxelsmith.io import read, read_labels, write
from voxelsmith.jobs.local import run_here
from voxelsmith.segment.engine import (
    PromptRequest,
    Segmentation,
    check_threshold,
    engine_info,
    engine_names,
    make_engine,
)
from voxelsmith.segment.network import device_type
from voxelsmith.segment.session import USUAL_THRESHOLD


def segment(
    image: Annotated[Path, typer.Argument(help="Image file, DICOM folder or OME-Zarr.")],
    out: Annotated[Path, typer.Option(help="Mask to write (.nii.gz, .nii, .nrrd, .mha, .mhd).")],
    box: Annotated[list[str] | None, typer.Option(help="i0,j0,k0,i1,j1,k1: both corners belong to the box.")] = None,
    point: Annotated[list[str] | None, typer.Option(help="i,j,k of a point inside the object.")] = None,
    negative_point: Annotated[list[str] | None, typer.Option(help="i,j,k of a point outside the object.")] = None,
    text: Annotated[str | None, typer.Option(help="Name of the object, for models that read text.")] = None,
    init: Annotated[Path | None, typer.Option(help="A mask on the image's grid to start from.")] = None,
    model: Annotated[
        str | None, typer.Option(help=f"Engine: {', '.join(engine_names())} (default: the first).")
    ] = None,
    threshold: Annotated[float, typer.Option(help="Where probabilities are cut, between 0 and 1.")] = USUAL_THRESHOLD,
    probability: Annotated[
        Path | None, typer.Option(help="Probability map to write, float32, of engines that give it.")
    ] = None,
    mm: Annotated[bool, typer.Option("--mm", help="Boxes and points are RAS millimetres, not voxel indices.")] = False,
    frame: Annotated[
        int | None,
        typer.Option(help="Which frame or channel of a 4-D image, from 0 (default: 0; colours: their luminance)."),
    ] = None,
    series: Annotated[str | None, typer.Option(help="Which series of a DICOM folder.")] = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Segment one object from a box, points, a word or an earlier mask."""
    info = engine_info(model)
    if not info.learned:
        note_device(device, quiet=quiet)
    check_threshold(threshold)
    if probability is not None and probability.resolve() == out.resolve():
        raise InputError(f"The mask and the probability map are two files, but both would be {out}; rename one.")
    volume = image_to_prompt(read(image, series=series), frame)
    to_voxels = volume.affine.inverse() if mm else None
    prompts: list[Prompt] = []
    if init is not None:
        earlier = read_labels(init)
        volume.require_same_grid(earlier)
        prompts.append(MaskPrompt.cropped(np.asarray(earlier.array)))
    prompts += [_box(text, to_voxels) for text in box or ()]
    prompts += [_point(text, True, to_voxels) for text in point or ()]
    prompts += [_point(text, False, to_voxels) for text in negative_point or ()]
    if text is not None:
        prompts.append(TextPrompt(text))
    place = device_type(device.value) if info.learned else "cpu"
    engine = make_engine(info.name, device.value)
    request = PromptRequest(volume, ObjectPrompts(tuple(prompts)))
    with progress_bar("Segmenting", quiet=quiet or as_json) as show:
        done = run_here(engine.segment(request), title="Segmenting", fingerprint=volume.fingerprint(), on_progress=show)
    result: Segmentation = done.result
    if threshold != result.threshold:
        result = result.at(threshold)
    mask = result.on_grid()
    if probability is not None:
        likely = result.require_probability().on_grid(volume.grid)
        write(replace(volume, array=likely, name="probability"), probability)
    write(volume.labels(mask.astype(np.uint8), name="mask"), out)
    voxels = int(mask.sum())
    millilitres = voxels * volume.affine.voxel_volume / 1000
    record = {
        "out": str(out),
        "voxels": voxels,
        "volume_ml": millilitres,
        "seconds": done.seconds,
        "engine": engine.name,
        "threshold": None if result.probability is None else result.threshold,
        "probability": None if probability is None else str(probability),
        "device": place,
        "image_fingerprint": done.fingerprint,
        "note": result.note,
    }
    if result.note and not quiet:
        print(f"voxelsmith: {result.note}", file=sys.stderr)
    emit(
        record,
        f"{out}: {voxels} voxels, {volume_text(1000 * millilitres)}, {done.seconds:.2f} s",
        quiet=quiet,
        as_json=as_json,
    )


def image_to_prompt(volume: Volume, frame: int | None = None) -> Volume:
    """The 3-D image that prompts refer to: a frame of a 4-D one; a colour one becomes its luminance."""
    if isinstance(volume, LabelVolume):
        volume = Volume(volume.array, volume.affine, volume.name, volume.units, metadata=volume.metadata)
    if frame and volume.array.ndim == 3:
        raise InputError(f"Frame {frame} does not exist; the image has one.")
    if frame is None and volume.is_colour:
        return volume.luminance()
    return volume.frame(frame or 0)


def _box(text: str, to_voxels: Affine | None) -> Box:
    values = numbers(text, 6, "--box")
    if to_voxels is None:
        if any(v != int(v) for v in values):
            raise InputError(f"--box takes whole voxel indices (or millimetres with --mm), got {text!r}.")
        i0, j0, k0, i1, j1, k1 = (int(v) for v in values)
        return Box((i0, j0, k0), (i1, j1, k1))
    # An oblique image turns the box, so all eight corners count.
    corners = np.array(list(product(*zip(values[:3], values[3:], strict=True))))
    indices = to_voxels.apply(corners)
    low, high = np.floor(indices.min(axis=0) + 0.5), np.floor(indices.max(axis=0) + 0.5)
    return Box(tuple(low.astype(int).tolist()), tuple(high.astype(int).tolist()))


def _point(text: str, positive: bool, to_voxels: Affine | None) -> Point:
    values = np.array(numbers(text, 3, "--point" if positive else "--negative-point"))
    i, j, k = (values if to_voxels is None else to_voxels.apply(values)).tolist()
    return Point((i, j, k), positive)
