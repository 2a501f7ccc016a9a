"""``voxelsmith demo``: the first click, on the volumes and with the engines that ship."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from voxelsmith.cli.common import Device, DeviceOption, JsonOption, QuietOption, emit, note_device
from voxelsmith.core.errors import ResourceError
from voxelsmith.core.metrics import dice
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import samples, write
from voxelsmith.segment.engine import Engine, engine_info, engine_infos, engine_names, make_engine
from voxelsmith.segment.simulate import simulate

CASES = {"tumour": ("brain1_image", "brain1_label"), "nodule": ("lung1_image", "lung1_label")}


def demo(
    out_dir: Annotated[Path, typer.Option(help="Where the masks and the screenshot go.")] = Path("voxelsmith-demo"),
    window: Annotated[
        bool | None, typer.Option("--window/--no-window", help="Show napari; by default where there is a display.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help=f"The only engine to try: {', '.join(engine_names())}; by default those that ship."),
    ] = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Segment a brain tumour and a lung nodule from a box and up to five simulated clicks, and show the result.

    Every engine that ships is tried unless one is named; of each object the better last mask is kept.
    """
    infos = [engine_info(model)] if model else [info for info in engine_infos() if not info.weights]
    if not any(info.learned for info in infos):
        note_device(device, quiet=quiet)
    engines = [make_engine(info.name, device.value) for info in infos]
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"The folder {out_dir} cannot be made ({error.strerror}); choose another one with --out-dir."
        ) from error
    results: list[tuple[Volume, LabelVolume]] = []
    record: dict[str, object] = {}
    lines = []
    for name, (image_name, truth_name) in CASES.items():
        image, truth = samples.load(image_name), samples.load(truth_name)
        attempts = [_prompt(engine, image, truth.array != 0) for engine in engines]
        best = max(attempts, key=lambda attempt: attempt.dice[-1])
        labels = image.labels(best.mask.astype(np.uint8), name=name, names={1: name})
        path = write(labels, out_dir / f"{name}.nii.gz")
        write(image, out_dir / f"{image_name}.nii.gz")
        results.append((image, labels))
        others = [attempt.record for attempt in attempts if attempt is not best]
        record[name] = {**best.record, "out": str(path), "others": others}
        lines += [f"{name}, {attempt.text}" for attempt in attempts]
        lines.append(f"{name}, mask of the {best.engine.title}: {path}")
    if not as_json and not quiet:
        print("\n".join(lines))
    record["screenshot"] = _show(results, out_dir / "demo.png", window)
    shown = record["screenshot"] or "no display, so no window was opened"
    emit(record, f"window: {shown}", quiet=quiet, as_json=as_json)


@dataclass(frozen=True, eq=False)
class _Attempt:
    """One engine on one object: Dice and seconds after the box and after each click, and the last mask."""

    engine: Engine
    dice: list[float]
    seconds: list[float]
    mask: npt.NDArray[np.bool_]

    @property
    def record(self) -> dict[str, object]:
        return {"engine": self.engine.name, "dice": self.dice, "seconds_per_prompt": self.seconds}

    @property
    def text(self) -> str:
        steps = ["box", "1 click", *(f"{n} clicks" for n in range(2, len(self.dice)))]
        scores = "  ".join(f"{step} {score:.3f}" for step, score in zip(steps, self.dice, strict=False))
        return f"{self.engine.title}: Dice {scores}; {np.median(self.seconds):.2f} s a prompt (median)"


def _prompt(engine: Engine, image: Volume, truth: npt.NDArray[np.bool_]) -> _Attempt:
    scores, seconds = [], []
    for answer in simulate(engine, image, truth):
        mask = answer.segmentation.on_grid()
        seconds.append(answer.seconds)
        scores.append(dice(truth, mask))
    return _Attempt(engine, scores, seconds, mask)


def _show(results: list[tuple[Volume, LabelVolume]], screenshot: Path, window: bool | None) -> str | None:
    """Open the real window, save a picture of it, and stay where somebody can see it."""
    virtual = "VOXELSMITH_VIRTUAL_DISPLAY" in os.environ
    display = sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if not (display if window is None else window):
        return None
    from voxelsmith.plugin.showcase import show

    show(results, screenshot, stay=display and not virtual)
    return str(screenshot)
