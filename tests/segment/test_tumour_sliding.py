"""Windows over a volume: they cover it, overlap, and agree with one pass."""

from itertools import pairwise

import numpy as np
import pytest

from voxelsmith.core.progress import run_job
from voxelsmith.segment.tumour.sliding import slide, windows


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("grid", [(144, 176, 144), (16, 96, 112), (240, 240, 160)])
def test_windows_cover_a_grid_and_overlap(grid, overlap):
    count = np.zeros(grid, np.uint8)
    found = windows(grid, 96, 16, overlap)
    for at in found:
        count[at] += 1
        assert all(s.stop - s.start <= 96 and (s.stop - s.start) % 16 == 0 for s in at)
        assert all(s.start >= 0 and s.stop <= n for s, n in zip(at, grid, strict=True))
    assert count.min() == 1
    for axis in range(3):
        starts = sorted({(at[axis].start, at[axis].stop) for at in found})
        for (_, end), (begin, stop) in pairwise(starts):
            assert end - begin >= overlap * (stop - begin) - 1


def test_what_fits_into_a_window_is_one():
    assert windows((80, 96, 16), 96, 16, 0.5) == [(slice(0, 80), slice(0, 96), slice(0, 16))]


def volume(shape=(2, 37, 30, 22)):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def square(window):
    return np.stack([window[0] ** 2, window[1] * window[0], window.sum(0)])


@pytest.mark.parametrize("side", [8, 16, 24])
def test_windows_equal_one_pass(side):
    images = volume()
    tiled = run_job(slide(images, square, side, 8, 0.25, 3))
    whole = run_job(slide(images, square, 64, 8, 0.25, 3))
    assert tiled.shape == whole.shape == (3, 37, 30, 22)
    assert np.array_equal(whole, square(images))
    assert np.allclose(tiled, whole, atol=1e-5)


def test_the_middle_of_a_window_counts_most():
    seen = []

    def numbered(window):
        seen.append(window.shape)
        return np.full((1, *window.shape[1:]), float(len(seen)), np.float32)

    out = run_job(slide(np.ones((1, 28, 16, 16), np.float32), numbered, 16, 4, 0.25, 1))[0]
    assert len(seen) == 2
    line = out[:, 8, 8]
    assert (line[0], line[-1]) == (1, 2)
    assert np.all(np.diff(line) >= -1e-6)
    assert line[13] < 1.5 < line[14]


def test_every_window_is_told_and_empty_ones_are_left_out():
    images = np.zeros((1, 64, 16, 16), np.float32)
    images[0, :20] = 1
    reports = []
    asked = []

    def one(window):
        asked.append(window)
        return np.ones((1, *window.shape[1:]), np.float32)

    out = run_job(slide(images, one, 16, 16, 0.0, 1), reports.append)
    assert [(r.done, r.total, r.message) for r in reports] == [(0, 2, "Window 1 of 2"), (1, 2, "Window 2 of 2")]
    assert len(asked) == 2
    assert out[0, :32].all()
    assert not out[0, 32:].any()
