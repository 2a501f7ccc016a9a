"""``voxelsmith train``: a run folder that can be gone on with, whatever stopped the training."""

import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset

import voxelsmith.train
from voxelsmith.train.checkpoint import export, load
from voxelsmith.train.history import read_history
from voxelsmith.train.loop import Settings


class Numbers(Dataset):
    def __getitem__(self, index):
        return torch.tensor([[float(index % 3)]])


class LineRecipe:
    """Learns to double a number; sends itself a signal where the test wants one."""

    def __init__(self, interrupt):
        self.model = nn.Linear(1, 1)
        nn.init.zeros_(self.model.weight)
        nn.init.zeros_(self.model.bias)
        self.dataset = Numbers()
        self.interrupt = interrupt
        self.losses = 0

    def loss(self, sample, rng):
        self.losses += 1
        for number in self.interrupt.get(self.losses, ()):
            signal.raise_signal(number)
        return {"loss": (self.model(sample) - 2 * sample).square().mean()}

    def validate(self):
        return {"score": -abs(2 - self.model.weight.item())}


@pytest.fixture
def trainer(monkeypatch):
    """Puts the recipe above in the place of the promptable one; keeps what the command asked for."""
    asked = SimpleNamespace(interrupt={}, overrides=None, recipe=None)

    def settings(**overrides):
        asked.overrides = overrides
        return Settings(
            **{"steps": 30, "learning_rate": 0.2, "validate_every": 10, "precision": "float32", **overrides}
        )

    def recipe(data, seed, split, start):
        asked.recipe = (data, seed, split, start)
        return LineRecipe(asked.interrupt)

    stub = SimpleNamespace(settings=settings, recipe=recipe)
    monkeypatch.setitem(sys.modules, "voxelsmith.train.promptable", stub)
    monkeypatch.setattr(voxelsmith.train, "promptable", stub, raising=False)
    return asked


def test_it_trains_and_tells_what_came_of_it(command, trainer, tmp_path):
    out = tmp_path / "runs" / "one"
    done = command("train", "promptable", "--out", out, "--json")
    assert done.status == 0
    rows = read_history(out)
    assert done.record == {
        "out": str(out),
        "weights": str(out / "weights.safetensors"),
        "step": 30,
        "steps": 30,
        "finished": True,
        "losses": rows[-1].losses,
        "best_score": rows[-1].validation["score"],
        "best_step": 30,
        "seconds": done.record["seconds"],
    }
    assert rows[-1].validation["score"] > rows[0].validation["score"]
    best = export(out, best=True)
    for name, tensor in load_file(out / "weights.safetensors").items():
        assert tensor.dtype == torch.float16
        torch.testing.assert_close(tensor, best[name].half())
    assert trainer.overrides == {"device": "auto", "seed": 0}
    assert trainer.recipe == (None, 0, None, None)


def test_the_options_reach_the_trainer(command, trainer, tmp_path):
    arguments = ["--data", tmp_path, "--split", tmp_path / "mine.toml", "--steps", 5, "--max-seconds", 900, "--seed", 3]
    arguments += ["--workers", 0, "--device", "cpu", "--start", "shipped"]
    done = command("train", "promptable", "--out", tmp_path / "run", *arguments)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"{tmp_path / 'run'}: step 5 of 5, best score -")
    assert trainer.overrides == {"steps": 5, "max_seconds": 900.0, "seed": 3, "workers": 0, "device": "cpu"}
    assert trainer.recipe == (tmp_path, 3, tmp_path / "mine.toml", Path("shipped"))


def test_the_time_limit_is_a_success_that_can_be_gone_on_with(command, trainer, tmp_path):
    arguments = ("train", "promptable", "--out", tmp_path / "run", "--resume")
    stopped = command(*arguments, "--max-seconds", 1e-6)
    assert stopped.status == 0
    assert "step 1 of 30" in stopped.out
    assert "--resume goes on" in stopped.out
    assert command(*arguments, "--json").record["finished"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_between_two_steps_with_a_checkpoint(command, trainer, tmp_path, number):
    handler = signal.getsignal(number)
    trainer.interrupt = {4: (number,)}
    stopped = command("train", "promptable", "--out", tmp_path / "run")
    assert (stopped.status, stopped.out) == (1, "")
    assert stopped.err == "voxelsmith: Stopped at step 4 of 30; the same command with --resume goes on.\n"
    assert load(tmp_path / "run").step == 4
    assert signal.getsignal(number) is handler
    trainer.interrupt = {}
    assert command("train", "promptable", "--out", tmp_path / "run", "--resume").status == 0


@pytest.fixture
def interruptible():
    """Processes that a shell starts in the background ignore Ctrl+C; not this one."""
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, earlier)


@pytest.mark.usefixtures("interruptible")
def test_the_second_interrupt_does_not_wait_for_the_step(command, trainer, tmp_path):
    trainer.interrupt = {4: (signal.SIGINT, signal.SIGINT)}
    assert command("train", "promptable", "--out", tmp_path / "run").status == 1
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_quiet_prints_nothing(command, trainer, tmp_path):
    done = command("train", "promptable", "--out", tmp_path / "run", "--steps", 2, "--quiet")
    assert (done.status, done.out, done.err) == (0, "", "")


def test_wrong_use_is_told(refused, trainer, tmp_path):
    assert "OUT" in refused("train", "promptable").upper()
    assert "steps of 1 or more, got 0" in refused("train", "promptable", "--out", tmp_path / "a", "--steps", 0)
    assert not (tmp_path / "a").exists()
    assert "command" in refused("train")


def test_a_run_folder_is_not_trained_into_twice(command, refused, trainer, tmp_path):
    arguments = ("train", "promptable", "--out", tmp_path / "run", "--steps", 2)
    command(*arguments)
    assert "already holds a training; resume it" in refused(*arguments)
    assert "begun with steps 2 and cannot go on with steps 3" in refused(*arguments[:-1], 3, "--resume")


def test_a_split_that_cannot_be_used_is_told_before_anything_is_written(refused, tmp_path):
    arguments = ("train", "promptable", "--out", tmp_path / "run")
    assert "none.toml cannot be read" in refused(*arguments, "--split", tmp_path / "none.toml")
    assert "files of the split are not there" in refused(*arguments, "--data", tmp_path)
    assert not (tmp_path / "run").exists()
