"""Smoothing, slopes, and the grids that a deformation goes through."""

import numpy as np
import pytest
import torch
from registration_images import noise, textured
from scipy import ndimage

from voxelsmith.models.warp import pull
from voxelsmith.register.gaussian import slopes, smooth
from voxelsmith.register.greedy import invert, sampled
from voxelsmith.register.problem import Problem
from voxelsmith.register.pyramid import carried, default_shrinks, level_grid, pyramid, shrunk


def test_smoothing_is_that_of_scipy():
    x = noise(1, 2, 12, 15, 9)
    expected = [ndimage.gaussian_filter(c, (1.0, 2.0, 0), mode="nearest", truncate=3) for c in x[0].numpy()]
    torch.testing.assert_close(smooth(x, (1.0, 2.0, 0.1))[0], torch.from_numpy(np.stack(expected)))


def test_single_voxels_are_not_smoothed():
    x = noise(1, 1, 6, 1, 5)
    assert smooth(x, (0, 3.0, 0)) is x


def test_slopes_are_those_of_numpy():
    x = noise(1, 1, 6, 7, 5)
    np.testing.assert_allclose(slopes(x)[0], np.gradient(x[0, 0].numpy()))


def test_axes_of_one_or_two_voxels_have_slopes():
    assert slopes(noise(1, 1, 4, 1, 2))[0, 1].abs().max() == 0
    x = noise(1, 1, 4, 1, 2)
    torch.testing.assert_close(slopes(x)[0, 2, :, 0, 0], x[0, 0, :, 0, 1] - x[0, 0, :, 0, 0])


@pytest.mark.parametrize(
    ("grid", "expected"),
    [((160, 192, 224), (8, 4, 2, 1)), ((35, 51, 35), (2, 1)), ((512, 512, 300), (8, 4, 2)), ((12, 12, 12), (1,))],
)
def test_levels_follow_from_the_size(grid, expected):
    assert default_shrinks(grid) == expected


def test_costly_similarities_end_at_half_resolution():
    assert default_shrinks((160, 192, 224), "mind") == (8, 4, 2)
    assert default_shrinks((64, 64, 64), "mind") == (4, 2, 1)


def test_levels_shrink_fine_axes_first():
    assert level_grid((160, 192, 40), (1, 1, 4), 4) == (40, 48, 40)
    assert level_grid((160, 192, 40), (1, 1, 4), 8) == (20, 24, 20)
    assert level_grid((160, 6, 20), (1, 1, 1), 8) == (20, 6, 8)


def test_shrinking_keeps_places():
    i, j, k = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in (24, 30, 21)), indexing="ij")
    x = torch.from_numpy(i + 2 * j - k)[None, None]
    small = shrunk(x, (12, 10, 21))
    a, b, c = np.meshgrid(np.arange(12) * 2 + 0.5, np.arange(10) * 3 + 1.0, np.arange(21), indexing="ij")
    inner = (0, 0, slice(3, -3), slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(small[inner].numpy(), (a + 2 * b - c)[inner[2:]], atol=1e-4)


def test_displacements_are_carried_in_voxels_of_the_grid():
    field = torch.ones(1, 3, 8, 10, 6)
    out = carried(field, (16, 10, 3))
    assert out.shape == (1, 3, 16, 10, 3)
    torch.testing.assert_close(out[0, :, 4, 4, 1], torch.tensor([2.0, 1.0, 0.5]))
    assert carried(field, (8, 10, 6)) is field


def test_levels_hold_everything_on_their_grid():
    labels = np.zeros((32, 32, 16), np.uint8)
    labels[8:24, 8:24, 4:12] = 7
    labels[0, 0, 0] = 9
    other = np.where(labels == 7, labels, 0)
    image = textured(32, 32, 16)[0, 0].numpy().astype(np.float32)
    points = np.array([[0.5, 0.5, 0.0], [10.5, 20.5, 8.0]])
    problem = Problem(
        image,
        image,
        (1.0, 1.0, 2.0),
        fixed_mask=labels > 0,
        fixed_labels=labels,
        moving_labels=other,
        fixed_points=points,
        moving_points=points,
    )
    coarse, fine = pyramid(problem, (2, 1), "lncc", torch.device("cpu"), labels=True)
    assert coarse.grid == (16, 16, 16)
    assert coarse.scale == (2.0, 2.0, 1.0)
    assert coarse.spacing == (2.0, 2.0, 2.0)
    assert coarse.fixed_labels.shape == (1, 1, 16, 16, 16)
    assert coarse.fixed_labels[0, 0, 8, 8, 8] == pytest.approx(1)
    assert coarse.fixed_weight[0, 0, 8, 8, 8] == pytest.approx(1)
    assert coarse.moving_weight is None
    torch.testing.assert_close(coarse.fixed_points, torch.tensor([[0.0, 0, 0], [5, 10, 8]]))
    assert fine.grid == problem.grid
    assert torch.equal(fine.fixed[0, 0], torch.from_numpy(image))
    assert pyramid(problem, (2,), "mind", torch.device("cpu"), labels=False)[0].fixed_labels is None


def test_inversion_returns_where_a_field_stretches_twofold():
    places = np.indices((24, 20, 20)).astype(np.float32)
    window = np.prod([np.sin(np.pi * p / (n - 1)) for p, n in zip(places, (24, 20, 20), strict=True)], axis=0)
    field = torch.from_numpy(np.stack([1.4 * (places[0] - 11.5) * window, 2 * window, 0 * window]))[None].float()
    inverse = invert(field)
    rest = inverse + pull(field, inverse)
    assert rest[..., 6:-6, 6:-6, 6:-6].norm(dim=1).mean() < 0.01


def test_fields_are_sampled_between_voxels():
    field = torch.from_numpy(np.indices((6, 7, 5)).astype(np.float32))[None]
    points = torch.tensor([[1.5, 2.25, 3.0], [4.0, 5.5, 0.5]])
    torch.testing.assert_close(sampled(field, points), points)
