"""The small training, run in a folder of the test."""

from dataclasses import replace

import pytest
from blobs import BlobRecipe

from voxelsmith.core.progress import run_job
from voxelsmith.train.loop import Settings, train


@pytest.fixture
def settings():
    """Twenty steps of two samples on the CPU in float32."""
    return Settings(
        steps=20,
        accumulate=2,
        learning_rate=2e-2,
        warm_up=3,
        average=0.9,
        validate_every=8,
        checkpoint_every=7,
        log_every=3,
        device="cpu",
        precision="float32",
    )


@pytest.fixture
def trained(tmp_path, settings):
    """Train into a folder of the test; returns the recipe, the history and the folder."""

    def run(name="run", *, resume=False, recipe=None, on_progress=None, **changes):
        recipe = BlobRecipe() if recipe is None else recipe
        job = train(recipe, replace(settings, **changes), tmp_path / name, resume=resume)
        return recipe, run_job(job, on_progress), tmp_path / name

    return run


@pytest.fixture
def blob_recipe():
    return BlobRecipe
