"""``voxelsmith register``: bring one volume onto another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from voxelsmith.cli.common import Device, DeviceOption, JsonOption, QuietOption, emit, plain, progress_bar
from voxelsmith.cli.transforms import make_folder, open_transform
from voxelsmith.core.affine import FloatArray
from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import read, read_labels, write
from voxelsmith.io.atomic import replacing
from voxelsmith.io.points import read_points
from voxelsmith.io.transforms.folder import AFFINE_FILE, FIELD_FILE, write_folder
from voxelsmith.jobs.local import run_here

if TYPE_CHECKING:
    from voxelsmith.register.request import RegistrationSettings
    from voxelsmith.register.result import RegistrationResult

_WARPED = "warped.nii.gz"
_LABELS = "warped_labels.nii.gz"
_REPORT = "report.json"


def register(
    fixed: Annotated[Path, typer.Argument(help="The image that stays.")],
    moving: Annotated[Path, typer.Argument(help="The image that is brought onto it.")],
    out_dir: Annotated[Path, typer.Option(help="Folder for the results, made if absent.")],
    preset: Annotated[
        str, typer.Option(help="same-modality, cross-modality, other-contrast, large-motion or fast.")
    ] = "same-modality",
    affine_only: Annotated[bool, typer.Option("--affine-only", help="Leave the deformation out.")] = False,
    rigid: Annotated[bool, typer.Option("--rigid", help="Only turn and shift.")] = False,
    initial: Annotated[Path | None, typer.Option(help="An affine map to start from (.txt, .mat, .tfm, .h5).")] = None,
    finest: Annotated[int | None, typer.Option(help="Stop the deformation at 1/N resolution.")] = None,
    symmetric: Annotated[bool, typer.Option("--symmetric", help="Let both images move, half-way each.")] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Start from a network: its file of weights, or the run folder of its training.")
    ] = None,
    fixed_mask: Annotated[Path | None, typer.Option(help="Where voxels of the fixed image count.")] = None,
    moving_mask: Annotated[Path | None, typer.Option(help="Where voxels of the moving image count.")] = None,
    fixed_labels: Annotated[Path | None, typer.Option(help="Structures in the fixed image.")] = None,
    moving_labels: Annotated[Path | None, typer.Option(help="The same structures in the moving image.")] = None,
    guide: Annotated[
        bool, typer.Option("--guide/--no-guide", help="Let labels guide the deformation, or only compare them.")
    ] = True,
    fixed_points: Annotated[Path | None, typer.Option(help="CSV of landmarks, x,y,z in RAS millimetres.")] = None,
    moving_points: Annotated[Path | None, typer.Option(help="CSV of the same landmarks in the moving image.")] = None,
    fixed_frame: Annotated[int, typer.Option(help="Frame or channel of a 4-D fixed image, from 0.")] = 0,
    moving_frame: Annotated[int, typer.Option(help="Frame or channel of a 4-D moving image, from 0.")] = 0,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Register two volumes: rigid, affine and deformable."""
    from voxelsmith.register.pipeline import register as job
    from voxelsmith.register.request import RegistrationRequest

    still, other = _image(fixed, fixed_frame), _image(moving, moving_frame)
    if still.affine.is_sheared:
        raise GeometryError(
            f"The field is written on the grid of the fixed image, but that of {fixed.name} is sheared, which ITK "
            "cannot express; resample it first."
        )
    settings = _settings(still, preset, affine_only=affine_only, rigid=rigid, finest=finest, symmetric=symmetric)
    if settings.deformable is not None and not guide:
        settings = replace(settings, deformable=replace(settings.deformable, label_weight=0.0))
    request = RegistrationRequest(
        still,
        other,
        fixed_mask=_labels(fixed_mask),
        moving_mask=_labels(moving_mask),
        fixed_labels=_labels(fixed_labels),
        moving_labels=_labels(moving_labels),
        fixed_points=None if fixed_points is None else read_points(fixed_points),
        moving_points=None if moving_points is None else read_points(moving_points),
        settings=replace(settings, device=device.value, weights=weights),
        initial=None if initial is None else _affine_map(initial),
    )
    make_folder(out_dir)
    with progress_bar("Registering", quiet=quiet or as_json) as show:
        done = run_here(job(request), title="Registering", on_progress=show)
    record = _write(done.result, out_dir, preset, done.seconds)
    emit(record, _text(record, done.result), quiet=quiet, as_json=as_json)


def _image(path: Path, frame: int) -> Volume:
    """A 3-D image, whatever the file looks like."""
    volume = read(path).frame(frame)
    if isinstance(volume, LabelVolume):
        return Volume(volume.array, volume.affine, volume.name, volume.units, metadata=volume.metadata)
    return volume


def _labels(path: Path | None) -> LabelVolume | None:
    return None if path is None else read_labels(path)


def _affine_map(path: Path) -> FloatArray:
    transform = open_transform(path)
    if transform.field is not None:
        raise InputError(f"A registration starts from an affine map, but {path.name} deforms; give its affine part.")
    return transform.matrix


def _settings(
    fixed: Volume, name: str, *, affine_only: bool, rigid: bool, finest: int | None, symmetric: bool
) -> RegistrationSettings:
    """The preset, changed as the options say."""
    from voxelsmith.register.presets import preset, stopped_at

    settings = preset(name, fixed)
    if rigid:
        settings = replace(settings, affine=replace(settings.affine, model="rigid"))
    if rigid or affine_only:
        settings = replace(settings, deformable=None)
    if finest is not None:
        settings = stopped_at(settings, fixed, finest)
    if symmetric:
        if settings.deformable is None:
            raise InputError("--symmetric is about the deformation, which --rigid and --affine-only leave out.")
        settings = replace(settings, deformable=replace(settings.deformable, symmetric=True))
    return settings


def _write(result: RegistrationResult, folder: Path, preset: str, seconds: float) -> dict[str, Any]:
    """Write everything, the report last; returns what the command prints."""
    still = result.request.fixed
    files = {"warped": _WARPED, "displacement": FIELD_FILE, "affine": AFFINE_FILE}
    write(result.warped, folder / _WARPED)
    write_folder(result.transform, folder, still.affine, still.grid)
    labels = result.warped_labels()
    if labels is not None:
        write(labels, folder / _LABELS)
        files["warped_labels"] = _LABELS
    record = {
        **{name: str(folder / file) for name, file in files.items()},
        "report": str(folder / _REPORT),
        "preset": preset,
        "start": result.start,
        "notes": list(result.notes),
        "measures": result.measures.as_record(),
        "seconds": seconds,
        "fixed_fingerprint": result.fingerprints[0],
        "moving_fingerprint": result.fingerprints[1],
    }
    report = {
        **record,
        "matrix": result.transform.matrix.tolist(),
        "history": [[s.stage, s.level, s.number, s.similarity] for s in result.history],
    }
    with replacing(folder / _REPORT) as temporary:
        temporary.write_text(json.dumps(plain(report), allow_nan=False, indent=2) + "\n", encoding="utf-8")
    return record


def _text(record: dict[str, Any], result: RegistrationResult) -> str:
    """The outcome for people."""
    m = result.measures
    lines = [*result.notes, f"{record['warped']}: {m.similarity} {m.similarity_before:.3f} -> {m.similarity_after:.3f}"]
    if m.dice:
        before, after = (float(np.mean([getattr(d, when) for d in m.dice.values()])) for when in ("before", "after"))
        lines.append(f"Dice, mean of {len(m.dice)} labels: {before:.3f} -> {after:.3f}")
    if m.tre_after_mm:
        lines.append(f"Landmarks, mean distance: {np.mean(m.tre_before_mm):.2f} -> {np.mean(m.tre_after_mm):.2f} mm")
    if m.folding_share is not None:
        lines.append(f"Folding share {m.folding_share:.2%}, SDlogJ {m.sdlogj:.3f}")
    return "\n".join([*lines, f"{record['seconds']:.1f} s"])
