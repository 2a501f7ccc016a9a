"""Where networks compute."""

import pytest
import torch

from voxelsmith.core.errors import InputError
from voxelsmith.models.device import pick_device


@pytest.fixture
def machine(monkeypatch):
    """A machine with these devices and this torch."""

    def make(*, cuda=False, mps=False, version="2.13.0+cpu"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch, "__version__", version)

    return make


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({}, "cpu"),
        ({"mps": True}, "mps"),
        ({"mps": True, "version": "2.6.0"}, "cpu"),
        ({"mps": True, "cuda": True}, "cuda"),
    ],
)
def test_auto_takes_the_fastest_that_can_do_it(machine, there, chosen):
    machine(**there)
    assert pick_device("auto").type == chosen
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["cuda", "mps", "abacus"])
def test_a_device_that_is_not_there_is_told(machine, name):
    machine()
    with pytest.raises(InputError, match=f"no {name} device"):
        pick_device(name)
