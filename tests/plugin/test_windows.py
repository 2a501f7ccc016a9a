"""The grey values in which a volume opens."""

import dask.array
import numpy as np
import pytest
from napari.layers import Layer

from voxelsmith.core.volume import Volume
from voxelsmith.plugin.layers import layer_data
from voxelsmith.plugin.windows import first_window


@pytest.fixture
def mr():
    """Tissue around 300 and a few voxels of 30000."""
    rng = np.random.default_rng(5)
    array = rng.normal(300, 40, (60, 60, 40))
    array.reshape(-1)[rng.choice(array.size, 100, replace=False)] = 30000
    return array


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32])
def test_a_few_bright_voxels_leave_the_tissue_visible(mr, dtype):
    low, high = Layer.create(*layer_data(Volume(mr.astype(dtype)))).contrast_limits
    assert 150 < low < 250
    assert 350 < high < 700


def test_a_ct_opens_between_fat_and_bone(mr):
    array = (mr / 4).clip(-1000, 1500)
    array[:30] = -1000
    assert first_window(Volume(array.astype(np.int16))) == (-200, 500)


def test_voxels_that_are_not_finite_count_for_nothing(mr):
    mr[::2] = np.nan
    mr[1::4] = np.inf
    low, high = first_window(Volume(mr))
    assert 150 < low < high < 700


@pytest.mark.parametrize(
    "volume",
    [
        Volume(np.arange(1000, dtype=np.uint8).reshape(10, 10, 10)),
        Volume(np.full((5, 5, 5), 7.0)),
        Volume(np.full((5, 5, 5), np.nan)),
        Volume(dask.array.ones((5, 5, 5), dtype=np.int16)),
        Volume(np.eye(8, dtype=np.int16)[None]).labels(np.eye(8, dtype=np.int16)[None]),
    ],
    ids=["bytes", "constant", "not a number", "lazy", "labels"],
)
def test_napari_decides_about_the_others(volume):
    assert "contrast_limits" not in layer_data(volume)[1]


def test_every_channel_has_a_window_of_its_own(mr):
    array = np.stack([mr, 10 * mr], axis=-1).astype(np.float32)
    first, second = layer_data(Volume(array, extra_axis="channel"))[1]["contrast_limits"]
    np.testing.assert_allclose(second, 10 * np.array(first), rtol=1e-5)
