"""NRRD and MetaImage: geometry as ITK has it, label names as 3D Slicer keeps them."""

from __future__ import annotations

import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, InputError, ResourceError
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import read, write


def oblique() -> Affine:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", (10, -25, 40), degrees=True).as_matrix() * (0.7, 1.25, 3)
    matrix[:3, 3] = (-11.5, 20.25, -300)
    return Affine(matrix)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
class TestAgreesWithItk:
    def test_on_where_a_voxel_lies(self, tmp_path, suffix):
        volume = Volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), oblique())
        itk = SimpleITK.ReadImage(str(write(volume, tmp_path / f"a{suffix}")))
        point = itk.TransformIndexToPhysicalPoint((2, 1, 4))
        np.testing.assert_allclose(np.array([-1, -1, 1]) * point, volume.affine.apply((2, 1, 4)), atol=1e-9)
        assert itk[2, 1, 4] == volume.array[2, 1, 4]

    def test_and_with_nibabel_on_the_same_nifti(self, tmp_path, suffix):
        array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
        nib.save(nib.Nifti1Image(array, oblique().matrix), tmp_path / "a.nii")
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(tmp_path / "a.nii")), str(tmp_path / f"b{suffix}"))
        a, b = read(tmp_path / "a.nii"), read(tmp_path / f"b{suffix}")
        assert a.affine.allclose(b.affine)
        assert np.array_equal(a.array, b.array)

    def test_on_flat_images(self, tmp_path, suffix):
        flat = SimpleITK.GetImageFromArray(np.arange(12, dtype=np.uint8).reshape(3, 4))
        flat.SetSpacing((0.5, 2.0))
        SimpleITK.WriteImage(flat, str(tmp_path / f"a{suffix}"))
        volume = read(tmp_path / f"a{suffix}")
        assert volume.grid == (4, 3, 1)
        assert volume.spacing.tolist() == [0.5, 2, 1]
        assert volume.array[3, 2, 0] == 11

    def test_on_colours(self, tmp_path, suffix):
        rgb = np.random.default_rng(0).integers(0, 255, (5, 4, 3, 3), np.uint8)
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(rgb, isVector=True), str(tmp_path / f"a{suffix}"))
        volume = read(tmp_path / f"a{suffix}")
        assert volume.extra_axis == "channel"
        assert np.array_equal(volume.array, rgb.transpose(2, 1, 0, 3))

    def test_a_single_time_point_is_no_series(self, tmp_path, suffix):
        one = SimpleITK.GetImageFromArray(np.ones((1, 2, 3, 4), np.float32), isVector=False)
        SimpleITK.WriteImage(one, str(tmp_path / f"a{suffix}"))
        assert read(tmp_path / f"a{suffix}").array.shape == (4, 3, 2)


def test_label_names_travel_in_nrrd(tmp_path):
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 1, 1], labels[2, 2, 2] = 2, 7
    path = write(LabelVolume(labels, names={2: "liver", 7: "left  kidney\n"}), tmp_path / "organs.seg.nrrd")
    back = read(path)
    assert isinstance(back, LabelVolume)
    assert dict(back.names) == {2: "liver", 7: "left kidney"}


def test_complex_voxels_are_refused(tmp_path):
    image = SimpleITK.GetImageFromArray(np.ones((3, 3, 3), np.complex64))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    with pytest.raises(InputError, match="complex"):
        read(tmp_path / "a.nrrd")


def test_mhd_is_one_file_that_itk_reads(tmp_path):
    write(Volume(np.ones((3, 3, 3), np.int16)), tmp_path / "a.mhd")
    assert os.listdir(tmp_path) == ["a.mhd"]
    assert SimpleITK.ReadImage(str(tmp_path / "a.mhd")).GetSize() == (3, 3, 3)


def test_mhd_with_its_voxels_beside_it_is_read(tmp_path):
    image = SimpleITK.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    SimpleITK.WriteImage(image, str(tmp_path / "a.mhd"))
    assert (tmp_path / "a.raw").exists()
    assert read(tmp_path / "a.mhd").array[3, 2, 1] == 23
    (tmp_path / "a.raw").unlink()
    with pytest.raises(FormatError, match=r"a\.mhd"):
        read(tmp_path / "a.mhd")


def test_a_write_that_itk_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = write(Volume(np.ones((3, 3, 3), np.int16)), tmp_path / "a.nrrd")
    before = path.read_bytes()

    def fail(image, name, compress):
        with open(name, "wb") as stream:
            stream.write(b"half")
        raise RuntimeError("couldn't write raw data")

    monkeypatch.setattr(SimpleITK, "WriteImage", fail)
    with pytest.raises(ResourceError, match="couldn't write raw data"):
        write(Volume(np.zeros((3, 3, 3), np.int16)), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.nrrd"]
