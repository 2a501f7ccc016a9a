"""``voxelsmith jacobian``: where a transform grows, shrinks and folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from voxelsmith.cli.common import Device, DeviceOption, JsonOption, QuietOption, emit, note_device
from voxelsmith.cli.transforms import open_transform
from voxelsmith.core import jacobian as definition
from voxelsmith.core.volume import Volume
from voxelsmith.io import read, read_labels, write


def jacobian(
    transform: Annotated[Path, typer.Argument(metavar="TRANSFORM", help="Transform file, or a registration's folder.")],
    out: Annotated[Path, typer.Option(help="Map of determinants to write; its ending chooses the format.")],
    like: Annotated[
        Path | None, typer.Option(help="A volume on the grid of the map; by default that of the transform's field.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Where to count, on the grid of the map.")] = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the Jacobian determinant of a transform, its affine part included, and say where it folds."""
    note_device(device, quiet=quiet)
    target = None if like is None else read(like)
    found = open_transform(transform, target)
    field = found.as_field() if target is None else found.as_field(target.affine, target.grid)
    determinant = field.jacobian_determinant()
    volume = Volume(determinant, field.affine, name="jacobian")
    part = definition.inside(determinant)
    if mask is not None:
        counted = read_labels(mask)
        volume.require_same_grid(counted)
        part = determinant[counted.mask()]
    part = part if part.size else determinant
    write(volume, out)
    record = {
        "out": str(out),
        "folding_share": definition.folding_share(part),
        "sdlogj": definition.sdlogj(part),
        "sdlogj_learn2reg": definition.sdlogj_learn2reg(part),
        "least": float(np.min(part)),
        "greatest": float(np.max(part)),
    }
    text = (
        f"{out}: {record['least']:.3f} to {record['greatest']:.3f}, folding share {record['folding_share']:.2%}, "
        f"SDlogJ {record['sdlogj']:.3f}"
    )
    emit(record, text, quiet=quiet, as_json=as_json)
