"""``voxelsmith demo``: the first click, on the volumes that ship."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from voxelsmith.cli.common import Device, DeviceOption, JsonOption, QuietOption, emit, note_device
from voxelsmith.core.errors import ResourceError
from voxelsmith.core.metrics import dice
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import samples, write
from voxelsmith.segment.engine import make_engine
from voxelsmith.segment.simulate import simulate

CASES = {"tumour": ("brain1_image", "brain1_label"), "nodule": ("lung1_image", "lung1_label")}


def demo(
    out_dir: Annotated[Path, typer.Option(help="Where the masks and the screenshot go.")] = Path("voxelsmith-demo"),
    window: Annotated[
        bool | None, typer.Option("--window/--no-window", help="Show napari; by default where there is a display.")
    ] = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Segment a brain tumour and a lung nodule from a box and up to five simulated clicks, and show the result."""
    note_device(device, quiet=quiet)
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
        scores, seconds, mask = _prompt(image, truth.array != 0)
        labels = image.labels(mask.astype(np.uint8), name=name, names={1: name})
        path = write(labels, out_dir / f"{name}.nii.gz")
        write(image, out_dir / f"{image_name}.nii.gz")
        results.append((image, labels))
        record[name] = {"dice": scores, "seconds_per_prompt": seconds, "out": str(path)}
        steps = "  ".join(f"{'box' if n == 0 else f'{n} clicks'} {s:.3f}" for n, s in enumerate(scores))
        lines.append(f"{name}: Dice {steps}; {np.median(seconds):.2f} s a prompt (median); {path}")
    if not as_json and not quiet:
        print("\n".join(lines))
    record["screenshot"] = _show(results, out_dir / "demo.png", window)
    shown = record["screenshot"] or "no display, so no window was opened"
    emit(record, f"window: {shown}", quiet=quiet, as_json=as_json)


def _prompt(image: Volume, truth: np.ndarray) -> tuple[list[float], list[float], np.ndarray]:
    """Dice and seconds after the box and after each click, and the last mask."""
    scores, seconds = [], []
    for answer in simulate(make_engine(), image, truth):
        mask = answer.segmentation.on_grid()
        seconds.append(answer.seconds)
        scores.append(dice(truth, mask))
    return scores, seconds, mask


def _show(results: list[tuple[Volume, LabelVolume]], screenshot: Path, window: bool | None) -> str | None:
    """Open the real window, save a picture of it, and stay where somebody can see it."""
    virtual = "VOXELSMITH_VIRTUAL_DISPLAY" in os.environ
    display = sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if not (display if window is None else window):
        return None
    from voxelsmith.plugin.showcase import show

    show(results, screenshot, stay=display and not virtual)
    return str(screenshot)
