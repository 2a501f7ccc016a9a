"""The contract of every format that can be written.

What is written is read back with the same voxels, shape and type, and lies in the same place: identical numbers for
NIfTI files that were read before, and within a thousandth of a millimetre for anything else. This holds for all 48 ways
in which three array axes can run along three anatomical axes, for oblique axes and for voxels of three different sizes.
Labels come back as labels with their names where the format has a place for them. Two writes of one volume give two
files that read the same; writing over a file leaves only the new one; nothing else is left in the folder.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, GeometryError, InputError, ResourceError
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import WRITE_SUFFIXES, read, read_labels, write

SPACING = np.array([0.7, 1.25, 3.0])
TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


def orientations() -> list[np.ndarray]:
    """The 48 signed permutation matrices."""
    return [
        np.eye(3)[:, list(p)] * signs
        for p in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    ]


def affine(direction: np.ndarray) -> Affine:
    matrix = np.eye(4)
    matrix[:3, :3] = direction * SPACING
    matrix[:3, 3] = (-11.5, 20.25, -300.0)
    return Affine(matrix)


def extremes(dtype: str, shape: tuple[int, ...] = (4, 3, 5)) -> np.ndarray:
    """Values over the whole range of a type, each end included, none equal to its neighbour."""
    kind = np.dtype(dtype).kind
    low, high = (-3.5, 7.25) if kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = np.random.default_rng(5).integers(0, 100, shape).astype(dtype)
    values.flat[0], values.flat[1], values.flat[-1] = low, high, high
    return values


@pytest.mark.parametrize("suffix", WRITE_SUFFIXES)
class TestEveryWritableFormat:
    @pytest.mark.parametrize("direction", orientations(), ids=lambda d: affine(d).axcodes)
    def test_keeps_every_orientation(self, tmp_path, suffix, direction):
        image = Volume(extremes("int16"), affine(direction))
        back = read(write(image, tmp_path / f"scan{suffix}"))
        assert back.grid == image.grid
        assert np.array_equal(back.array, image.array)
        assert back.affine.allclose(image.affine)
        assert back.affine.axcodes == image.affine.axcodes

    def test_keeps_oblique_axes(self, tmp_path, suffix):
        image = Volume(extremes("float32"), affine(Rotation.from_euler("xyz", (10, -25, 40), degrees=True).as_matrix()))
        back = read(write(image, tmp_path / f"scan{suffix}"))
        assert back.affine.allclose(image.affine)

    @pytest.mark.parametrize("dtype", TYPES)
    def test_keeps_every_type(self, tmp_path, suffix, dtype):
        image = Volume(extremes(dtype))
        back = read(write(image, tmp_path / f"scan{suffix}"))
        assert back.array.dtype == image.array.dtype
        assert np.array_equal(back.array, image.array)

    def test_writes_a_mask_as_bytes(self, tmp_path, suffix):
        mask = LabelVolume(extremes("int16") > 50)
        back = read_labels(write(mask, tmp_path / f"mask{suffix}"))
        assert back.array.dtype == np.uint8
        assert np.array_equal(back.array != 0, mask.array)

    def test_writes_the_values_of_any_memory_layout(self, tmp_path, suffix):
        array = extremes("int16", (6, 5, 8))[::-1, :, ::2].swapaxes(0, 1).astype(">i2")
        assert np.array_equal(read(write(Volume(array), tmp_path / f"a{suffix}")).array, array)

    @pytest.mark.parametrize("extra_axis", ["time", "channel"])
    def test_keeps_a_fourth_axis(self, tmp_path, suffix, extra_axis):
        image = Volume(extremes("float32", (4, 3, 5, 2)), affine(np.eye(3)), extra_axis=extra_axis)
        back = read(write(image, tmp_path / f"series{suffix}"))
        assert back.extra_axis == extra_axis
        assert np.array_equal(back.array, image.array)
        assert back.affine.allclose(image.affine)

    def test_opens_labels_as_labels(self, tmp_path, suffix):
        labels = np.zeros((9, 8, 7), np.uint16)
        labels[2:6, 2:6, 2:6] = 3
        back = read(write(LabelVolume(labels), tmp_path / f"case{suffix}"))
        assert isinstance(back, LabelVolume)
        assert back.values() == [3]
        assert back.name == "case"

    def test_keeps_nan_and_infinity(self, tmp_path, suffix):
        array = np.array([np.nan, np.inf, -np.inf, 0.0], np.float32).reshape(2, 2, 1)
        assert np.array_equal(read(write(Volume(array), tmp_path / f"a{suffix}")).array, array, equal_nan=True)

    def test_replaces_a_file_and_leaves_nothing_else(self, tmp_path, suffix):
        path = tmp_path / f"scan{suffix}"
        write(Volume(np.zeros((2, 2, 2), np.int16)), path)
        write(Volume(np.ones((3, 3, 3), np.int16)), path)
        assert read(path).grid == (3, 3, 3)
        assert [p.name for p in tmp_path.iterdir()] == [path.name]

    def test_refuses_complex_numbers_and_keeps_the_old_file(self, tmp_path, suffix):
        path = write(Volume(np.ones((2, 2, 2), np.int16)), tmp_path / f"scan{suffix}")
        before = path.read_bytes()
        with pytest.raises(InputError, match="complex"):
            write(Volume(np.ones((2, 2, 2), np.complex64)), path)
        assert path.read_bytes() == before

    def test_says_that_the_folder_is_missing(self, tmp_path, suffix):
        with pytest.raises(ResourceError, match="does not exist"):
            write(Volume(np.ones((2, 2, 2))), tmp_path / "nowhere" / f"a{suffix}")

    def test_sheared_axes_are_kept_or_refused(self, tmp_path, suffix):
        matrix = np.eye(4)
        matrix[0, 2] = 0.3
        image = Volume(extremes("int16"), Affine(matrix))
        if suffix.startswith(".nii"):
            assert read(write(image, tmp_path / f"a{suffix}")).affine.allclose(image.affine)
        else:
            with pytest.raises(GeometryError, match="sheared"):
                write(image, tmp_path / f"a{suffix}")

    def test_says_that_a_file_is_truncated(self, tmp_path, suffix):
        path = write(Volume(np.random.default_rng(0).normal(size=(8, 8, 8))), tmp_path / f"scan{suffix}")
        path.write_bytes(path.read_bytes()[:-600])
        with pytest.raises(FormatError, match=r"scan.*(truncated|damaged)"):
            read(path)

    @pytest.mark.parametrize("content", [b"", b"x", b"no volume at all " * 100], ids=["empty", "one byte", "text"])
    def test_says_that_a_file_is_something_else(self, tmp_path, suffix, content):
        path = tmp_path / f"scan{suffix}"
        path.write_bytes(content)
        with pytest.raises(FormatError, match="scan"):
            read(path)
