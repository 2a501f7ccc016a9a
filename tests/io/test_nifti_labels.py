"""NIfTI files read as labels: whole numbers, however they are stored."""

import numpy as np
import pytest
from nifti_files import image, saved

from voxelsmith.core.errors import InputError
from voxelsmith.core.volume import LabelVolume
from voxelsmith.io import read, read_labels


def test_labels_take_whole_numbers_stored_as_floats(tmp_path):
    array = np.zeros((3, 3, 3), np.float32)
    array[1, 1, 1] = 300
    labels = read_labels(saved(tmp_path / "a.nii", image(array)))
    assert labels.array.dtype == np.uint16
    assert labels.values() == [300]


def test_labels_take_values_that_scaling_has_rounded(tmp_path):
    array = np.zeros((3, 3, 3), np.int32)
    array[1, 1, 1] = 2**31 - 1
    path = saved(tmp_path / "mask.nii", image(array, scl_slope=2.0**-31, scl_inter=0))
    assert read_labels(path).values() == [1]
    assert isinstance(read(path), LabelVolume)


def test_labels_take_negative_ones(tmp_path):
    labels = read_labels(saved(tmp_path / "a.nii", image(np.array([[[-1.0, 0, 2]]]))))
    assert labels.array.dtype == np.int8
    assert labels.values() == [-1, 2]


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e300])
def test_labels_refuse_anything_else(tmp_path, value):
    with pytest.raises(InputError, match="Labels"):
        read_labels(saved(tmp_path / "a.nii", image(np.array([[[0, value, 2.0]]]))))
