"""The recipes of the few-shot networks: they learn, go on as if never stopped, and judge by other patients."""

import numpy as np
import pytest
import torch
from volumes import labelled, save, table, write_split

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import run_job
from voxelsmith.models.conditional import FiLMNet, SENet
from voxelsmith.models.prototype_encoder import PrototypeEncoder
from voxelsmith.segment import episodic
from voxelsmith.segment.episodic import load_network
from voxelsmith.train import fewshot
from voxelsmith.train.checkpoint import export
from voxelsmith.train.episodes import Episodes
from voxelsmith.train.loop import train

KINDS = {"prototype": PrototypeEncoder, "senet": SENet, "film": FiLMNet}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Few episodes to judge by, random weights to start from, on one thread."""
    monkeypatch.setattr(fewshot, "_JUDGED", 1)
    monkeypatch.setattr(episodic, "find_spec", lambda name: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A split of two patients to train on and one to validate on."""
    path = tmp_path_factory.mktemp("patients")
    for n, name in enumerate("abc"):
        image, labels = labelled(n)
        save(path / name / "image.nii.gz", image)
        save(path / name / "labels.nii.gz", labels)
    uses = {"a": "train", "b": "train", "c": "validate"}
    keys = [(p, use, f"{p}/image.nii.gz", f"{p}/labels.nii.gz") for p, use in uses.items()]
    write_split(path, *(table(patient=p, use=use, image=image, labels=labels) for p, use, image, labels in keys))
    return path


def settings(method, **changes):
    given = {"steps": 4, "warm_up": 1, "side": 32, "batch": 2, "device": "cpu", "log_every": 1, "validate_every": 4}
    return fewshot.settings(method, **{**given, **changes})


def recipe(folder, method, **changes):
    return fewshot.recipe(settings(method, **changes), split=folder / "split.toml")


def toy():
    """A bright block, and the same one elsewhere, in a little noise."""
    rng = np.random.default_rng(0)
    masks = torch.zeros(2, 2, 1, 32, 32)
    masks[0, :, :, 4:16, 6:18], masks[1, :, :, 8:20, 10:22] = 1, 1
    noise = torch.from_numpy(rng.normal(0, 0.05, masks.shape).astype(np.float32))
    images = (0.3 + 0.4 * masks + noise).clamp(0, 1)
    return Episodes(images[0], masks[0], images[1], masks[1])


@pytest.mark.parametrize("method", KINDS)
def test_twenty_steps_lower_the_loss(folder, method):
    made, sample, rng = recipe(folder, method), toy(), np.random.default_rng(0)
    assert type(made.model) is KINDS[method]
    optimiser = torch.optim.AdamW(made.model.parameters(), lr=1e-3)
    losses = []
    made.model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(21):
            loss = made.loss(sample, rng)["loss"]
            losses.append(float(loss.detach()))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert np.mean(losses[-3:]) < 0.9 * losses[0]


@pytest.mark.parametrize("method", ["prototype", "senet"])
def test_a_resumed_training_equals_one_that_was_not_stopped(folder, tmp_path, method):
    straight = recipe(folder, method)
    run_job(train(straight, settings(method), tmp_path / "straight"))
    run_job(train(recipe(folder, method), settings(method, max_seconds=1e-6), tmp_path / "stopped"))
    history = run_job(train(recipe(folder, method), settings(method), tmp_path / "stopped", resume=True))
    assert history.finished
    one, other = (export(tmp_path / name) for name in ("straight", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_validation_is_of_other_patients_always_the_same_and_scores_all_sources_alike(folder):
    made = recipe(folder, "prototype")
    assert {e.patient for e in made.dataset._scans} == {"a", "b"}
    assert {e.patient for e in made._judges._scans} == {"c"}
    made.model.eval()
    with torch.no_grad():
        first = made.validate()
        again = recipe(folder, "prototype")
        again.model.eval()
        assert again.validate() == first
    assert set(first) == {"score", "superpixel", "supervoxel", "real"}
    assert first["score"] == pytest.approx(np.mean([first[s] for s in ("superpixel", "supervoxel", "real")]))


def test_the_loss_of_the_encoder_is_the_sum_of_its_terms_and_the_threshold_leaves_the_features_alone(folder):
    made = recipe(folder, "prototype", alignment=0.5)
    terms = made.loss(toy(), np.random.default_rng(0))
    expected = terms["overlap"] + 0.5 * terms["alignment"] + terms["threshold"]
    assert float(terms["loss"].detach()) == pytest.approx(float(expected))
    support = torch.rand(1, 192, 8, 8, requires_grad=True)
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:24, 8:24] = 1
    made._threshold(support.detach(), mask, support.detach(), mask).backward()
    assert support.grad is None
    assert made.model.anomaly.threshold.grad is not None
    assert made.model.trunk._conv_stem.weight.grad is None


def test_an_episode_without_a_class_in_the_support_is_finite(folder):
    made, sample = recipe(folder, "prototype"), toy()
    loss = made.loss(sample._replace(annotation=torch.zeros_like(sample.annotation)), np.random.default_rng(0))["loss"]
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert all(bool(torch.isfinite(p.grad).all()) for p in made.model.parameters() if p.grad is not None)


def test_volumes_without_labels_are_adapted_to(folder, tmp_path):
    for n in range(5):
        save(tmp_path / f"{n}.nii.gz", labelled(n)[0])
    made = fewshot.recipe(settings("prototype"), images=tmp_path)
    assert made.dataset.sources == ("superpixel", "supervoxel")
    assert [e.patient for e in made._judges._scans] == ["4.nii.gz"]
    assert len(made.dataset._scans) == 4


def test_one_source_of_volumes_is_named(folder, tmp_path):
    with pytest.raises(InputError, match="give one of the three"):
        fewshot.recipe(settings("senet"))
    with pytest.raises(InputError, match="give one of the three"):
        fewshot.recipe(settings("senet"), folder, images=folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds none"):
        fewshot.recipe(settings("senet"), images=tmp_path / "none")


def test_a_start_is_of_the_same_method(folder, tmp_path):
    made, path = recipe(folder, "film"), tmp_path / "weights.safetensors"
    made.save(made.model.state_dict(), path, {})
    assert isinstance(load_network(path), FiLMNet)
    again = fewshot.recipe(settings("film", seed=5), split=folder / "split.toml", start=tmp_path)
    wanted = made.model.classifier.weight.half().float()
    assert torch.equal(again.model.classifier.weight, wanted)
    with pytest.raises(InputError, match="of the method film, but senet is wanted"):
        fewshot.recipe(settings("senet"), split=folder / "split.toml", start=tmp_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"method": "other"}, "is one of"), ({"batch": 0}, "1 episode"), ({"alignment": -1}, "0 or more")],
)
def test_settings_out_of_range_are_told(changes, told):
    with pytest.raises(InputError, match=told):
        fewshot.settings(**changes)
