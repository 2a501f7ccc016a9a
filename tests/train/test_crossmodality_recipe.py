"""Both stages of the tumour network: they learn, go on as if never stopped, and hand over what they learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tumour_cases import TINY, TINY_FOUR, grainy, patient

from voxelsmith.core.errors import InputError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.models.crossmodality import MODALITIES, TWO, Architecture
from voxelsmith.segment.crossmodality import load_network
from voxelsmith.train.checkpoint import export
from voxelsmith.train.crossmodality import (
    Material,
    fusion_recipe,
    fusion_settings,
    run,
    transition_recipe,
    transition_settings,
)
from voxelsmith.train.crossmodality_transition import masked_l1
from voxelsmith.train.loop import train

FIXED = {
    "precision": "float32",
    "side": 16,
    "validate_every": 100,
    "checkpoint_every": 100,
    "log_every": 1,
    "warm_up": 2,
}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def material():
    return Material([patient(seed) for seed in range(4)], [patient(9)])


def first(**changes):
    return transition_settings(**{"architecture": TINY, "steps": 20, "dropout": 0.0, **FIXED, **changes})


def second(**changes):
    return fusion_settings(**{"architecture": TINY, "steps": 20, "dropout": 0.0, "synthetic": 0.0, **FIXED, **changes})


def trained(recipe, settings, out, **options):
    return run_job(train(recipe, settings, out, **options))


@pytest.fixture(scope="module")
def transition(material, tmp_path_factory):
    """Weights of a first stage that was trained for a while."""
    out, settings = tmp_path_factory.mktemp("first"), first(steps=20, learning_rate=5e-3, colour=0.0)
    trained(transition_recipe(settings, material), settings, out)
    return export(out)


def on_one_window(recipe):
    """The recipe on a single window with a tumour, so that its loss falls from step to step."""
    recipe.dataset = [recipe.dataset.cases[0].patch(np.random.default_rng(0), 16, colour=None, spacing=1.5)] * 20
    return recipe


def test_twenty_steps_of_the_transition_lower_the_paired_loss(material, tmp_path):
    settings = first(learning_rate=5e-3)
    rows = trained(on_one_window(transition_recipe(settings, material)), settings, tmp_path).rows
    assert rows[-1].losses["paired"] < 0.7 * rows[0].losses["paired"]
    assert set(rows[-1].losses) == {"loss", "paired", "cycle", "adversary", "judges"}


@pytest.mark.parametrize("fusion", ["guided", "plain", "mean", "concatenation"])
def test_twenty_steps_of_the_fusion_lower_the_loss(material, transition, tmp_path, fusion):
    settings = second(architecture=replace(TINY, fusion=fusion), learning_rate=1e-2)
    recipe = fusion_recipe(settings, material, None if fusion == "concatenation" else transition)
    rows = trained(on_one_window(recipe), settings, tmp_path).rows
    assert rows[-1].losses["loss"] < 0.95 * rows[0].losses["loss"]
    assert ("branches" in rows[-1].losses) == (fusion != "concatenation")


def test_each_player_of_the_transition_gets_its_own_gradient_alone(material):
    recipe = transition_recipe(first(paired=0.0, cycle=0.0, adversary=0.0), material)
    recipe.loss(recipe.dataset[0], np.random.default_rng(0))["loss"].backward()
    assert all(p.grad is None or not p.grad.any() for p in recipe.model.generators.parameters())
    assert all(p.grad.any() for judge in recipe.model.judges for p in [judge.layers[0].weight])
    judged = [p.grad.clone() for p in recipe.model.judges.parameters()]
    recipe = transition_recipe(first(), material)
    recipe.loss(recipe.dataset[0], np.random.default_rng(0))["loss"].backward()
    assert recipe.model.generators[0].stem[0].weight.grad.any()
    for before, p in zip(judged, recipe.model.judges.parameters(), strict=True):
        torch.testing.assert_close(p.grad, before)


def test_l1_counts_the_marked_voxels_alone():
    made, truth, where = torch.tensor([1.0, 5.0]), torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0])
    assert masked_l1(made, truth, where) == 1
    assert masked_l1(made, truth, torch.zeros(2)) == 0


def test_patients_without_some_sequences_train_the_four_channel_form(tmp_path):
    cases = [patient(seed, MODALITIES) for seed in range(2)]
    for case in cases:
        case.x[[0, 2]] = 0
        case.available[[0, 2]] = False
    material = Material(cases)
    recipe = transition_recipe(first(architecture=TINY_FOUR), material)
    recipe.loss(recipe.dataset[0], np.random.default_rng(0))["loss"].backward()
    made = recipe.model.generators[0].out.weight.grad
    # Pair B is T2, which nobody has, and FLAIR: only cycles reach the generator of T2, and they do not hurt.
    assert torch.isfinite(made).all()
    settings = second(architecture=TINY_FOUR, dropout=1.0, steps=3)
    generators = recipe.model.state_dict()
    assert trained(fusion_recipe(settings, material, generators), settings, tmp_path).finished


def test_transfer_and_its_switch(material, transition):
    learned = transition["generators.0.stem.0.weight"]
    for transfer in (True, False):
        model = fusion_recipe(second(transfer=transfer), material, transition).model
        assert torch.equal(model.branches[0].stem[0].weight, learned) == transfer
        assert torch.equal(model.generators[0].stem[0].weight, learned)
        assert not any(p.requires_grad for p in model.generators.parameters())


def test_a_second_stage_refuses_generators_of_another_size(material, transition):
    with pytest.raises(InputError, match="generators of its own size"):
        fusion_recipe(second(architecture=replace(TINY, detail=6)), material, transition)
    with pytest.raises(InputError, match="generators of its own size"):
        fusion_recipe(second(), material)


def test_transfer_reaches_the_target_in_fewer_steps_than_random_weights(tmp_path):
    """On tumours that differ in grain alone: the translation into a sequence where they are bright has found them."""
    rng = np.random.default_rng(0)

    def windows(seeds, count):
        cases = [grainy(seed) for seed in seeds]
        return [cases[n % len(cases)].patch(rng, 20, colour=None, spacing=1.0) for n in range(count)]

    material, seen, judged = Material([grainy(0)]), windows(range(8), 80), windows(range(90, 93), 3)
    size = {"side": 20, "average": 0.0, "architecture": Architecture(TWO, widths=(8, 16), detail=16)}
    settings = first(steps=80, learning_rate=2e-2, cycle=0.0, adversary=0.0, **size)
    recipe = transition_recipe(settings, material)
    recipe.dataset = seen
    trained(recipe, settings, tmp_path / "first")
    learned = export(tmp_path / "first")

    @torch.no_grad()
    def overlap(model):
        """Dice of the branch that reads the grainy sequence."""
        available = torch.ones(1, 2, dtype=torch.bool)
        answers = [model(torch.from_numpy(patch.x)[None], available).auxiliary[0][0, 0] > 0 for patch in judged]
        return dice(np.stack([patch.depth > 0 for patch in judged]), torch.stack(answers).numpy())

    def steps_to(target, transfer, seed):
        settings = second(steps=60, learning_rate=5e-3, transfer=transfer, seed=seed, **size)
        recipe = fusion_recipe(settings, material, learned)
        recipe.dataset = seen
        job = train(recipe, settings, tmp_path / f"{transfer} {seed}")
        for report in job:
            if report.done % 5 == 0 and (overlap(recipe.model) >= target or report.done == 40):
                return report.done

    for seed in range(3):
        assert steps_to(0.85, True, seed) < steps_to(0.85, False, seed)


@pytest.mark.parametrize("stage", ["transition", "fusion"])
def test_a_resumed_training_equals_one_that_was_not_stopped(material, transition, tmp_path, stage):
    def recipe(settings):
        if stage == "transition":
            return transition_recipe(settings, material)
        return fusion_recipe(settings, material, transition)

    settings = (first if stage == "transition" else second)(steps=6, dropout=0.5)
    trained(recipe(settings), settings, tmp_path / "whole")
    job = train(recipe(settings), settings, tmp_path / "parts")
    for _ in range(4):
        next(job)
    job.close()
    assert not torch.equal(export(tmp_path / "parts")["generators.0.out.weight"], torch.zeros(1))
    done = trained(recipe(settings), settings, tmp_path / "parts", resume=True)
    assert done.step == 6
    whole, parts = export(tmp_path / "whole"), export(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_both_stages_are_one_job_that_goes_on(material, tmp_path):
    stages = first(steps=3), second(steps=3)
    job = run(*stages, material, tmp_path)
    for _ in range(3):
        next(job)
    job.close()
    with pytest.raises(InputError, match="resume"):
        next(run(*stages, material, tmp_path))
    done = run_job(run(*stages, material, tmp_path, resume=True))
    assert (done.step, done.finished) == (3, True)
    learned, final = export(tmp_path / "transition"), export(tmp_path)
    assert torch.equal(final["generators.1.stem.0.weight"], learned["generators.1.stem.0.weight"])


def test_saved_weights_load_as_the_network_that_was_trained(material, transition, tmp_path):
    settings = second(steps=2)
    recipe = fusion_recipe(settings, material, transition)
    trained(recipe, settings, tmp_path)
    recipe.save(export(tmp_path), tmp_path / "weights.safetensors", {"step": "2"})
    network = load_network(tmp_path)
    assert network.architecture == TINY
    assert not network.training
    stored = export(tmp_path)["fusion.out.weight"].half().float()
    assert torch.equal(network.fusion.out.weight, stored)


def test_settings_are_checked():
    for wrong in ({"side": 18}, {"side": 8}, {"synthetic": 1.5}, {"dropout": -0.1}, {"auxiliary": float("nan")}):
        with pytest.raises(InputError, match=next(iter(wrong)) if "side" not in wrong else "sides"):
            second(**wrong)
    with pytest.raises(InputError, match="label maps"):
        Material()
    assert Architecture().multiple == 16
