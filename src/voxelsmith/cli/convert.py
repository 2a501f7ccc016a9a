"""``voxelsmith convert``: the same volume in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voxelsmith.cli.common import Device, DeviceOption, JsonOption, QuietOption, emit, note_device
from voxelsmith.core.volume import LabelVolume
from voxelsmith.io import read, read_labels, write


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Any file or folder that can be read.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write; its ending chooses the format.")],
    labels: Annotated[bool, typer.Option("--labels", help="Read as labels whatever it looks like.")] = False,
    series: Annotated[str | None, typer.Option(help="Which series of a DICOM folder.")] = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert between formats; voxels, grid and orientation stay as they are."""
    note_device(device, quiet=quiet)
    volume = read_labels(source) if labels else read(source, series=series)
    write(volume, out)
    record = {
        "out": str(out),
        "shape": list(volume.array.shape),
        "dtype": str(volume.array.dtype),
        "orientation": volume.affine.axcodes,
        "spacing_mm": volume.spacing.tolist(),
        "labels": isinstance(volume, LabelVolume),
    }
    emit(record, f"{out}: {volume.array.shape} {volume.array.dtype} {volume.affine!r}", quiet=quiet, as_json=as_json)
