"""``voxelsmith invert``: the transform the other way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voxelsmith.cli.common import Device, DeviceOption, JsonOption, QuietOption, emit, note_device
from voxelsmith.cli.transforms import open_transform
from voxelsmith.io import read
from voxelsmith.io.transforms import write_transform


def invert(
    transform: Annotated[Path, typer.Argument(metavar="TRANSFORM", help="Transform file, or a registration's folder.")],
    like: Annotated[Path, typer.Option(help="The moving image: the inverse is sampled on its grid.")],
    out: Annotated[Path, typer.Option(help="File to write (.h5, .nii.gz, .npz; affine maps also .txt, .mat, .tfm).")],
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Invert a transform, and tell by how much the inverse fails to return."""
    note_device(device, quiet=quiet)
    moving = read(like)
    found, residual = open_transform(transform).inverse(moving.affine, moving.grid)
    write_transform(found, out, moving.affine, moving.grid)
    record = {
        "out": str(out),
        "residual_mean_mm": residual.mean_mm,
        "residual_max_mm": residual.max_mm,
        "inside": residual.inside,
    }
    text = f"{out}: returns within {residual.mean_mm:.4f} mm on average, {residual.max_mm:.4f} mm at most"
    emit(record, text, quiet=quiet, as_json=as_json)
