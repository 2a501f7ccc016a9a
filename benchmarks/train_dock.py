"""What a training costs the window, and what the window costs the training, in a real napari window.

    tools/with_display.sh python benchmarks/train_dock.py [--seconds 60]

Five slices of the 256 x 256 x 128 volume of ``memory.py`` count as annotated, and the button of the Train dock is
pressed. "First preview" is the time until a frame was swapped that shows an answer of the network. "Stall" is the
longest gap between the ticks of a 5 ms timer, while the training starts and while it runs, with another slice shown
every two seconds and with the window left alone; the same without a training is napari's own. Steps per second are
compared with those of the same training in a process without window, messages or previews, with threads that soon sleep
while they wait for one another, as in the dock, and with threads that spin. Run it on an idle machine. The processor
seconds of a step, of the window and of the training apart, mean something on a busy one too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import napari
import numpy as np

from memory import GRID, make_image
from voxelsmith.core.affine import Affine
from voxelsmith.core.progress import Progress
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.layers import from_ijk, labels_like, layer_data, to_stored
from voxelsmith.train.trained_runs import HOME
from voxelsmith.train.tvunet import TrainingRequest, run, settings
from window import Watch

PAINTED = (44, 54, 64, 74, 84)
BROWSED = range(40, 90)
BROWSE_S = 2.0
SPELLS = {"left alone": False, "another slice every two seconds": True}
WARM = 10
"""Steps before steps are counted."""
PATIENCE_S = 300.0
SPIN = "GOMP_SPINCOUNT"


def objects() -> np.ndarray:
    """Where the volume has its object, about."""
    i, j, k = np.ogrid[: GRID[0], : GRID[1], : GRID[2]]
    return (((i - 128) / 60) ** 2 + ((j - 128) / 50) ** 2 + ((k - 64) / 30) ** 2 < 1).astype(np.uint8)


def bare(request: TrainingRequest, seconds: float) -> tuple[float, float]:
    """Steps per second of the training alone, and processor seconds a step."""
    job = run(request)
    done = next(progress.done for progress in job if progress.done >= WARM)
    began, spent = time.perf_counter(), time.process_time()
    steps = 0
    while time.perf_counter() - began < seconds:
        steps = next(job).done - done
    passed, spent = time.perf_counter() - began, time.process_time() - spent
    job.close()
    return steps / passed, spent / steps


def bare_in_a_process(request: TrainingRequest, seconds: float, looks: str | None) -> tuple[float, float]:
    """The same in a fresh process, whose threads look so often for one another before they sleep."""
    os.environ.pop(SPIN, None)
    if looks is not None:
        os.environ[SPIN] = looks
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(bare, request, seconds).result()


@dataclass(frozen=True)
class Spell:
    """What happened in some seconds.

    Parameters
    ----------
    seconds
        How long it was.
    steps
        Of the training.
    window
        Processor seconds of the window in a second.
    cost
        Processor seconds of the training for a step.
    frames
        Of the canvas in a second.
    stall
        The longest one, in seconds.
    """

    seconds: float
    steps: int
    window: float
    cost: float
    frames: float
    stall: float

    def words(self, name: str) -> str:
        """A line for people."""
        training = f", {self.steps / self.seconds:.2f} steps/s, {self.cost:.3f} processor seconds each"
        return (
            f"{name}: longest stall {1000 * self.stall:.0f} ms, the window took {self.window:.0%} of a core and drew "
            f"{self.frames:.1f} frames/s{training if self.steps else ''}"
        )


class Bench:
    """A window with the volume and the dock, and what was seen there."""

    def __init__(self, volume: Volume) -> None:
        self.viewer = napari.Viewer()
        data, options, _ = layer_data(volume)
        self.image = self.viewer.add_image(data, **options)
        painted = labels_like(self.image, name="painted")
        to_stored(painted, painted.data)[:, :, list(PAINTED)] = objects()[:, :, list(PAINTED)]
        self.viewer.add_layer(painted)
        _, self.dock = self.viewer.window.add_plugin_dock_widget("napari-voxelsmith", "Train")
        self.watch = Watch()
        self.answers: list[float] = []
        self.steps: list[tuple[float, int]] = []
        self.dock.trainer.progressed.connect(self._note_step)
        preview, show = self.dock.controller.preview, self.dock.controller.preview.show_slice

        def show_and_note(answer: Any) -> None:
            show(answer)
            self.answers.append(time.perf_counter())

        preview.show_slice = show_and_note
        self.look_at(64)
        self.watch.rest(2.0)

    def _note_step(self, progress: Progress) -> None:
        if progress.done:
            self.steps.append((time.perf_counter(), progress.done))

    def look_at(self, index: int) -> None:
        """Show a slice along the body."""
        self.viewer.dims.point = self.image.data_to_world(from_ijk(self.image, [(128, 128, index)])[0])

    def wait(self, done: Any) -> None:
        """Let the window live until a condition holds, however long training needs for it."""
        limit = time.perf_counter() + PATIENCE_S
        while not done():
            if time.perf_counter() > limit:
                raise TimeoutError(f"The training did not get as far in {PATIENCE_S:.0f} s; run it on an idle machine.")
            self.watch.rest(0.05)

    def spend(self, seconds: float, *, browsing: bool) -> Spell:
        """Show slice after slice for a while, or leave the window alone."""
        self.watch.ticks.clear()
        self.watch.frames.clear()
        self.steps.clear()
        here, there = time.process_time(), _spent_by_children()
        began = time.perf_counter()
        until, shown = began + seconds, 0
        while (left := until - time.perf_counter()) > 0:
            if browsing:
                self.look_at(BROWSED[shown % len(BROWSED)])
                shown += 1
            self.watch.rest(min(BROWSE_S, max(0.05, left)))
        passed = time.perf_counter() - began
        here, there = time.process_time() - here, _spent_by_children() - there
        done = self.steps[-1][1] - self.steps[0][1] if self.steps else 0
        return Spell(
            passed, done, here / passed, there / max(1, done), len(self.watch.frames) / passed, _longest(self.watch)
        )

    def start(self) -> tuple[float, float]:
        """Press Train; seconds until the first preview was painted, and the longest stall until then."""
        self.dock.data.buttons["painted"].click()
        self.watch.rest(1.0)
        self.watch.ticks.clear()
        began = time.perf_counter()
        self.dock.training.train_button.click()
        self.wait(lambda: bool(self.answers) and bool(self.watch.frames) and self.watch.frames[-1] > self.answers[0])
        painted = next(frame for frame in self.watch.frames if frame > self.answers[0])
        return painted - began, _longest(self.watch)


def _longest(watch: Watch) -> float:
    return float(np.diff(watch.ticks).max())


def _spent_by_children() -> float:
    """Processor seconds of the processes that this one has started and that live (Linux)."""
    ticks = 0
    for child in multiprocessing.active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    volume = Volume(make_image("int16"), Affine.from_spacing((1, 1, 1.5)), name="volume")
    with tempfile.TemporaryDirectory() as folder:
        os.environ[HOME] = folder
        print(f"Load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        bench = Bench(volume)
        for name, browsing in SPELLS.items():
            print(bench.spend(min(seconds, 20), browsing=browsing).words(f"Without a training, {name}"), flush=True)
        first, starting = bench.start()
        print(
            f"First preview: {first:.1f} s after Train was pressed; longest stall until then {1000 * starting:.0f} ms"
        )
        bench.wait(lambda: bool(bench.steps) and bench.steps[-1][1] >= WARM)
        pace = 0.0
        for name, browsing in SPELLS.items():
            spell = bench.spend(seconds, browsing=browsing)
            pace = spell.steps / spell.seconds
            print(spell.words(f"Training, {name}"), flush=True)
        bench.dock.training.stop_button.click()
        bench.wait(lambda: not bench.dock.controller.training.running)
        bench.viewer.close()
        example = SupportExample(volume, volume.labels(objects()), 2, PAINTED)
        alone = TrainingRequest(SupportSet().add(example), Path(folder) / "bare", settings(preview_seconds=1e9))
        for name, looks in (("soon sleep", "10000"), ("spin", None)):
            wanted = replace(alone, out=Path(folder) / name)
            speed, cost = bare_in_a_process(wanted, seconds, looks)
            share = f"the dock, browsed, has {pace / speed:.0%} of it"
            print(
                f"Bare loop, threads {name}: {speed:.2f} steps/s, {cost:.3f} processor seconds a step; {share}",
                flush=True,
            )


if __name__ == "__main__":
    main()
