"""Which files are read by what, and the sentences for those that are not."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
import SimpleITK
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxelsmith.core.errors import FormatError, InputError, ResourceError, VoxelsmithError
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import READ_PATTERNS, WRITE_SUFFIXES, nifti, read, read_labels, write


@pytest.fixture
def scan() -> Volume:
    return Volume(np.random.default_rng(0).normal(0, 100, (5, 6, 7)).astype(np.int16))


def test_names_come_from_the_file(tmp_path, scan):
    for name, expected in [("a.b.nii.gz", "a.b"), ("T1.NRRD", "T1"), ("case 7.mha", "case 7")]:
        path = write(scan, tmp_path / name)
        assert read(path).name == expected
        assert read(path).metadata["path"] == str(path)


def test_strings_and_home_folders_are_paths(tmp_path, scan, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(scan, "~/a.nii")
    assert np.array_equal(read("~/a.nii").array, scan.array)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FormatError, match="no file"):
        read(tmp_path / "a.nii.gz")


def test_a_folder_in_place_of_a_file_is_told(tmp_path):
    (tmp_path / "a.nii.gz").mkdir()
    with pytest.raises(FormatError, match="is a folder"):
        read(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("name", ["a.txt", "a", "a.gz", "a.zarr"])
def test_other_files_are_told_what_can_be_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"something" * 50)
    with pytest.raises(FormatError, match=r"\*\.nii\.gz"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.tif", "a.dcm", "a.zarr"])
def test_other_endings_are_told_what_can_be_written(tmp_path, scan, name):
    with pytest.raises(FormatError, match=r"\.nii\.gz, \.nii, \.nrrd"):
        write(scan, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_can_be_read():
    assert {f"*{suffix}" for suffix in WRITE_SUFFIXES} <= set(READ_PATTERNS)


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 800), st.integers(0, 255)), min_size=1, max_size=5), st.floats(0.05, 1))
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.tif", "a.dcm"])
def test_any_damage_is_survived_or_told(tmp_path, scan, name, changes, share):
    path = tmp_path / name
    if name == "a.tif":
        tifffile.imwrite(path, scan.array, compression="zlib", metadata={"axes": "ZYX"})
    elif name == "a.dcm":
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(scan.array[:1]), str(path))
    else:
        write(scan, path)
    content = bytearray(path.read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    path.write_bytes(content[: max(1, round(len(content) * share))])
    with warnings.catch_warnings(), contextlib.suppress(VoxelsmithError):
        warnings.simplefilter("ignore")
        assert isinstance(read(path), Volume)


def test_a_lack_of_memory_is_told(tmp_path, scan, monkeypatch):
    def fail(*arguments):
        raise MemoryError

    path = write(scan, tmp_path / "a.nii")
    monkeypatch.setattr(nifti, "read", fail)
    monkeypatch.setattr(nifti, "write", fail)
    with pytest.raises(ResourceError, match="Memory ran out"):
        read(path)
    with pytest.raises(ResourceError, match="Memory ran out"):
        write(scan, path)


def test_a_file_that_may_not_be_read_is_told(tmp_path, scan, monkeypatch):
    def fail(path):
        raise PermissionError(13, "Permission denied")

    path = write(scan, tmp_path / "a.nii")
    monkeypatch.setattr(nifti, "read", fail)
    with pytest.raises(FormatError, match="Permission denied"):
        read(path)


def test_labels_of_channels_are_refused(tmp_path):
    path = write(Volume(np.ones((2, 2, 2, 3), np.uint8), extra_axis="channel"), tmp_path / "a_seg.nrrd")
    assert not isinstance(read(path), LabelVolume)
    with pytest.raises(InputError, match="3 channels"):
        read_labels(path)


def test_labels_keep_what_their_file_said(tmp_path):
    labels = np.zeros((6, 6, 6), np.float32)
    labels[2:4, 2:4, 2:4] = 5
    found = read(write(Volume(labels, units="um"), tmp_path / "a_seg.nii"))
    assert isinstance(found, LabelVolume)
    assert found.array.dtype == np.uint8
    assert found.units == "um"
    assert "nifti_header" in found.metadata
    assert "float32" in found.history[-1]


def test_opening_the_package_loads_no_heavy_library():
    heavy = ("nibabel", "SimpleITK", "pydicom", "tifffile", "zarr", "dask", "napari", "torch")
    code = f"import sys, voxelsmith.io; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
