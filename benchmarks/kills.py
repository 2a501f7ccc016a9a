"""A training that is killed at random moments, and one whose disk fills up: what is left, and how it goes on.

    python benchmarks/kills.py [--kills 10] [--steps 100] [--seed 0] [--disk FOLDER]

A small training runs once from its first step to its last. Then it is begun again, in a process as in the window, and
that process is killed (SIGKILL) at a random moment, every fifth time before its first step. What it left is loaded, the
training is resumed, and its curve compared with that of the first one, number by number. For the full disk, which needs
a folder on a file system of a few megabytes (root mounts one by itself), all free space is taken after a checkpoint,
and given back before the training is resumed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import ResourceError
from voxelsmith.core.progress import run_job
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.jobs.process import ProcessJob
from voxelsmith.train.checkpoint import has_checkpoint, load
from voxelsmith.train.history import Row, read_history
from voxelsmith.train.tvunet import TrainingRequest, run, settings

GRID = (96, 96, 12)
PAINTED = (2, 4, 6, 8, 10)
# The last part may be over when the kill comes, which is so many seconds after a step at most.
LATEST, WAIT_S = 0.8, 0.1


def request(out: Path, steps: int) -> TrainingRequest:
    """A ball in noise, five slices of which are painted; a checkpoint every other step."""
    i, j, k = np.indices(GRID)
    labels = ((i - 40) ** 2 + (j - 50) ** 2 + (4 * (k - 6)) ** 2 < 400).astype(np.uint8)
    affine = Affine.from_spacing((1, 1, 3))
    image = Volume(np.random.default_rng(0).normal(labels, 0.3).astype(np.float32), affine, "ball")
    example = SupportExample(image, LabelVolume(labels, affine), 2, PAINTED)
    chosen = settings(
        steps=steps,
        width=4,
        patch=32,
        device="cpu",
        checkpoint_every=2,
        validate_every=10,
        log_every=1,
        precision="float32",
    )
    return TrainingRequest(SupportSet().add(example), out, chosen)


def curve(folder: Path) -> list[tuple[int, dict[str, float], dict[str, float] | None]]:
    """The numbers of a history that do not depend on the clock."""

    def numbers(row: Row) -> tuple[int, dict[str, float], dict[str, float] | None]:
        return row.step, row.losses, row.validation

    return [numbers(row) for row in read_history(folder)]


def killed(wanted: TrainingRequest, at: int, wait: float) -> str:
    """Train in a process, and kill it some seconds after a step, 0 for its start; says what it did."""
    job = ProcessJob(run, wanted)
    doing, clock = "starting", None
    try:
        for progress in job.run():
            doing = f"step {progress.done}" if progress.done else progress.message.lower()
            if clock is None and progress.done >= at:
                # By itself, as reports come when a step is over and would always find the process there.
                clock = threading.Timer(wait, os.kill, (job.pid, signal.SIGKILL))
                clock.start()
    except ResourceError:
        return doing
    finally:
        if clock is not None:
            clock.cancel()
    return "over"


def resumed(wanted: TrainingRequest) -> tuple[str, list[str]]:
    """Load what a broken training left, and bring it to its end; says what was left, and which files are no part."""
    step = f"step {load(wanted.out).step}" if has_checkpoint(wanted.out) else "none yet"
    strange = [file.name for file in wanted.out.iterdir() if file.name.startswith(".")] if wanted.out.exists() else []
    run_job(run(replace(wanted, resume=True)))
    return step, strange


@contextlib.contextmanager
def small_disk(folder: Path | None) -> Iterator[Path | None]:
    """A folder on a small file system; None if there is none."""
    if folder is not None or os.geteuid() != 0:
        yield folder
        return
    with tempfile.TemporaryDirectory() as mounted:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", mounted], check=True)
        try:
            yield Path(mounted)
        finally:
            subprocess.run(["umount", mounted], check=True)


def filled(wanted: TrainingRequest, at: int) -> str:
    """Train in a process, take all free space at a step, and give it back when the training has ended; says why."""
    ballast = wanted.out.parent / "ballast"
    job = ProcessJob(run, wanted)
    try:
        for progress in job.run():
            if progress.done >= at and not ballast.exists():
                descriptor = os.open(ballast, os.O_CREAT | os.O_WRONLY)
                with contextlib.suppress(OSError):
                    while True:
                        os.write(descriptor, b"0" * 4096)
                os.close(descriptor)
    except ResourceError as error:
        return str(error)
    finally:
        ballast.unlink(missing_ok=True)
    return "nothing was said"


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    parser.add_argument("--disk", type=Path, help="a folder on a small file system")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        straight = request(Path(folder) / "straight", arguments.steps)
        began = time.perf_counter()
        start = next(time.perf_counter() - began for progress in ProcessJob(run, straight).run() if progress.done)
        run_job(run(replace(straight, resume=has_checkpoint(straight.out))))
        expected = curve(straight.out)
        print("| kill | the process was at | last checkpoint | files left over | the resumed curve |")
        print("|---" * 5 + "|")
        for number in range(1, arguments.kills + 1):
            wanted = replace(straight, out=Path(folder) / f"killed{number}")
            at = int(rng.integers(1, int(LATEST * arguments.steps))) if number % 5 else 0
            doing = killed(wanted, at, float(rng.uniform(0, WAIT_S if at else start)))
            step, strange = resumed(wanted)
            same = "equal" if curve(wanted.out) == expected else "DIFFERENT"
            print(f"| {number} | {doing} | {step} | {len(strange)} | {same} |", flush=True)
        with small_disk(arguments.disk) as disk:
            if disk is None:
                print("\nThe full disk was not tried: it needs --disk, or root.")
                return
            wanted = replace(straight, out=disk / "run")
            said = filled(wanted, arguments.steps // 3)
            step, strange = resumed(wanted)
            same = "equal" if curve(wanted.out) == expected else "DIFFERENT"
            print(
                f"\nFull disk: {said!r}; last checkpoint {step}, {len(strange)} files left over, the curve is {same}."
            )


if __name__ == "__main__":
    main()
