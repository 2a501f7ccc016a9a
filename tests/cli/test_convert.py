"""``voxelsmith convert``: another format, the same voxels in the same place."""

import numpy as np
import pytest

from voxelsmith.core.volume import LabelVolume
from voxelsmith.io import read

ARRAY = np.random.default_rng(0).normal(0, 300, (6, 5, 4)).astype(np.int16)
AFFINE = np.array([[0, -2, 0, 10], [1, 0, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii", ".nii.gz"])
def test_there_and_back(command, nifti, tmp_path, suffix):
    source, middle, back = nifti(ARRAY, "scan.nii.gz", AFFINE), tmp_path / f"scan_2{suffix}", tmp_path / "back.nii.gz"
    done = command("convert", source, middle, "--json")
    assert done.status == 0
    assert done.record["shape"] == [6, 5, 4]
    assert done.record["dtype"] == "int16"
    assert done.record["orientation"] == "ALS"
    assert done.record["spacing_mm"] == pytest.approx([1, 2, 3])
    assert done.record["labels"] is False
    assert command("convert", middle, back, "--quiet").out == ""
    volume = read(back)
    np.testing.assert_array_equal(volume.array, ARRAY)
    np.testing.assert_allclose(volume.affine.matrix, AFFINE, atol=1e-6)


def test_labels_when_asked(command, nifti, tmp_path):
    source, target = nifti((ARRAY > 0).astype(np.float32) * 7, "scan.nii.gz"), tmp_path / "out.nii.gz"
    done = command("convert", source, target, "--labels", "--json")
    assert (done.status, done.record["labels"], done.record["dtype"]) == (0, True, "uint8")
    assert isinstance(read(target), LabelVolume)


def test_a_series_stays_a_series(command, nifti, tmp_path):
    source = nifti(np.stack([ARRAY, ARRAY + 1], axis=3), "series.nii.gz")
    assert command("convert", source, tmp_path / "out.nii.gz", "--json").record["shape"] == [6, 5, 4, 2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing.nii.gz", "out.nii.gz"], "no file"),
        (["scan.nii.gz", "out.png"], "change the ending"),
        (["scan.nii.gz", "no/out.nii.gz"], "does not exist"),
        (["scan.nii.gz", "out.nii.gz", "--labels"], "whole numbers"),
        (["scan.nii.gz", "out.nii.gz", "--series", "1"], "DICOM"),
        (["scan.nii.gz"], "OUT"),
    ],
)
def test_wrong_use_is_told(refused, nifti, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    nifti(ARRAY + 0.5, "scan.nii.gz")
    assert sentence in refused("convert", *arguments)
    assert not (tmp_path / "out.nii.gz").exists()


def test_a_source_is_not_harmed_by_a_failure(refused, nifti, tmp_path):
    source = nifti(ARRAY, "scan.nii.gz")
    before = source.read_bytes()
    refused("convert", source, tmp_path)
    assert source.read_bytes() == before
