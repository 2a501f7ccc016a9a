"""Roughness of displacements, against the published number."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from registration_images import noise
from torch.autograd import gradcheck

from voxelsmith.register.penalty import diffusion

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "hvit" / "ops_24x28x20.npz")
SCALARS = json.loads(str(GOLDEN["scalars_json"]))


def test_roughness_is_the_published_number():
    assert diffusion(torch.from_numpy(GOLDEN["flow"])) == pytest.approx(SCALARS["grad_l2"], abs=1e-7)


def test_roughness_of_a_ramp():
    """Steps of 2 along the first axis in one of three channels: 4 / 3 there, none along the others."""
    ramp = torch.zeros(1, 3, 5, 4, 1)
    ramp[:, 0] = 2 * torch.arange(5.0).reshape(5, 1, 1)
    assert diffusion(ramp) == pytest.approx(4 / 9)
    assert diffusion(ramp + 7) == pytest.approx(4 / 9)


def test_gradients_are_right():
    u = (noise(2, 3, 4, 3, 1) + torch.arange(4.0).reshape(1, 1, 4, 1, 1)).requires_grad_()
    assert gradcheck(diffusion, (u,))
