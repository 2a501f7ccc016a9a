"""``voxelsmith weights``: the trained networks that ship."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from voxelsmith import weights as zoo
from voxelsmith.cli.common import Device, DeviceOption, JsonOption, QuietOption, emit, note_device
from voxelsmith.core.errors import ModelUnavailableError

app = typer.Typer(help="List and check the trained networks that ship.", rich_markup_mode=None)


@app.command("list")
def list_weights(device: DeviceOption = Device.auto, quiet: QuietOption = False, as_json: JsonOption = False) -> None:
    """List the weights, with licence, size and file."""
    note_device(device, quiet=quiet)
    rows = {}
    for entry in zoo.entries():
        try:
            path = str(zoo.path(entry.name))
        except ModelUnavailableError:
            path = None
        rows[entry.name] = {**asdict(entry), "path": path}
    lines = [
        f"{name}\t{row['title']}\t{row['bytes'] / 2**20:.1f} MiB\t{row['licence']}\t{row['path'] or 'missing'}"
        for name, row in rows.items()
    ]
    emit({"weights": rows}, "\n".join(lines) or "No weights ship with this version.", quiet=quiet, as_json=as_json)


@app.command("verify")
def verify(
    name: Annotated[str | None, typer.Argument(help="Which weights; all if left out.")] = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check that the files of the weights are those that the package was published with."""
    note_device(device, quiet=quiet)
    names = [entry.name for entry in zoo.entries()] if name is None else [name]
    files = {each: str(zoo.verify(each)) for each in names}
    lines = [f"{each}: intact, {file}" for each, file in files.items()]
    emit({"verified": files}, "\n".join(lines) or "No weights ship with this version.", quiet=quiet, as_json=as_json)
