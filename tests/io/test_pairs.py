"""Two files become one support example."""

import numpy as np
import pytest

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import write
from voxelsmith.io.pairs import read_example, read_image

AFFINE = Affine.from_spacing((1, 1.5, 3))


@pytest.fixture
def files(tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    labels = (array > 40).astype(np.uint8) * 3
    write(Volume(array, AFFINE), tmp_path / "scan.nii.gz")
    write(LabelVolume(labels, AFFINE, names={3: "liver"}), tmp_path / "liver.nrrd")
    return tmp_path, array, labels


def test_image_and_labels_with_their_names(files):
    folder, array, labels = files
    example = read_example(folder / "scan.nii.gz", folder / "liver.nrrd", 2, (1, 3))
    np.testing.assert_array_equal(example.image.array, array)
    np.testing.assert_array_equal(example.labels.array[:, :, (1, 3)], labels[:, :, (1, 3)])
    assert not example.labels.array[:, :, (0, 2, 4)].any()
    assert example.labels.names == {3: "liver"}
    assert example.provenance == "scan.nii.gz with liver.nrrd"


def test_labels_on_another_grid_are_refused(files):
    folder, _, labels = files
    write(LabelVolume(labels[:2], AFFINE), folder / "short.nii.gz")
    with pytest.raises(GeometryError, match="resample"):
        read_example(folder / "scan.nii.gz", folder / "short.nii.gz")


def test_a_label_file_is_an_image_too_but_a_time_series_is_not(files):
    folder, array, labels = files
    read = read_image(folder / "liver.nrrd")
    assert not isinstance(read, LabelVolume)
    np.testing.assert_array_equal(read.array, labels)
    write(Volume(np.stack([array, array], 3), AFFINE, extra_axis="time"), folder / "series.nii.gz")
    with pytest.raises(InputError, match="2 frames"):
        read_image(folder / "series.nii.gz")
