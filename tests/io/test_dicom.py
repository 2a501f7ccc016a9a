"""DICOM series, synthesised: found, sorted, checked and scaled from their headers alone."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

from voxelsmith.core.errors import FormatError, GeometryError, InputError
from voxelsmith.core.resample import reorient
from voxelsmith.core.volume import Volume
from voxelsmith.io import list_series, read

AXIAL = (1, 0, 0, 0, 1, 0)
SERIES = "1.2.3.4"


def dataset(pixels: np.ndarray, sop_class: str = CTImageStorage) -> Dataset:
    """A dataset that holds pixels, shape (rows, columns) or (frames, rows, columns)."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    ds.SeriesInstanceUID = SERIES
    ds.SeriesDescription, ds.Modality = "abdomen", "CT"
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.dtype.itemsize
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()
    return ds


def plane(pixels: np.ndarray, position, orientation=AXIAL, **fields) -> Dataset:
    ds = dataset(pixels)
    ds.ImagePositionPatient, ds.ImageOrientationPatient = list(position), list(orientation)
    ds.PixelSpacing = [0.5, 0.25]
    ds.SliceThickness = 4
    for name, value in fields.items():
        setattr(ds, name, value)
    return ds


def voxels(count: int = 5) -> np.ndarray:
    """Array [plane, row, column] of distinct values."""
    return np.arange(count * 12, dtype=np.int16).reshape(count, 3, 4)


def series(folder: Path, array: np.ndarray, heights, **fields) -> Path:
    """One file a plane, in an order that the names do not give away."""
    folder.mkdir(exist_ok=True)
    for n, (pixels, height) in enumerate(zip(array, heights, strict=True)):
        plane(pixels, (10, 20, height), **fields).save_as(folder / f"IM{(n * 7) % 100:03}", enforce_file_format=True)
    return folder


class TestSeries:
    def test_is_stacked_by_position(self, tmp_path):
        array = voxels()
        volume = read(series(tmp_path / "ct", array, [8, 2, 6, 4, 0]))
        assert volume.grid == (4, 3, 5)
        expected = array[[4, 1, 3, 2, 0]].transpose(2, 1, 0)
        assert np.array_equal(volume.array, expected)
        assert volume.name == "abdomen"

    def test_lies_where_itk_says(self, tmp_path):
        folder = series(tmp_path / "ct", voxels(), range(0, 10, 2), orientation=(0, 0.8, 0.6, 0, -0.6, 0.8))
        for n, file in enumerate(sorted(folder.iterdir())):
            ds = pydicom.dcmread(file)
            ds.ImagePositionPatient = [10 + 2.0 * n, 20, 30]
            ds.save_as(file)
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        itk = reader.Execute()
        volume = read(folder)
        # ITK may run through the planes the other way, so points are looked up by their value.
        values = SimpleITK.GetArrayFromImage(itk).transpose()
        for value in (0, 17, 59):
            index = np.argwhere(values == value)[0].tolist()
            point = np.array([-1, -1, 1]) * itk.TransformIndexToPhysicalPoint(index)
            np.testing.assert_allclose(volume.affine.apply(np.argwhere(volume.array == value)[0]), point, atol=1e-6)

    def test_is_found_from_one_of_its_files(self, tmp_path):
        folder = series(tmp_path / "ct", voxels(), range(5))
        assert read(folder / "IM014").grid == (4, 3, 5)
        (folder / "IM014").rename(folder / "IM014.dcm")
        assert read(folder / "IM014.dcm").grid == (4, 3, 5)

    def test_ignores_files_of_other_kinds(self, tmp_path):
        folder = series(tmp_path / "ct", voxels(), range(5))
        (folder / "notes.txt").write_text("seen by Dr X")
        (folder / "broken.dcm").write_bytes(b"\0" * 300)
        (folder / "empty.dcm").write_bytes(b"")
        assert read(folder).grid == (4, 3, 5)

    def test_is_never_taken_for_labels(self, tmp_path):
        array = np.zeros((5, 3, 4), np.int16)
        array[:, 1:] = 1
        volume = read(series(tmp_path / "mask", array, range(5)))
        assert type(volume) is Volume


class TestSeveralSeries:
    @pytest.fixture
    def folder(self, tmp_path):
        series(tmp_path / "all", voxels(5), range(5))
        for n in range(3):
            other = plane(voxels()[n], (0, 0, n), SeriesInstanceUID="9.9", SeriesDescription="localizer", Modality="MR")
            other.save_as(tmp_path / "all" / f"other{n}", enforce_file_format=True)
        return tmp_path / "all"

    def test_are_offered(self, folder):
        found = {s.uid: s for s in list_series(folder)}
        assert found[SERIES].shape == (4, 3, 5)
        assert (found["9.9"].description, found["9.9"].modality, found["9.9"].n_files) == ("localizer", "MR", 3)

    def test_are_not_merged(self, folder):
        with pytest.raises(FormatError, match=r"2 series.*localizer"):
            read(folder)
        assert read(folder, series="9.9").grid == (4, 3, 3)
        assert read(folder / "other1").grid == (4, 3, 3)

    def test_that_do_not_exist_are_told(self, folder):
        with pytest.raises(FormatError, match=r"no series '7'.*9\.9"):
            read(folder, series="7")

    def test_of_one_identifier_are_told_apart_by_orientation(self, tmp_path):
        folder = series(tmp_path / "ct", voxels(), range(5))
        plane(voxels()[0], (0, 0, 0), (0, 1, 0, 0, 0, -1)).save_as(folder / "scout", enforce_file_format=True)
        assert sorted(s.uid for s in list_series(folder)) == [f"{SERIES}#1", f"{SERIES}#2"]
        assert read(folder / "scout").grid == (4, 3, 1)
        assert read(folder / "IM000").grid == (4, 3, 5)

    def test_are_chosen_in_dicom_only(self, tmp_path):
        nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.int16), np.eye(4)), tmp_path / "a.nii")
        with pytest.raises(InputError, match="DICOM"):
            read(tmp_path / "a.nii", series="1")


class TestGeometry:
    def test_a_missing_plane_is_named(self, tmp_path):
        with pytest.raises(GeometryError, match=r"2\.000 mm apart.*gap is 4\.000 mm"):
            read(series(tmp_path / "ct", voxels(), [0, 2, 4, 8, 10]))

    def test_rounded_positions_are_even(self, tmp_path):
        volume = read(series(tmp_path / "ct", voxels(4), [0, 0.67, 1.33, 2]))
        np.testing.assert_allclose(volume.spacing, (0.25, 0.5, 2 / 3))

    def test_planes_at_one_place_are_named(self, tmp_path):
        with pytest.raises(GeometryError, match="share one"):
            read(series(tmp_path / "ct", voxels(), [0, 2, 2, 4, 6]))

    def test_planes_without_positions_are_refused(self, tmp_path):
        folder = series(tmp_path / "ct", voxels(), range(5))
        for file in folder.iterdir():
            ds = pydicom.dcmread(file)
            del ds.ImagePositionPatient, ds.ImageOrientationPatient
            ds.save_as(file)
        with pytest.raises(GeometryError, match="ImagePositionPatient"):
            read(folder)

    def test_pixel_sizes_must_be_positive(self, tmp_path):
        with pytest.raises(GeometryError, match="positive"):
            read(series(tmp_path / "ct", voxels(), range(5), PixelSpacing=[1, -1]))

    def test_a_single_plane_is_as_thick_as_it_says(self, tmp_path):
        plane(voxels()[0], (0, 0, 0), SpacingBetweenSlices=6).save_as(tmp_path / "a.dcm", enforce_file_format=True)
        assert read(tmp_path / "a.dcm").spacing.tolist() == [0.25, 0.5, 6]

    def test_a_plain_radiograph_says_what_was_assumed(self, tmp_path):
        dataset(voxels()[0]).save_as(tmp_path / "a.dcm", enforce_file_format=True)
        volume = read(tmp_path / "a.dcm")
        assert volume.spacing.tolist() == [1, 1, 1]
        assert len(volume.history) == 3

    def test_a_tilted_gantry_is_kept_as_a_shear(self, tmp_path):
        for n, pixels in enumerate(voxels()):
            plane(pixels, (0, 0.5 * n, 2.0 * n)).save_as(tmp_path / str(n), enforce_file_format=True)
        volume = read(tmp_path)
        np.testing.assert_allclose(volume.affine.apply((0, 0, 4)), (0, -2, 8))
        assert "tilt of 14.0 degrees" in volume.history[0]

    def test_planes_that_are_not_in_line_are_refused(self, tmp_path):
        for n, pixels in enumerate(voxels()):
            plane(pixels, (0, 5.0 * (n % 2), 2.0 * n)).save_as(tmp_path / str(n), enforce_file_format=True)
        with pytest.raises(GeometryError, match="straight line"):
            read(tmp_path)


class TestValues:
    def test_stay_integers_when_they_can(self, tmp_path):
        volume = read(series(tmp_path / "ct", voxels(), range(5), RescaleSlope="1", RescaleIntercept="-1024"))
        assert volume.array.dtype == np.int16
        assert volume.array.min() == -1024

    def test_are_scaled_plane_by_plane(self, tmp_path):
        array = np.full((2, 3, 4), 10, np.uint16)
        for n in range(2):
            ds = plane(array[n], (0, 0, n), RescaleSlope=str(0.5 + n), RescaleIntercept="1")
            ds.save_as(tmp_path / str(n), enforce_file_format=True)
        volume = read(tmp_path)
        assert volume.array.dtype == np.float32
        assert volume.array[0, 0].tolist() == [6, 16]

    @pytest.mark.parametrize("lacks_codec", [False, True])
    def test_are_decompressed_by_pydicom_or_itk(self, tmp_path, monkeypatch, lacks_codec):
        pixels = np.random.default_rng(3).integers(0, 2000, (32, 32)).astype(np.uint16)
        ds = plane(pixels, (0, 0, 0), RescaleIntercept="-1000", RescaleSlope="1", BitsStored=12, HighBit=11)
        ds.save_as(tmp_path / "raw.dcm", enforce_file_format=True)
        compressed = tmp_path / "jpeg" / "a.dcm"
        compressed.parent.mkdir()
        image = SimpleITK.ReadImage(str(tmp_path / "raw.dcm"))
        writer = SimpleITK.ImageFileWriter()
        writer.SetFileName(str(compressed))
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.Execute(image)
        header = pydicom.dcmread(compressed)
        assert header.file_meta.TransferSyntaxUID.is_compressed
        if lacks_codec:

            def fail(self):
                raise RuntimeError("no decoder")

            monkeypatch.setattr(Dataset, "pixel_array", property(fail))
        volume = read(compressed)
        assert np.array_equal(volume.array[..., 0].T, pixels.astype(np.int16) - 1000)

    def test_that_nobody_can_decompress_are_told(self, tmp_path):
        ds = plane(voxels()[0], (0, 0, 0))
        ds.PixelData = pydicom.encaps.encapsulate([b"no image"])
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
        ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        with pytest.raises(FormatError, match="cannot be decoded"):
            read(tmp_path / "a.dcm")

    def test_that_are_truncated_are_told(self, tmp_path):
        ds = plane(voxels()[0], (0, 0, 0))
        ds.PixelData = ds.PixelData[:-6]
        ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        with pytest.raises(FormatError, match="damaged"):
            read(tmp_path / "a.dcm")

    def test_of_colour_are_channels(self, tmp_path):
        rgb = np.random.default_rng(0).integers(0, 255, (3, 4, 3), np.uint8)
        ds = plane(rgb[..., 0], (0, 0, 0), SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
        ds.PixelData = rgb.tobytes()
        ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        volume = read(tmp_path / "a.dcm")
        assert volume.extra_axis == "channel"
        assert np.array_equal(volume.array[:, :, 0], rgb.transpose(1, 0, 2))


def enhanced(array: np.ndarray, heights) -> Dataset:
    """A multi-frame file with its geometry in functional groups."""

    def group(name, **fields):
        item = Dataset()
        for key, value in fields.items():
            setattr(item, key, value)
        holder = Dataset()
        setattr(holder, name, Sequence([item]))
        return holder

    ds = dataset(array, EnhancedCTImageStorage)
    ds.NumberOfFrames = len(array)
    shared = group("PlaneOrientationSequence", ImageOrientationPatient=list(AXIAL))
    shared.update(group("PixelMeasuresSequence", PixelSpacing=[0.5, 0.25], SliceThickness=2))
    shared.update(group("PixelValueTransformationSequence", RescaleSlope="2", RescaleIntercept="-5"))
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence(
        [group("PlanePositionSequence", ImagePositionPatient=[1, 2, height]) for height in heights]
    )
    return ds


class TestMultiFrame:
    def test_enhanced_files_are_sorted_like_series(self, tmp_path):
        enhanced(voxels(3), [4, 0, 2]).save_as(tmp_path / "a.dcm", enforce_file_format=True)
        volume = read(tmp_path / "a.dcm")
        assert np.array_equal(volume.array, (voxels(3)[[1, 2, 0]] * 2 - 5).transpose(2, 1, 0))
        np.testing.assert_allclose(volume.affine.origin, (-1, -2, 0))
        assert volume.spacing.tolist() == [0.25, 0.5, 2]

    def test_segmentation_objects_are_told(self, tmp_path):
        ds = enhanced(voxels(3), [0, 1, 2])
        ds.Modality = "SEG"
        ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        with pytest.raises(FormatError, match="DICOM images"):
            read(tmp_path / "a.dcm")
        assert read(series(tmp_path, voxels(), range(5))).grid == (4, 3, 5)
        with pytest.raises(FormatError, match="segmentation object"):
            read(tmp_path / "a.dcm")


class TestNoSeries:
    def test_an_empty_folder_is_told(self, tmp_path):
        with pytest.raises(FormatError, match="holds no DICOM images"):
            read(tmp_path)

    def test_a_missing_folder_is_told(self, tmp_path):
        with pytest.raises(FormatError, match="no folder"):
            list_series(tmp_path / "nowhere")

    def test_a_file_that_only_claims_to_be_dicom_is_told(self, tmp_path):
        (tmp_path / "a.dcm").write_bytes(b"not dicom" * 100)
        with pytest.raises(FormatError, match="DICOM"):
            read(tmp_path / "a.dcm")


@pytest.mark.skipif("VOXELSMITH_DATA" not in os.environ, reason="VOXELSMITH_DATA is not set")
def test_a_compressed_clinical_series_equals_its_nifti():
    folder = Path(os.environ["VOXELSMITH_DATA"]) / "ct_upper_abdomen"
    a, b = (reorient(read(p), "RAS") for p in (folder / "dicom", folder / "image.nii.gz"))
    assert a.same_grid(b)
    assert np.array_equal(a.array, b.array)
