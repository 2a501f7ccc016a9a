"""NIfTI: what nibabel writes is read as nibabel reads it, and written back with its own header."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import pickle
import struct
import tracemalloc
import warnings

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nifti_files import image, saved
from scipy.spatial.transform import Rotation

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, GeometryError, InputError, VoxelsmithError
from voxelsmith.core.volume import Volume
from voxelsmith.io import nifti, read, write

SIGNED_PERMUTATIONS = [
    np.eye(3)[:, list(p)] * signs
    for p in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
FIELDS = ["pixdim", "qform_code", "sform_code", "xyzt_units", "descrip", "intent_code", "intent_name", "aux_file"]


def header_of(path):
    return nib.load(path).header


@st.composite
def files(draw):
    """Small NIfTI images: any orientation, oblique or not, anisotropic, with any codes, type and version."""
    shape = draw(st.tuples(*[st.integers(1, 4)] * 3))
    direction = SIGNED_PERMUTATIONS[draw(st.integers(0, 47))]
    if draw(st.booleans()):
        angles = [draw(st.floats(-40, 40)) for _ in range(3)]
        direction = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ direction
    spacing = [draw(st.floats(0.05, 9)) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    dtype = draw(st.sampled_from(TYPES))
    seed = draw(st.integers(0, 2**32 - 1))
    array = np.frombuffer(np.random.default_rng(seed).bytes(8 * 64), dtype)[: int(np.prod(shape))].reshape(shape)
    img = image(array, affine, draw(st.sampled_from([nib.Nifti1Image, nib.Nifti2Image])))
    sform_code, qform_code = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    img.header.set_sform(affine, sform_code)
    other = affine if draw(st.booleans()) else np.diag([*spacing, 1.0])
    img.header.set_qform(other, qform_code)
    img.header.set_xyzt_units(draw(st.sampled_from(["mm", "micron", "meter", "unknown"])), "sec")
    img.header["descrip"] = draw(st.sampled_from([b"", b"scanner 7"]))
    img.header["intent_code"] = draw(st.sampled_from([0, 3, 1002]))
    return img


class TestRoundTrip:
    @settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(files())
    def test_a_file_comes_back_bit_for_bit(self, tmp_path, img):
        source, target = saved(tmp_path / "a.nii", img), tmp_path / "b.nii"
        volume = nifti.read(source)
        nifti.write(volume, target)
        assert np.array_equal(volume.array, np.asarray(img.dataobj), equal_nan=True)
        assert volume.array.dtype == img.get_data_dtype()
        factor = {"micron": 1e-3, "meter": 1e3}.get(img.header.get_xyzt_units()[0], 1)
        with contextlib.suppress(ValueError):  # nibabel refuses some turns by 180 degrees
            np.testing.assert_allclose(volume.affine.matrix[:3], nib.load(source).affine[:3] * factor, rtol=1e-12)
        assert target.read_bytes() == source.read_bytes()

    def test_keeps_both_forms_when_they_disagree(self, tmp_path):
        img = image()
        img.set_qform(np.diag([2.0, 3.0, 4.0, 1.0]), 1)
        img.set_sform(np.diag([-2.0, 3.0, 4.0, 1.0]), 4)
        volume = read(saved(tmp_path / "a.nii.gz", img))
        back = header_of(write(volume, tmp_path / "b.nii.gz"))
        assert volume.affine.axcodes == "LAS"
        assert np.array_equal(back.get_qform(), img.get_qform())
        assert (back["qform_code"], back["sform_code"]) == (1, 4)

    def test_labels_made_on_an_image_take_its_geometry_and_leave_its_intensities(self, tmp_path):
        img = image(np.ones((2, 3, 4), np.int16), cal_max=800, cal_min=-20, descrip=b"T1", intent_code=3)
        img.header["scl_slope"], img.header["scl_inter"] = 0.5, 3
        img.set_qform(img.affine, 1)
        img.set_sform(img.affine, 2)
        scan = read(saved(tmp_path / "scan.nii.gz", img))
        mask = scan.labels(np.eye(2, 12, dtype=np.uint8).reshape(2, 3, 4))
        back = nib.load(write(mask, tmp_path / "mask.nii.gz"))
        assert np.array_equal(back.affine, img.affine)
        assert back.get_data_dtype() == np.uint8
        assert np.array_equal(np.asarray(back.dataobj), mask.array)
        header = back.header
        assert (header["cal_min"], header["cal_max"], header["intent_code"]) == (0, 0, 1002)
        assert (header["qform_code"], header["sform_code"]) == (1, 2)
        assert header["descrip"].item() == b"T1"

    def test_labels_of_a_time_series_are_three_dimensional(self, tmp_path):
        series = read(saved(tmp_path / "bold.nii.gz", image(np.random.default_rng(0).normal(size=(2, 3, 4, 5)))))
        back = nib.load(write(series.labels(np.ones((2, 3, 4), np.uint8)), tmp_path / "mask.nii.gz"))
        assert back.shape == (2, 3, 4)

    def test_a_changed_affine_replaces_the_old_one_everywhere(self, tmp_path):
        img = image()
        img.set_qform(img.affine, 1)
        img.set_sform(img.affine, 1)
        scan = read(saved(tmp_path / "a.nii", img))
        crop = Volume(scan.array[1:], scan.affine.shifted((1, 0, 0)), metadata=scan.metadata)
        header = header_of(write(crop, tmp_path / "b.nii"))
        np.testing.assert_allclose(header.get_qform(), crop.affine.matrix, atol=1e-6)
        np.testing.assert_allclose(header.get_sform(), crop.affine.matrix, atol=1e-6)

    def test_sheared_axes_live_in_the_sform_alone(self, tmp_path):
        matrix = np.diag([1.0, 2.0, 3.0, 1.0])
        matrix[0, 1] = 0.5
        header = header_of(write(Volume(np.ones((2, 2, 2)), Affine(matrix)), tmp_path / "a.nii"))
        assert np.array_equal(header.get_sform(), matrix)
        assert header["qform_code"] == 0

    def test_a_fresh_volume_has_both_forms_and_millimetres(self, tmp_path):
        header = header_of(write(Volume(np.ones((2, 2, 2), np.int64)), tmp_path / "a.nii"))
        assert header["sform_code"] > 0
        assert header["qform_code"] > 0
        assert header.get_xyzt_units()[0] == "mm"
        assert header.get_data_dtype() == np.int64
        assert header.get_slope_inter() in ((1, 0), (None, None))

    def test_micrometres_are_written_in_micrometres(self, tmp_path):
        cells = Volume(np.ones((2, 2, 2), np.uint8), Affine.from_spacing((2e-4, 2e-4, 1e-3)), units="um")
        path = write(cells, tmp_path / "a.nii")
        np.testing.assert_allclose(header_of(path)["pixdim"][1:4], (0.2, 0.2, 1), rtol=1e-6)
        assert read(path).units == "um"
        np.testing.assert_allclose(read(path).spacing, cells.spacing, rtol=1e-6)

    def test_a_long_axis_needs_the_second_version(self, tmp_path):
        row = np.arange(40000, dtype=np.uint16).reshape(40000, 1, 1)
        scan = read(saved(tmp_path / "a.nii", image(descrip=b"kept")))
        path = write(Volume(row, scan.affine, metadata=scan.metadata), tmp_path / "b.nii")
        assert isinstance(nib.load(path), nib.Nifti2Image)
        assert header_of(path)["descrip"].item() == b"kept"
        assert np.array_equal(read(path).array, row)
        assert read(path).affine == scan.affine

    def test_big_endian_files_are_read_natively_and_stay_big_endian(self, tmp_path):
        img = nib.Nifti1Image(np.arange(24, dtype=">i2").reshape(2, 3, 4), np.eye(4), nib.Nifti1Header(endianness=">"))
        img.header.set_data_dtype(">i2")
        source = saved(tmp_path / "a.nii", img)
        volume = read(source)
        assert volume.array.dtype.isnative
        assert np.array_equal(volume.array, np.arange(24).reshape(2, 3, 4))
        assert write(volume, tmp_path / "b.nii").read_bytes() == source.read_bytes()

    def test_extensions_travel(self, tmp_path):
        img = image()
        img.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"drawn by hand"))
        back = header_of(write(read(saved(tmp_path / "a.nii", img)), tmp_path / "b.nii"))
        assert [bytes(e.get_content()).rstrip(b"\0") for e in back.extensions] == [b"drawn by hand"]

    def test_volumes_can_be_pickled(self, tmp_path):
        scan = read(saved(tmp_path / "a.nii", image()))
        copy = pickle.loads(pickle.dumps(scan))
        assert write(copy, tmp_path / "b.nii").read_bytes() == (tmp_path / "a.nii").read_bytes()


class TestValues:
    @pytest.mark.parametrize(
        ("stored", "slope", "intercept", "expected"),
        [
            ("int16", 1, -1024, "int16"),
            ("uint16", 1, -1024, "int32"),
            ("uint8", 1, -1, "int16"),
            ("uint8", 2, 0, "uint16"),
            ("int16", -1, 0, "int32"),
            ("int16", 0.5, 0, "float64"),
            ("float32", 2, 1, "float64"),
            ("int16", 0, 7, "int16"),
        ],
    )
    def test_are_those_of_nibabel(self, tmp_path, stored, slope, intercept, expected):
        top = 3000 if stored == "int16" else np.iinfo(stored).max if stored != "float32" else 1e4
        low = -32768 if slope == -1 else 0
        array = np.linspace(low, top, 24).astype(stored).reshape(2, 3, 4)
        path = saved(tmp_path / "a.nii.gz", image(array, scl_slope=slope, scl_inter=intercept))
        volume = read(path)
        assert np.array_equal(volume.array, np.asanyarray(nib.load(path).dataobj))
        assert volume.array.dtype == expected

    def test_are_written_back_unscaled(self, tmp_path):
        scan = read(saved(tmp_path / "a.nii", image(scl_slope=0.25, scl_inter=-3.5)))
        back = nib.load(write(scan, tmp_path / "b.nii"))
        assert np.array_equal(np.asarray(back.dataobj), scan.array)
        assert back.get_data_dtype() == np.float64
        assert np.array_equal(back.affine, scan.affine.matrix)

    def test_take_no_second_copy(self, tmp_path):
        path = write(Volume(np.ones((128, 128, 128), np.int16)), tmp_path / "a.nii.gz")
        nifti.read(path)
        tracemalloc.start()
        volume = nifti.read(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1.3 * volume.array.nbytes

    def test_colours_are_channels_and_stay_colours(self, tmp_path):
        dtype = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
        rgb = np.random.default_rng(2).integers(0, 255, (2, 3, 4, 3), np.uint8)
        img = nib.Nifti1Image(np.ascontiguousarray(rgb).view(dtype)[..., 0], np.eye(4))
        nib.save(img, tmp_path / "a.nii.gz")
        volume = read(tmp_path / "a.nii.gz")
        assert volume.extra_axis == "channel"
        assert np.array_equal(volume.array, rgb)
        back = nib.load(write(volume, tmp_path / "b.nii.gz"))
        assert back.get_data_dtype() == dtype
        assert np.array_equal(np.asarray(back.dataobj)["G"], rgb[..., 1])
        inverted = Volume(
            volume.array.astype(np.float32), volume.affine, extra_axis="channel", metadata=volume.metadata
        )
        assert np.array_equal(read(write(inverted, tmp_path / "c.nii")).array, rgb)

    def test_complex_ones_are_refused(self, tmp_path):
        with pytest.raises(InputError, match="complex64"):
            read(saved(tmp_path / "a.nii", image(np.ones((2, 2, 2), np.complex64))))


class TestShape:
    @pytest.mark.parametrize(
        ("stored", "intent", "expected", "extra_axis"),
        [
            ((4,), 0, (4, 1, 1), None),
            ((4, 3), 0, (4, 3, 1), None),
            ((4, 3, 2, 1), 0, (4, 3, 2), None),
            ((4, 3, 2, 5), 0, (4, 3, 2, 5), "time"),
            ((4, 3, 2, 5), 1007, (4, 3, 2, 5), "channel"),
            ((4, 3, 2, 1, 3), 1007, (4, 3, 2, 3), "channel"),
            ((4, 3, 2, 1, 3), 0, (4, 3, 2, 3), "channel"),
            ((4, 3, 2, 5, 1), 0, (4, 3, 2, 5), "time"),
        ],
    )
    def test_is_three_axes_and_at_most_one_more(self, tmp_path, stored, intent, expected, extra_axis):
        array = np.arange(np.prod(stored), dtype=np.int32).reshape(stored, order="F")
        source = saved(tmp_path / "a.nii", image(array, intent_code=intent))
        volume = read(source)
        assert volume.array.shape == expected
        assert volume.extra_axis == extra_axis
        assert np.array_equal(volume.array.ravel(order="F"), np.arange(array.size))
        assert write(volume, tmp_path / "b.nii").read_bytes() == source.read_bytes()

    def test_of_two_extra_axes_is_refused(self, tmp_path):
        with pytest.raises(FormatError, match="one axis beyond space"):
            read(saved(tmp_path / "a.nii", image(np.ones((2, 2, 2, 3, 4), np.int16))))


class TestGeometry:
    def test_of_a_file_without_codes_is_a_guess_that_is_told(self, tmp_path):
        path = saved(tmp_path / "a.nii", image(sform_code=0, qform_code=0))
        volume = read(path)
        assert np.array_equal(volume.affine.matrix, nib.load(path).affine)
        assert "sform and qform codes are 0" in volume.history[0]

    def test_with_a_sform_does_not_need_voxel_sizes(self, tmp_path):
        source = saved(tmp_path / "a.nii", image(sform_code=1, pixdim=[1, 0, -2, np.nan, 1, 1, 1, 1]))
        volume = read(source)
        assert volume.spacing.tolist() == [2, 3, 4]
        assert write(volume, tmp_path / "b.nii").read_bytes() == source.read_bytes()

    @pytest.mark.parametrize("qform_code", [0, 1])
    @pytest.mark.parametrize("size", [0, -1, np.nan, np.inf])
    def test_without_a_sform_needs_positive_voxel_sizes(self, tmp_path, size, qform_code):
        img = image(sform_code=0, qform_code=qform_code, pixdim=[1, 2, size, 4, 1, 1, 1, 1])
        with pytest.raises(GeometryError, match="Voxel sizes are positive"):
            read(saved(tmp_path / "a.nii", img))

    def test_of_a_flat_image_does_not_need_a_slice_thickness(self, tmp_path):
        img = image(np.ones((4, 3), np.int16), sform_code=0, qform_code=1, pixdim=[1, 2, 3, 0, 1, 1, 1, 1])
        assert read(saved(tmp_path / "a.nii", img)).spacing.tolist() == [2, 3, 1]

    def test_with_an_impossible_quaternion_is_refused(self, tmp_path):
        img = image(sform_code=0, qform_code=1, quatern_b=0.9, quatern_c=0.9, quatern_d=0.9)
        with pytest.raises(GeometryError, match="quaternion"):
            read(saved(tmp_path / "a.nii", img))

    @pytest.mark.parametrize(("kind", "excess"), [(nib.Nifti1Image, 4e-7), (nib.Nifti2Image, 1e-15)])
    def test_a_half_turn_whose_quaternion_was_rounded_up_is_read(self, tmp_path, kind, excess):
        axis = np.array([0.6, 0.0, 0.8]) * (1 + excess)
        img = image(cls=kind, sform_code=0, qform_code=1, quatern_b=axis[0], quatern_c=0, quatern_d=axis[2])
        with pytest.raises(ValueError, match="should be positive"):
            img.header.get_qform()
        turn = Rotation.from_rotvec(np.pi * axis / np.linalg.norm(axis)).as_matrix()
        affine = read(saved(tmp_path / "a.nii", img)).affine.matrix
        np.testing.assert_allclose(affine[:3, :3], turn * [2.0, 3.0, 4.0], atol=1e-5)

    def test_with_a_flat_sform_falls_back_on_the_qform(self, tmp_path):
        img = image()
        img.set_qform(np.diag([2.0, 3.0, 4.0, 1.0]), 1)
        img.header["srow_x"], img.header["sform_code"] = 0, 1
        volume = read(saved(tmp_path / "a.nii", img))
        assert volume.spacing.tolist() == [2, 3, 4]
        assert "qform" in volume.history[0]

    def test_with_a_flat_sform_and_no_qform_is_refused(self, tmp_path):
        with pytest.raises(GeometryError, match="sform"):
            read(saved(tmp_path / "a.nii", image(sform_code=1, qform_code=0, srow_x=0)))

    def test_reads_qfac_zero_as_one(self, tmp_path):
        img = image(sform_code=0, qform_code=1, pixdim=[0, 2, 3, 4, 1, 1, 1, 1])
        assert read(saved(tmp_path / "a.nii", img)).affine.axcodes == "RAS"

    @pytest.mark.parametrize(
        ("unit", "factor", "units"), [(1, 1000, "mm"), (2, 1, "mm"), (3, 1e-3, "um"), (0, 1, "mm")]
    )
    def test_is_in_millimetres_whatever_the_unit(self, tmp_path, unit, factor, units):
        volume = read(saved(tmp_path / "a.nii", image(sform_code=1, xyzt_units=unit)))
        np.testing.assert_allclose(volume.spacing, np.array([2, 3, 4]) * factor)
        assert volume.units == units


class TestDamage:
    @pytest.mark.parametrize("position", [3, 100, 351, 360, -1])
    def test_truncation_is_told(self, tmp_path, position):
        path = saved(tmp_path / "a.nii", image())
        path.write_bytes(path.read_bytes()[:position])
        with pytest.raises(FormatError, match=r"a\.nii"):
            read(path)

    def test_a_wrong_checksum_is_told(self, tmp_path):
        path = saved(tmp_path / "a.nii.gz", image())
        content = bytearray(path.read_bytes())
        content[-6] ^= 255
        path.write_bytes(content)
        with pytest.raises(FormatError, match="damaged"):
            read(path)

    def test_compression_is_recognised_whatever_the_name(self, tmp_path):
        path = saved(tmp_path / "a.nii.gz", image())
        assert read(path.rename(tmp_path / "b.nii")).grid == (2, 3, 4)

    def test_an_impossible_size_is_told_before_memory_is_asked_for(self, tmp_path):
        path = saved(tmp_path / "a.nii.gz", image())
        content = bytearray(gzip.decompress(path.read_bytes()))
        content[40:48] = struct.pack("<4h", 3, 32000, 32000, 32000)
        path.write_bytes(gzip.compress(content))
        with pytest.raises(FormatError, match="more than the file can hold"):
            read(path)

    @pytest.mark.parametrize("magic", [b"ni1", b"xxx"])
    def test_a_header_of_two_files_is_told(self, tmp_path, magic):
        with pytest.raises(FormatError, match="magic"):
            read(saved(tmp_path / "a.nii", image(magic=magic)))

    @settings(
        max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=6))
    def test_any_header_is_read_or_gets_a_sentence(self, tmp_path, changes):
        content = bytearray(saved(tmp_path / "a.nii", image()).read_bytes())
        for position, value in changes:
            content[position] = value
        path = tmp_path / "b.nii"
        path.write_bytes(content)
        with warnings.catch_warnings(), contextlib.suppress(VoxelsmithError):
            warnings.simplefilter("ignore")
            assert isinstance(read(path), Volume)
