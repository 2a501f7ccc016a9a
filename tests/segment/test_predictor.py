"""A trained network as a function of arrays: what it sees at once, and how its patches become one answer."""

import numpy as np
import torch
from torch import nn

from voxelsmith.models.unet import Architecture
from voxelsmith.segment.plan import Normalisation, Plan
from voxelsmith.segment.predictor import Predictor
from voxelsmith.segment.prior import Prior

SIDE = 32


class Watched(nn.Module):
    """Says of each pixel whether it is brighter than the mean of what it is shown, and remembers the shapes of that."""

    def __init__(self, relative=True):
        super().__init__()
        self.architecture = Architecture(strides=((2, 2),))
        self.scale = nn.Parameter(torch.ones(1))
        self.relative, self.seen = relative, []

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        bright = x[:, :1] - x.mean(dim=(1, 2, 3), keepdim=True) * self.relative
        return torch.cat([-bright, bright], 1) * self.scale


def plan(dims="2d", depth=1):
    return Plan(dims, 2, "RAS", (1.0, 1.0, 1.0), (depth, SIDE, SIDE), (1,), ("a",), Normalisation())


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_large_slice_is_seen_in_patches_of_the_training():
    net = Watched()
    found = Predictor(net, plan())(noise(3, 1, 80, 40))
    assert found.shape == (3, 1, 80, 40)
    assert set(net.seen) == {(3, 1, SIDE, SIDE)}
    assert len(net.seen) == 4 * 2


def test_a_small_one_is_seen_at_once():
    net = Watched()
    Predictor(net, plan())(noise(2, 1, 20, 31))
    assert net.seen == [(2, 1, 20, 32)]


def test_patches_make_no_difference_to_a_network_that_looks_at_pixels():
    x = noise(2, 1, 77, 50)
    found = Predictor(Watched(relative=False), plan())(x)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-2 * x)), rtol=1e-4)


def test_what_lies_far_away_does_not_change_how_bright_a_place_looks():
    x = np.full((1, 1, 96, 96), -2, np.float32)
    x[..., :SIDE, :SIDE] = 0
    x[..., 4:12, 4:12] = 0.5
    alone = Predictor(Watched(), plan())(x[..., :SIDE, :SIDE])
    whole = Predictor(Watched(), plan())(x)
    np.testing.assert_allclose(whole[..., :16, :16], alone[..., :16, :16], atol=1e-5)


def test_a_row_is_that_of_the_whole_volume():
    working = noise(5, 50, 40)
    predictor = Predictor(Watched(), plan())
    likely = np.zeros((1, *working.shape), np.float32)
    assert list(predictor.fill(likely, working))[-1] == 1
    for row in range(5):
        np.testing.assert_allclose(predictor.row(working, row), likely[:, row], rtol=1e-6)


def test_a_prior_is_weighed_into_every_row_and_only_by_its_shapes():
    labels = np.zeros((5, 50, 40), np.int16)
    labels[:, 10:20, 10:20] = 1
    prior = Prior(labels, [1], [[0, 4]], (1.0, 1.0, 1.0), 1.0, 0.25)
    working = noise(5, 50, 40)
    told, plain = (Predictor(Watched(), plan(), p) for p in (prior, None))
    likely = np.zeros((1, *working.shape), np.float32)
    list(told.fill(likely, working))
    for row in range(5):
        alone, together = plain.row(working, row), told.row(working, row)
        np.testing.assert_allclose(together, likely[:, row], rtol=1e-6)
        assert (together[0, 10:20, 10:20] > alone[0, 10:20, 10:20]).all()
        assert (together[0, 25:] < alone[0, 25:]).all()


def test_blocks_are_seen_in_patches_too():
    class Solid(Watched):
        def __init__(self):
            super().__init__()
            self.architecture = Architecture(strides=((2, 2, 2),), kernels=((3, 3, 3),) * 2)

        def forward(self, x):
            self.seen.append(tuple(x.shape))
            return torch.cat([-x[:, :1], x[:, :1]], 1) * self.scale

    net, working = Solid(), noise(20, 50, 40)
    likely = np.zeros((1, *working.shape), np.float32)
    shares = list(Predictor(net, plan("3d", 8)).fill(likely, working))
    assert set(net.seen) == {(1, 1, 8, SIDE, SIDE)}
    assert (shares == sorted(shares), shares[-1]) == (True, 1)
    np.testing.assert_allclose(likely[0], 1 / (1 + np.exp(-2 * working)), rtol=1e-4)
