"""``voxelsmith weights``: the trained networks, those that ship and those that can be fetched."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from voxelsmith.cli.common import Device, DeviceOption, JsonOption, QuietOption, emit, note_device, progress_bar
from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import run_job
from voxelsmith.weights import manifest, zoo
from voxelsmith.weights.cache import size_text

_NONE = "This version knows no weights."
_NO_NETWORK = "added, but the network itself is not here yet"

app = typer.Typer(help="List, fetch, add, check and remove trained networks.", rich_markup_mode=None)

NameArgument: TypeAlias = Annotated[str, typer.Argument(help="Which weights, as `voxelsmith weights list` names them.")]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", help="Agree beforehand instead of being asked.")]


@app.command("list")
def list_weights(device: DeviceOption = Device.auto, quiet: QuietOption = False, as_json: JsonOption = False) -> None:
    """List the weights, with state, size, licence and file."""
    note_device(device, quiet=quiet)
    models = zoo.models()
    lines = ["\t".join((m.name, m.title, m.state, m.size_text, m.licence, str(m.path or "-"))) for m in models]
    emit({"weights": {m.name: _record(m) for m in models}}, "\n".join(lines) or _NONE, quiet=quiet, as_json=as_json)


@app.command("get")
def get(
    name: NameArgument,
    yes: YesOption = False,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Download weights that do not ship, after you agreed to size, source and licence."""
    note_device(device, quiet=quiet)
    _require_consent(zoo.terms(name), "Download it?", yes)
    with _resumable(), progress_bar("Downloading", quiet=quiet or as_json) as show:
        path = run_job(zoo.download(name, consent=True), show)
    emit({"name": name, "path": str(path)}, f"{name}: {path}", quiet=quiet, as_json=as_json)


@app.command("add")
def add(
    path: Annotated[Path, typer.Argument(help="File with weights, in any form that the network was published in.")],
    link: Annotated[bool, typer.Option("--link", help="Leave the file where it is instead of copying it.")] = False,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Use a file that you have: it is recognised by its tensors and copied to where downloads lie."""
    note_device(device, quiet=quiet)
    with progress_bar("Adding", quiet=quiet or as_json) as show:
        name = run_job(zoo.add(path, link=link), show)
    there = str(zoo.locate(name)) if zoo.installed(name) else None
    emit({"name": name, "path": there}, f"{name}: {there or _NO_NETWORK}", quiet=quiet, as_json=as_json)


@app.command("verify")
def verify(
    name: Annotated[str | None, typer.Argument(help="Which weights; all that are here if left out.")] = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check that the files of the weights are those that were published, or that first arrived."""
    note_device(device, quiet=quiet)
    names = [m.name for m in zoo.models() if m.state != "not installed"] if name is None else [name]
    files = {}
    with progress_bar("Checking", quiet=quiet or as_json) as show:
        for each in names:
            files[each] = str(run_job(zoo.verify(each), show))
    lines = [f"{each}: intact, {file}" for each, file in files.items()]
    emit({"verified": files}, "\n".join(lines) or _NONE, quiet=quiet, as_json=as_json)


@app.command("remove")
def remove(
    name: NameArgument,
    yes: YesOption = False,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete weights that were fetched or added."""
    note_device(device, quiet=quiet)
    _require_consent(f"All that was fetched or added of {name!r} will be deleted.", "Delete it?", yes)
    freed = zoo.remove(name)
    emit({"name": name, "freed": freed}, f"{name}: removed, {size_text(freed)}", quiet=quiet, as_json=as_json)


def _require_consent(facts: str, question: str, yes: bool) -> None:
    """Ask on a terminal, and refuse where nobody can answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(f"{facts} Nobody was asked, because this is no terminal; repeat the command with --yes.")
    typer.confirm(f"{facts}\n{question}", abort=True, err=True)


@contextmanager
def _resumable() -> Iterator[None]:
    """Ctrl+C keeps what has come."""
    try:
        yield
    except KeyboardInterrupt:
        print("voxelsmith: Stopped; the same command goes on from there.", file=sys.stderr)
        raise typer.Exit(1) from None


def _record(model: zoo.Model) -> dict[str, Any]:
    shipped = [asdict(each) for each in manifest.entries() if each.name == model.name]
    path = None if model.path is None else str(model.path)
    return {**(shipped[0] if shipped else {}), **asdict(model), "path": path}
