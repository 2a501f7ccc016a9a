"""The folder of a registration: what goes in comes out, also beyond the grid and inverted."""

import numpy as np
import pytest

from deformations import linear_map, oblique, positions, smooth_field
from voxelsmith.core.errors import InputError
from voxelsmith.core.transform import Transform
from voxelsmith.io.transforms import read_transform
from voxelsmith.io.transforms.folder import read_folder, write_folder

GRID = (12, 14, 10)


@pytest.fixture
def transform():
    affine = oblique()
    return Transform(linear_map(), smooth_field(affine, GRID))


def test_map_and_field_come_back_apart(tmp_path, transform):
    affine = transform.field.affine
    write_folder(transform, tmp_path, affine, GRID)
    found = read_folder(tmp_path)
    assert np.array_equal(found.matrix, transform.matrix)
    assert found.field.array == pytest.approx(transform.field.array, abs=1e-4)
    beyond = positions(affine, GRID)[0, 0, 0] - 40
    assert found.push_points(beyond) == pytest.approx(transform.push_points(beyond), abs=1e-3)


def test_the_field_alone_is_the_whole_transform(tmp_path, transform):
    affine = transform.field.affine
    write_folder(transform, tmp_path, affine, GRID)
    whole = read_transform(tmp_path / "displacement.nii.gz")
    places = positions(affine, GRID)
    assert whole.push_points(places) == pytest.approx(transform.push_points(places), abs=1e-4)


def test_an_affine_map_is_written_as_a_field_too(tmp_path):
    affine = oblique()
    write_folder(Transform(linear_map()), tmp_path, affine, GRID)
    found = read_folder(tmp_path)
    assert np.array_equal(found.matrix, linear_map())
    assert np.abs(found.field.array).max() < 1e-4


def test_a_folder_without_the_files_is_told(tmp_path, transform):
    with pytest.raises(InputError, match=r"no displacement\.nii\.gz and no affine\.txt"):
        read_folder(tmp_path)
    write_folder(transform, tmp_path, transform.field.affine, GRID)
    (tmp_path / "affine.txt").unlink()
    with pytest.raises(InputError, match=r"holds no affine\.txt"):
        read_folder(tmp_path)
