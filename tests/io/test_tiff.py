"""TIFF stacks: axes by name, voxel sizes from whichever of its three places."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from voxelsmith.core.errors import FormatError, GeometryError, InputError
from voxelsmith.core.volume import LabelVolume
from voxelsmith.io import read

STACK = np.random.default_rng(4).integers(0, 4000, (5, 6, 7)).astype(np.uint16)


class TestVoxelSize:
    def test_of_ome_in_its_own_units(self, tmp_path):
        sizes = {"PhysicalSizeX": 200, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.3, "PhysicalSizeZ": 1.5}
        tifffile.imwrite(tmp_path / "a.ome.tif", STACK, ome=True, metadata={"axes": "ZYX", **sizes})
        volume = read(tmp_path / "a.ome.tif")
        np.testing.assert_allclose(volume.spacing, (2e-4, 3e-4, 1.5e-3))
        assert volume.units == "um"
        assert volume.history == ()

    @pytest.mark.parametrize(("unit", "length"), [("um", 1e-3), ("micron", 1e-3), ("\\u00B5m", 1e-3), ("mm", 1.0)])
    def test_of_imagej(self, tmp_path, unit, length):
        metadata = {"axes": "ZYX", "spacing": 3.0, "unit": unit}
        tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(2, 4), metadata=metadata)
        np.testing.assert_allclose(read(tmp_path / "a.tif").spacing, np.array([0.5, 0.25, 3]) * length)

    @pytest.mark.parametrize(("unit", "length"), [("CENTIMETER", 10.0), ("INCH", 25.4)])
    def test_of_the_tags_serves_for_slices_too(self, tmp_path, unit, length):
        tifffile.imwrite(tmp_path / "a.tif", STACK, resolution=(100, 50), resolutionunit=unit)
        volume = read(tmp_path / "a.tif")
        np.testing.assert_allclose(volume.spacing, np.array([0.01, 0.02, 0.01]) * length)
        assert "slice distance" in volume.history[0]

    def test_that_is_not_said_is_one_millimetre(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", STACK)
        volume = read(tmp_path / "a.tif")
        assert volume.spacing.tolist() == [1, 1, 1]
        assert "voxel size" in volume.history[0]

    def test_must_be_positive(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", STACK, ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": -1.0})
        with pytest.raises(GeometryError, match="positive"):
            read(tmp_path / "a.tif")

    def test_leaves_the_axes_where_itk_has_them(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", STACK)
        assert read(tmp_path / "a.tif").affine.axcodes == "LPS"


class TestAxes:
    def test_are_x_y_z(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", STACK)
        assert np.array_equal(read(tmp_path / "a.tif").array, STACK.transpose(2, 1, 0))

    @pytest.mark.parametrize(
        ("axes", "order", "extra_axis"),
        [("CZYX", (3, 2, 1, 0), "channel"), ("TZYX", (3, 2, 1, 0), "time"), ("ZCYX", (3, 2, 0, 1), "channel")],
    )
    def test_and_one_more(self, tmp_path, axes, order, extra_axis):
        array = np.random.default_rng(0).integers(0, 255, (2, 3, 4, 5), np.uint8)
        tifffile.imwrite(tmp_path / "a.tif", array, ome=True, metadata={"axes": axes})
        volume = read(tmp_path / "a.tif")
        assert volume.extra_axis == extra_axis
        assert np.array_equal(volume.array, array.transpose(order))

    def test_of_colours(self, tmp_path):
        rgb = np.random.default_rng(0).integers(0, 255, (5, 6, 7, 3), np.uint8)
        tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb")
        volume = read(tmp_path / "a.tif")
        assert volume.extra_axis == "channel"
        assert np.array_equal(volume.array, rgb.transpose(2, 1, 0, 3))

    def test_of_a_flat_image(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", STACK[0])
        assert np.array_equal(read(tmp_path / "a.tif").array, STACK[0].T[..., None])

    def test_of_pages_written_one_by_one(self, tmp_path):
        with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
            for page in STACK:
                tif.write(page)
        assert np.array_equal(read(tmp_path / "a.tif").array, STACK.transpose(2, 1, 0))

    def test_of_time_and_channel_together_are_refused(self, tmp_path):
        array = np.zeros((2, 3, 4, 5, 6), np.uint8)
        tifffile.imwrite(tmp_path / "a.tif", array, ome=True, metadata={"axes": "TCZYX"})
        with pytest.raises(FormatError, match="t=2, c=3"):
            read(tmp_path / "a.tif")


def test_label_stacks_open_as_labels(tmp_path):
    labels = np.zeros((8, 9, 10), np.uint16)
    labels[2:5, 2:5, 2:5] = 40
    tifffile.imwrite(tmp_path / "nuclei.tif", labels)
    volume = read(tmp_path / "nuclei.tif")
    assert isinstance(volume, LabelVolume)
    assert volume.values() == [40]


@pytest.mark.parametrize("content", [b"", b"text", b"II*\0" + b"junk" * 5, b"II*\0\x08\0\0\0"])
def test_other_files_are_told(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.tif"):
        read(tmp_path / "a.tif")


def test_truncated_files_are_told(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, compression="zlib")
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match=r"a\.tif"):
        read(tmp_path / "a.tif")


def test_complex_voxels_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK.astype(np.complex64))
    with pytest.raises(InputError, match="complex"):
        read(tmp_path / "a.tif")
