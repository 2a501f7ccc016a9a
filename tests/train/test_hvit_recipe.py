"""The recipe of H-ViT: it learns to bring images onto each other, goes on as if never stopped, and judges fairly."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pair_scans import TINY, settings, split
from safetensors import safe_open

from voxelsmith.core.errors import InputError, ModelUnavailableError
from voxelsmith.core.progress import run_job
from voxelsmith.models.warp import pull
from voxelsmith.register import learned
from voxelsmith.register.penalty import diffusion
from voxelsmith.register.similarity import dice_loss, lncc, mse
from voxelsmith.train import hvit
from voxelsmith.train.checkpoint import export
from voxelsmith.train.hvit_settings import SMALL
from voxelsmith.train.loop import train
from voxelsmith.train.registration_pairs import ImagePair, RegistrationPairs
from voxelsmith.train.split import entries, learning_entries


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pairs of a few thousand voxels, few of them to judge by, on one thread."""
    monkeypatch.setattr(learned, "_MOST_VOXELS", 4000)
    monkeypatch.setattr(hvit, "_JUDGED", {"synthetic": 2, "real": 2})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("scans")
    split(path)
    return path


def made(folder, start=None, **changes):
    return hvit.recipe(settings(**changes), split=folder / "split.toml", start=start)


def toy(shift=2):
    """A ball and the same ball elsewhere."""
    places = np.indices((16, 16, 16), np.float32) - 7.5
    places[0] += shift / 2
    moving = np.exp(-(places**2).sum(0) / 18)
    fixed = np.roll(moving, shift, axis=0)
    labels = [(image > 0.4).astype(np.uint8) for image in (moving, fixed)]
    return ImagePair(*map(torch.from_numpy, (moving, fixed, *labels)), True)


@pytest.mark.parametrize("similarity", ["lncc", "mse"])
@pytest.mark.parametrize("layout", ["aligned", "official"])
def test_training_lowers_the_loss_and_brings_the_ball_home(folder, similarity, layout):
    recipe = made(folder, similarity=similarity, smoothness=0.1, architecture=replace(TINY, query_layout=layout))
    optimiser = torch.optim.AdamW(recipe.model.parameters(), lr=4e-3)
    losses = []
    for step in range(20):
        terms = recipe.loss(toy(), np.random.default_rng(step))
        optimiser.zero_grad()
        terms["loss"].backward()
        optimiser.step()
        losses.append({name: term.item() for name, term in terms.items()})
    assert losses[-1]["loss"] < losses[0]["loss"] - 0.1
    assert losses[-1]["overlap"] < 0.6 * losses[0]["overlap"]
    assert losses[-1]["similarity"] < losses[0]["similarity"]


def test_the_loss_is_the_weighted_sum_of_what_applies(folder):
    recipe = made(folder, similarity="mse", smoothness=3, dice_weight=0.5)
    torch.nn.init.normal_(recipe.model.reg_head.conv3d.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    pair = toy()
    moving, fixed = pair.moving[None, None], pair.fixed[None, None]
    warped, displacement = recipe.model(moving, fixed)
    rough, alike = diffusion(displacement), mse(warped, fixed)
    masks = [labels[None, None].float() for labels in pair[2:4]]
    overlap = dice_loss(pull(masks[0], displacement), masks[1])
    assert rough > 1e-4

    def loss(recipe, **changes):
        terms = recipe.loss(pair._replace(**changes), np.random.default_rng(0))
        return set(terms), terms["loss"]

    names, value = loss(recipe)
    assert names == {"loss", "smoothness", "similarity", "overlap"}
    torch.testing.assert_close(value, alike + 3 * rough + 0.5 * overlap)
    names, value = loss(recipe, alike=False)
    assert names == {"loss", "smoothness", "overlap"}
    torch.testing.assert_close(value, 3 * rough + 0.5 * overlap)
    bare = torch.zeros_like(pair.fixed_labels)
    torch.testing.assert_close(loss(recipe, fixed_labels=bare, moving_labels=bare)[1], alike + 3 * rough)
    other = hvit.HViTRecipe(settings(dice_weight=0, smoothness=3), recipe.model, recipe.dataset, recipe.dataset)
    names, value = loss(other)
    assert names == {"loss", "smoothness", "similarity"}
    torch.testing.assert_close(value, lncc(warped, fixed) + 3 * rough)


def test_a_stopped_training_goes_on_as_if_it_had_not_been(folder, tmp_path):
    whole = run_job(train(made(folder), settings(), tmp_path / "whole"))

    def stop(progress):
        return progress.done < 3

    with pytest.raises(Exception, match="Stopped"):
        run_job(train(made(folder), settings(), tmp_path / "parts"), stop)
    parts = run_job(train(made(folder), settings(), tmp_path / "parts", resume=True))
    torch.testing.assert_close(export(tmp_path / "parts"), export(tmp_path / "whole"), rtol=0, atol=0)
    assert [row.losses for row in parts.rows] == [row.losses for row in whole.rows]
    assert [row.validation for row in parts.rows] == [row.validation for row in whole.rows]


@pytest.mark.parametrize(
    "change", [{"similarity": "mse"}, {"smoothness": 2.0}, {"architecture": replace(TINY, query_layout="official")}]
)
def test_a_training_does_not_go_on_with_another_loss_or_network(folder, tmp_path, change):
    run_job(train(made(folder, steps=1), settings(steps=1), tmp_path))
    with pytest.raises(InputError, match=f"cannot go on with {next(iter(change))}"):
        run_job(train(made(folder, steps=1, **change), settings(steps=1, **change), tmp_path, resume=True))


def test_nobody_who_is_trained_on_judges(folder):
    recipe = made(folder)

    def patients(dataset):
        return {entry.patient for groups in dataset._groups.values() for group in groups for entry in group.entries}

    assert patients(recipe.dataset) == {"h0", "h1", "s0", "s1"}
    assert patients(recipe._judges) == {"h2", "h3", "s2", "s3"}


def test_validation_tells_dice_before_and_after_by_source(folder):
    recipe = made(folder)
    with torch.no_grad():
        first, again = recipe.validate(), recipe.validate()
    assert first == again
    kinds = {f"{source}{when}" for source in ("", "synthetic ", "real ") for when in ("before", "after")}
    assert set(first) == kinds | {"score", "folding", "alike"}
    # An untrained network leaves everything where it is.
    assert first["after"] == pytest.approx(first["before"], abs=2e-3)
    assert first["before"] == pytest.approx((first["synthetic before"] + first["real before"]) / 2)
    assert first["score"] == first["after"]
    assert first["folding"] == 0
    torch.nn.init.constant_(recipe.model.reg_head.conv3d.bias, 4.0)
    with torch.no_grad():
        away = recipe.validate()
    assert away["before"] == first["before"]
    assert away["after"] < 0.7 * first["before"]


def test_images_without_labels_are_judged_by_how_alike_they_are(folder):
    train_, judges = ([replace(e, labels=None) for e in es if e.image] for es in learning_entries(*paths(folder)))
    chosen = settings()
    recipe = hvit.HViTRecipe(
        chosen, made(folder).model, RegistrationPairs(train_), RegistrationPairs(judges, augmented=False)
    )
    with torch.no_grad():
        measures = recipe.validate()
    assert set(measures) == {"score", "folding", "alike"}
    assert measures["score"] == measures["alike"] > 0.1
    assert "overlap" not in recipe.loss(toy()._replace(fixed_labels=torch.zeros(16, 16, 16, dtype=torch.uint8)), None)


def paths(folder):
    return folder, folder / "split.toml"


def test_the_seed_decides_weights_and_pairs_and_leaves_torch_alone(folder):
    torch.manual_seed(9)
    state = torch.random.get_rng_state()
    one, same, other = (made(folder, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.testing.assert_close(one.model.state_dict(), same.model.state_dict(), rtol=0, atol=0)
    assert not torch.equal(one.model.reg_head.conv3d.weight, other.model.reg_head.conv3d.weight)
    assert np.array_equal(one.dataset[0].fixed, same.dataset[0].fixed)


def test_weights_say_which_network_they_are_of_and_start_another_training(folder, tmp_path):
    recipe = made(folder, seed=4)
    recipe.save(recipe.model.state_dict(), tmp_path / learned.WEIGHTS, {"step": "7"})
    with safe_open(tmp_path / learned.WEIGHTS, "pt") as opened:
        about = opened.metadata()
    assert about["step"] == "7"
    assert json.loads(about["architecture"])["fpn_channels"] == 8
    loaded = learned.load_network(tmp_path)
    assert loaded.architecture == TINY
    torch.testing.assert_close(loaded.state_dict(), recipe.model.state_dict(), rtol=1e-3, atol=1e-6)
    begun = made(folder, start=tmp_path)
    torch.testing.assert_close(begun.model.state_dict(), loaded.state_dict(), rtol=0, atol=0)
    with pytest.raises(InputError, match="of another network"):
        made(folder, start=tmp_path, architecture=replace(TINY, depth=2))
    with pytest.raises(ModelUnavailableError, match="there is none"):
        made(folder, start=tmp_path / "nothing")


def test_wrong_numbers_and_sources_end_with_a_sentence(folder, tmp_path):
    for wrong, sentence in (
        ({"similarity": "ncc"}, "one of lncc, mse, got 'ncc'"),
        ({"smoothness": -1}, "smoothness of a training is 0 or more, got -1"),
        ({"dice_weight": float("nan")}, "dice weight of a training is 0 or more, got nan"),
        ({"steps": 0}, "steps of 1 or more"),
    ):
        with pytest.raises(InputError, match=sentence):
            settings(**wrong)
    for sources in ({}, {"split": folder / "split.toml", "pairs": tmp_path}):
        with pytest.raises(InputError, match="give one of the two"):
            hvit.recipe(settings(), **sources)


def test_the_network_is_light_and_folds_nothing_unless_told_otherwise():
    assert hvit.settings().architecture == SMALL == hvit.variant()
    assert not SMALL.refined
    assert SMALL.velocity_steps
    other = hvit.variant(velocity=False, light=False, query_layout="official")
    assert (other.velocity_steps, other.refined, other.query_layout) == (0, True, "official")


def test_the_split_keeps_the_last_maps_and_the_hippocampi_from_121_on_apart():
    used = {"train": set(), "validate": set(), "test": set()}
    for entry in entries(Path(), hvit.SPLIT):
        assert entry.group in ("Brain structures", "Hippocampus, MR")
        assert entry.labels.name.startswith(entry.patient)
        used[entry.use].add(entry.patient)
    numbers = {use: {int(p[-3:]) for p in patients if p.startswith("hippo")} for use, patients in used.items()}
    assert min(numbers["test"]) > 120 >= max(numbers["train"] | numbers["validate"])
    maps = {use: {p for p in patients if p.startswith("training_seg")} for use, patients in used.items()}
    assert maps["test"] == {"training_seg_13", "training_seg_14"}
    assert len(maps["train"]) == 10
    assert len(maps["validate"]) == 2
