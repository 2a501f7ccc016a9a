"""The experimental diffusion recipe beside TV-Unet: the same painted slices, the same pixels, the same steps.

    python benchmarks/diffusion.py [--case sarcoma] [--steps 150] [--seeds 2] [--seconds] [--count] [--out FILE]

Data and painted slices are those of ``benchmarks/tvunet.py``. Both recipes learn slices of 128 pixels with a schedule
of as many steps as are given; with ``--seconds``, TV-Unet is also given about the computing time that diffusion took.
Dice is taken over the slices that were not painted, and so is the correlation of the uncertainty (entropy of the
probabilities) with the error (1 where the label is wrong, 0 elsewhere). Seconds are those of the processor; set
OMP_NUM_THREADS=1 to compare them.
``--count`` prints the operations for one slice by each network instead.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tvunet import CASES, Task, tasks
from voxelsmith.core.progress import run_job
from voxelsmith.models.diffusion import DiffusionArchitecture
from voxelsmith.models.trainable import AnyArchitecture, network_of
from voxelsmith.models.unet import Architecture
from voxelsmith.segment.trained import apply
from voxelsmith.segment.uncertainty import entropy
from voxelsmith.train import diffusion_settings, tvunet_settings
from voxelsmith.train.tvunet import TrainingRequest, run, trained_model
from voxelsmith.train.tvunet_settings import TVUnetSettings

COLUMNS = {"dice": 3, "correlation": 2, "components": 1, "steps": 0, "seconds to train": 0, "seconds to apply": 0}
SIDE = 128
_BILLION = 1e9


def measure(task: Task, settings: TVUnetSettings) -> dict[str, float]:
    """Train, apply, and compare over the slices that were not painted."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        clock = [time.process_time()]
        history = run_job(run(TrainingRequest(task.support, out, settings))).history
        clock.append(time.process_time())
        proposal = run_job(apply(trained_model(out), task.image, "cpu"))
        clock.append(time.process_time())
    rest = [n for n in task.span if n not in task.painted]
    wrong = np.asarray(proposal.labels.array) != np.asarray(task.labels.array)
    unsure = entropy(proposal.probabilities)
    pair = [np.take(array, rest, task.axis).ravel() for array in (unsure, wrong)]
    return {
        **task.score(np.asarray(proposal.labels.array)),
        "correlation": float(np.corrcoef(*pair)[0, 1]),
        "steps": float(history.step),
        "seconds to train": clock[1] - clock[0],
        "seconds to apply": clock[2] - clock[1],
    }


def settings_of(recipe: str, seed: int, **more: Any) -> TVUnetSettings:
    """The default numbers of a recipe, but for the size of slices; no slice is kept apart."""
    maker = diffusion_settings.settings if recipe == "diffusion" else tvunet_settings.settings
    return maker(side=SIDE, spare=False, seed=seed, device="cpu", precision="float32", validate_every=10**6, **more)


def count() -> None:
    """Print parameters and operations of one slice."""
    from torch.utils.flop_counter import FlopCounterMode

    networks: dict[str, AnyArchitecture] = {"TV-Unet": Architecture(), "diffusion": DiffusionArchitecture()}
    for name, architecture in networks.items():
        network = network_of(architecture).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, 1, SIDE, SIDE))
        passes = architecture.denoising * architecture.samples if isinstance(architecture, DiffusionArchitecture) else 1
        operations = counter.get_total_flops() / _BILLION
        size = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        print(
            f"{name}: {size:.2f} million parameters; a slice of {SIDE} x {SIDE} takes {passes} passes, "
            f"{operations:.1f} billion operations, {operations / passes:.2f} a pass"
        )


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="sarcoma", choices=CASES)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seconds", action="store_true", help="also TV-Unet with the computing time of diffusion")
    parser.add_argument("--count", action="store_true", help="print the operations for a slice and end")
    parser.add_argument("--out", type=Path, help="write the table here too")
    arguments = parser.parse_args()
    if arguments.count:
        count()
        return
    (task,) = tasks([arguments.case])
    found: dict[str, list[dict[str, float]]] = {}

    def note(name: str, measures: dict[str, float]) -> None:
        found.setdefault(name, []).append(measures)
        print(f"{name}: {measures}", flush=True)

    for seed in range(arguments.seeds):
        plain = measure(task, settings_of("tvunet", seed, steps=arguments.steps))
        note("TV-Unet", plain)
        diffusion = measure(task, settings_of("diffusion", seed, steps=arguments.steps))
        note("diffusion, 5 samples", diffusion)
        if arguments.seconds:
            steps = round(arguments.steps * diffusion["seconds to train"] / plain["seconds to train"])
            note("TV-Unet, as many seconds", measure(task, settings_of("tvunet", seed, steps=steps)))
    lines = [f"| {task.name} | {' | '.join(COLUMNS)} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for name, measured in found.items():
        columns = [[one[column] for one in measured] for column in COLUMNS]
        cells = [
            f"{np.mean(values):.{digits}f}" + (f" ± {np.std(values):.{digits}f}" if digits > 1 else "")
            for values, digits in zip(columns, COLUMNS.values(), strict=True)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    print("\n".join(lines))
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
