"""What the parts of the tumour network are worth: transfer, guidance by masks, fusion, each at equal training.

    python benchmarks/tumour_ablation.py OUT [--steps 600] [--transition-steps 500] [--side 64] [--seeds 3]

Trains the two-channel form into folders of OUT, one stage 1 for all, and prints mean and spread of Dice on patients
that were not trained on, beside a threshold of the FLAIR; see tumour.py. What is in OUT already is gone on with, so it
can be stopped at any time. A step of 64 voxels a side takes about half a second on one core.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from cases import data_folder
from tumour import JUDGES, fusion, patients
from voxelsmith.core.progress import run_job
from voxelsmith.models.crossmodality import TWO, Architecture
from voxelsmith.segment.crossmodality import WEIGHTS
from voxelsmith.train.checkpoint import export
from voxelsmith.train.crossmodality import (
    TRANSITION,
    Material,
    fusion_recipe,
    fusion_settings,
    transition_recipe,
    transition_settings,
)
from voxelsmith.train.loop import train
from voxelsmith.train.tumours import brain_maps

_VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "no transfer": {"transfer": False},
    "no guidance by masks": {"fusion": "plain"},
    "no fusion, mean of branches": {"fusion": "mean"},
    "concatenation U-Net of equal size": {"fusion": "concatenation"},
}


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--transition-steps", type=int, default=500)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    train_on, judges = patients()
    material = Material(train_on, judges, brain_maps(data_folder() / "brain_label_maps"))
    two = Architecture(TWO)
    shared = {"side": arguments.side, "device": "cpu"}
    first = transition_settings(architecture=two, steps=arguments.transition_steps, **shared)
    run_job(train(transition_recipe(first, material), first, arguments.out / TRANSITION, resume=True))
    learned = export(arguments.out / TRANSITION)
    networks = []
    for seed in range(arguments.seeds):
        for name, changes in _VARIANTS.items():
            out = arguments.out / f"{name} {seed}"
            architecture = replace(two, fusion=changes.get("fusion", two.fusion))
            settings = fusion_settings(
                architecture=architecture,
                transfer=changes.get("transfer", True),
                steps=arguments.steps,
                average=0.99,
                validate_every=arguments.steps,
                seed=seed,
                **shared,
            )
            recipe = fusion_recipe(settings, material, None if architecture.fusion == "concatenation" else learned)
            history = run_job(train(recipe, settings, out, resume=True))
            recipe.save(export(out), out / WEIGHTS, {"step": str(history.step)})
            print(f"{out.name}: {history.rows[-1].validation}", flush=True)
            networks.append(f"{name}={out}")
    print(f"Trained on {len(train_on)} patients, judged by {', '.join(JUDGES)}; {arguments.seeds} seeds.")
    fusion(None, networks)


if __name__ == "__main__":
    main()
