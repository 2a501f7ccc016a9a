"""``voxelsmith warp``: apply a transform to a volume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voxelsmith.cli.common import Device, DeviceOption, JsonOption, QuietOption, emit, note_device
from voxelsmith.cli.transforms import open_transform
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import read, read_labels, write
from voxelsmith.register.result import warp as warp_volume


def warp(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="The volume to warp.")],
    transform: Annotated[Path, typer.Option(help="Transform file, or the folder of a registration.")],
    like: Annotated[Path, typer.Option(help="A volume on the grid to warp to, usually the fixed image.")],
    out: Annotated[Path, typer.Option(help="File to write; its ending chooses the format.")],
    labels: Annotated[bool, typer.Option("--labels", help="Read INPUT as labels whatever it looks like.")] = False,
    inverse: Annotated[
        bool, typer.Option("--inverse", help="The other way: INPUT lies in the fixed world, --like in the moving one.")
    ] = False,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a volume onto another grid by a transform; labels stay labels."""
    note_device(device, quiet=quiet)
    target = read(like)
    volume = read_labels(source) if labels else read(source)
    found: Transform = open_transform(transform, volume if inverse else target)
    residual = None
    if inverse:
        found, residual = found.inverse(target.affine, target.grid)
    warped = warp_volume(found, volume, Volume(target.frame().array, target.affine, units=target.units))
    write(warped, out)
    record = {
        "out": str(out),
        "labels": isinstance(warped, LabelVolume),
        "inverse_residual_mm": None if residual is None else residual.mean_mm,
    }
    emit(record, f"{out}: {warped.array.shape} {warped.affine!r}", quiet=quiet, as_json=as_json)
