"""How long a prompt takes to be seen, and how long the window is blocked meanwhile, in a real napari window.

    tools/with_display.sh python benchmarks/window.py [--engine promptable] [--rounds N] [--dtype int16]

The 256 x 256 x 128 volume of ``memory.py`` is prompted through the layers of the Prompt dock: a box, ten clicks of both
signs, Accept and Undo, once on slices and once in 3-D. "To paint" is the time from the layer's event until a frame was
swapped that shows the answer. "Blocked" is the longest gap between the ticks of a 5 ms timer, from the event until the
window is at rest again: what the user feels. Start, which makes the layers, and a plain ``refresh`` of a Labels layer
of the same size, napari's own price, are measured beside it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QCoreApplication, QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

from memory import make_image
from voxelsmith.core.affine import Affine
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.canvas import remove_layers
from voxelsmith.plugin.layers import from_ijk, layer_data
from voxelsmith.segment.engine import engine_names

TICK_MS = 5
REST_S = 0.4
TIMEOUT_S = 60.0
CENTRE = (128, 128, 64)
CLICKS = [
    ((128, 128, 64), True),
    ((100, 128, 64), True),
    ((60, 60, 64), False),
    ((128, 96, 64), True),
    ((196, 196, 64), False),
    ((150, 128, 60), True),
    ((60, 196, 64), False),
    ((128, 150, 68), True),
    ((196, 60, 64), False),
    ((140, 110, 64), True),
]


class Watch:
    """The event loop's ticks and the canvas's frames."""

    def __init__(self) -> None:
        self.ticks: list[float] = []
        self.frames: list[float] = []
        canvas = next(w for w in QApplication.allWidgets() if "CanvasBackend" in type(w).__name__ and w.isVisible())
        canvas.frameSwapped.connect(lambda: self.frames.append(time.perf_counter()))
        self._timer = QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(lambda: self.ticks.append(time.perf_counter()))
        self._timer.start()

    def wait(self, done: Callable[[], bool]) -> None:
        """Let the window live until a condition holds."""
        limit = time.perf_counter() + TIMEOUT_S
        while not done():
            if time.perf_counter() > limit:
                raise TimeoutError("The window did not answer in time.")
            QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)

    def rest(self, seconds: float = REST_S) -> None:
        """Let the window live for a while."""
        until = time.perf_counter() + seconds
        self.wait(lambda: time.perf_counter() > until)

    def measure(self, act: Callable[[], Any], shown: Any, answered: Callable[[], bool]) -> tuple[float, float]:
        """Seconds until a frame shows what ``act`` leads to, and the longest gap between ticks.

        Parameters
        ----------
        act
            What the user does.
        shown
            The layer, or a function that gives it, whose voxels are redrawn by the answer.
        answered
            Whether the answer has come.
        """
        self.rest()
        self.ticks.clear()
        began = time.perf_counter()
        self.ticks.append(began)
        drawn: list[float] = []
        layer = shown() if callable(shown) else shown
        if layer is not None:
            layer.events.set_data.connect(lambda event: drawn.append(time.perf_counter()))
        act()
        self.wait(answered)
        last = max([began, *drawn]) if layer is not None else time.perf_counter()
        self.wait(lambda: bool(self.frames) and self.frames[-1] > last)
        painted = next(t for t in self.frames if t > last) - began
        self.rest()
        return painted, float(np.diff(self.ticks).max())


def spread(values: list[float], unit: float = 1.0) -> str:
    """Median and maximum."""
    return (
        f"{statistics.median(values) * unit:.{0 if unit > 1 else 2}f} | {max(values) * unit:.{0 if unit > 1 else 2}f}"
    )


def one_round(viewer: Any, dock: Any, watch: Watch, ndisplay: int) -> dict[str, tuple[float, float]]:
    """Every action once; name to seconds until painted and seconds blocked."""
    image = viewer.layers[0]
    viewer.dims.ndisplay = 2
    viewer.dims.point = image.data_to_world(from_ijk(image, [CENTRE])[0])
    out: dict[str, tuple[float, float]] = {}
    running = dock.controller
    out["Start"] = watch.measure(dock.session_button.click, None, lambda: running.prompting is not None)
    live = running.prompting
    layers = live.layers.layers

    def ready() -> bool:
        return not dock.runner.running and not live.waiting

    def draw_box() -> None:
        corners = [(66, 76, 64), (190, 76, 64), (190, 180, 64), (66, 180, 64)]
        layers["box"].add(from_ijk(layers["box"], corners), shape_type="rectangle")

    if ndisplay == 3:
        viewer.dims.ndisplay = 3
        watch.rest(2.0)
    out["box"] = watch.measure(draw_box, layers["preview"], ready)
    for number, (index, positive) in enumerate(CLICKS):
        running.set_positive(positive)
        place = from_ijk(layers["points"], [index])[0]
        out[f"click {number}"] = watch.measure(lambda at=place: layers["points"].add(at), layers["preview"], ready)
    # The first Accept makes the target, which is one more layer.
    out["Accept, new target"] = watch.measure(dock.accept_button.click, None, lambda: True)
    target = viewer.layers[f"{image.name} · labels"]
    out["Undo of Accept"] = watch.measure(dock.undo_button.click, target, lambda: True)
    out["Redo of Accept"] = watch.measure(dock.redo_button.click, target, lambda: True)
    dock.undo_button.click()
    out["Undo of a click"] = watch.measure(dock.undo_button.click, layers["preview"], ready)
    out["plain refresh of Labels"] = watch.measure(layers["preview"].refresh, layers["preview"], lambda: True)
    out["Finish"] = watch.measure(dock.session_button.click, None, lambda: running.prompting is None)
    remove_layers(viewer, list(viewer.layers)[1:])
    return out


def report(view: str, rounds: list[dict[str, tuple[float, float]]]) -> None:
    """Print the rows of one view."""
    grouped: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for result in rounds:
        for name, value in result.items():
            grouped["click" if name.startswith("click") else name].append(value)
    for name, values in grouped.items():
        painted, blocked = zip(*values, strict=True)
        print(f"| {view} | {name} | {len(values)} | {spread(list(painted))} | {spread(list(blocked), 1000)} |")


def main() -> None:
    """Run and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default=engine_names()[0], choices=engine_names())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="int16")
    parser.add_argument("--views", type=int, nargs="+", default=[2, 3])
    arguments = parser.parse_args()
    viewer = napari.Viewer()
    volume = Volume(make_image(arguments.dtype), Affine.from_spacing((1, 1, 1.5)), name="volume")
    data, options, _ = layer_data(volume)
    viewer.add_image(data, **options)
    _, dock = viewer.window.add_plugin_dock_widget("napari-voxelsmith", "Prompt")
    dock.controller.choose_engine(arguments.engine)
    watch = Watch()
    watch.rest(2.0)
    print(f"Load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print("| view | action | times | to paint, s, median | max | blocked, ms, median | max |")
    print("|---|---|---|---|---|---|---|")
    for ndisplay in arguments.views:
        rounds = [one_round(viewer, dock, watch, ndisplay) for _ in range(arguments.rounds)]
        report("slices" if ndisplay == 2 else "3-D", rounds)
    viewer.close()


if __name__ == "__main__":
    main()
