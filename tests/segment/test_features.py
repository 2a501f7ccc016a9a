"""Features: what the filters measure, in millimetres, and the cache on disk."""

from typing import ClassVar

import numpy as np
import pytest

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.volume import Volume
from voxelsmith.segment.features import CachedEncoder, HandMadeEncoder
from voxelsmith.weights import cache

NOISE = Volume(np.random.default_rng(0).normal(size=(14, 16, 60)).astype(np.float32), Affine.from_spacing((1, 1, 1)))


def ramp(axis, spacing):
    """Brightness that rises by one a millimetre along an axis."""
    shape = (24, 24, 24)
    along = np.arange(shape[axis]) * spacing[axis]
    array = np.broadcast_to(np.moveaxis(along.reshape(-1, 1, 1), 0, axis), shape)
    return Volume(array.astype(np.float32), Affine.from_spacing(spacing))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_come_in_the_order_asked_for_and_equal_those_of_the_whole(axis):
    encoder = HandMadeEncoder(window=(-2, 2))
    whole = encoder.features(NOISE, range(NOISE.grid[axis]), axis)
    assert whole.dtype == np.float16
    assert whole.shape == (encoder.channels, NOISE.grid[axis], *np.delete(NOISE.grid, axis))
    some = encoder.features(NOISE, (9, 1), axis)
    np.testing.assert_allclose(some.astype(float), whole[:, [9, 1]].astype(float), atol=2e-3)


def test_far_slices_are_filtered_apart_and_still_the_same():
    encoder = HandMadeEncoder(scales=(1.0,), window=(-2, 2))
    whole = encoder.features(NOISE, range(60))
    np.testing.assert_allclose(
        encoder.features(NOISE, (2, 57)).astype(float), whole[:, [2, 57]].astype(float), atol=2e-3
    )


def test_gradients_are_those_of_the_world_whatever_the_voxels():
    encoder = HandMadeEncoder(scales=(1.0,), structured=(), window=(0, 100))
    for axis in range(3):
        features = encoder.features(ramp(axis, (1.0, 1.5, 2.0)), (12,))
        # Along the slices' axis the slope comes first; one millimetre is a hundredth of the window.
        slope = features[2:5, 0, 4, 3].astype(float)
        expected = np.zeros(3)
        expected[(axis + 1) % 3] = 0.01
        np.testing.assert_allclose(slope, expected, atol=1e-4)


def test_the_structure_tensor_tells_a_sheet_from_noise():
    array = np.zeros((24, 24, 24), np.float32)
    array[12:] = 1
    encoder = HandMadeEncoder(scales=(1.0,), structured=(1.0,), window=(0, 1))
    largest, middle, smallest = encoder.features(Volume(array), (12,))[-3:, 0, 12, 12].astype(float)
    assert largest > 0.01
    assert abs(middle) < 1e-3 * 5
    assert abs(smallest) < 1e-3 * 5


def test_scaling_the_brightness_changes_nothing():
    scaled = Volume(NOISE.array * 37 - 1000, NOISE.affine)
    a, b = (HandMadeEncoder().features(v, (7,)).astype(float) for v in (NOISE, scaled))
    np.testing.assert_allclose(a, b, atol=5e-3)


def test_what_is_not_finite_counts_as_dark_and_spreads_nowhere():
    array = NOISE.array.copy()
    array[3, 3, 7], array[9, 9, 7] = np.nan, np.inf
    assert np.isfinite(HandMadeEncoder().features(Volume(array), (7,))).all()


@pytest.mark.parametrize("value", [5.0, np.nan])
def test_a_constant_image_gets_a_sentence(value):
    with pytest.raises(InputError, match="one brightness everywhere"):
        HandMadeEncoder().features(Volume(np.full((4, 4, 4), value)), (1,))


class Counting(HandMadeEncoder):
    """Counts the slices it was asked for."""

    asked: ClassVar[list[tuple[int, ...]]] = []

    def features(self, volume, slices, axis=2):
        self.asked.append(tuple(slices))
        return super().features(volume, slices, axis)


@pytest.fixture
def counting(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.CACHE, str(tmp_path))
    Counting.asked = []
    return Counting(scales=(1.0,))


def test_known_slices_are_read_and_new_ones_computed(counting):
    cached = CachedEncoder(counting)
    first = cached.features(NOISE, (3, 5))
    again = cached.features(Volume(NOISE.array.copy(), NOISE.affine), (5, 4, 3))
    assert counting.asked == [(3, 5), (4,)]
    assert np.array_equal(again[:, [2, 0]], first)
    cached.features(Volume(NOISE.array + 1, NOISE.affine), (5,))
    cached.features(NOISE, (5,), 1)
    assert counting.asked[2:] == [(5,), (5,)]


def test_a_damaged_file_is_computed_again(counting, tmp_path):
    cached = CachedEncoder(counting)
    whole = cached.features(NOISE, (3,))
    (file,) = tmp_path.glob("features/*/3.npy")
    file.write_bytes(file.read_bytes()[:200])
    assert np.array_equal(cached.features(NOISE, (3,)), whole)
    assert len(counting.asked) == 2


def test_the_oldest_files_make_room(counting, tmp_path):
    size = HandMadeEncoder(scales=(1.0,)).channels * 14 * 16 * 2 + 128
    cached = CachedEncoder(counting, most=2 * size)
    for at in (3, 4, 5):
        cached.features(NOISE, (at,))
    assert sorted(f.name for f in tmp_path.glob("features/*/*.npy")) == ["4.npy", "5.npy"]


def test_a_disk_that_refuses_costs_only_time(counting, monkeypatch, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, not a folder")
    monkeypatch.setenv(cache.CACHE, str(blocked))
    assert CachedEncoder(counting).features(NOISE, (3,)).shape[1] == 1
