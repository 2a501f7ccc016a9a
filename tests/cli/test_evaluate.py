"""``voxelsmith evaluate``: the same numbers as the metrics, as a table, as JSON and as CSV."""

import csv

import numpy as np
import pytest

from voxelsmith.core.metrics import compare

SPACING = (1.0, 2.0, 3.0)
REFERENCE = np.zeros((8, 8, 8), np.uint8)
REFERENCE[1:5, 1:5, 1:5] = 1
REFERENCE[6, 6, 6] = 2
PREDICTION = np.zeros((8, 8, 8), np.uint8)
PREDICTION[2:6, 1:5, 1:5] = 1
AFFINE = np.diag([*SPACING, 1])


@pytest.fixture
def pair(nifti):
    return nifti(REFERENCE, "reference.nii.gz", AFFINE), nifti(PREDICTION, "prediction.nii.gz", AFFINE)


def test_every_label_gets_the_metrics(command, pair):
    done = command("evaluate", *pair, "--json")
    assert done.status == 0
    assert list(done.record["labels"]) == ["1", "2"]
    expected = compare(REFERENCE == 1, PREDICTION == 1, SPACING)
    assert done.record["labels"]["1"] == pytest.approx(expected)
    assert done.record["labels"]["1"]["dice"] == pytest.approx(0.75)


def test_infinity_is_null_in_json(command, pair):
    assert command("evaluate", *pair, "--json").record["labels"]["2"]["hd95_mm"] is None


def test_the_table_for_people(command, pair):
    lines = command("evaluate", *pair).out.splitlines()
    assert lines[0].split("\t")[:2] == ["label", "dice"]
    assert [line.split("\t")[:2] for line in lines[1:]] == [["1", "0.75"], ["2", "0"]]
    assert command("evaluate", *pair, "--quiet").out == ""


def test_the_table_as_a_file(command, pair, tmp_path):
    target = tmp_path / "table.csv"
    assert command("evaluate", *pair, "--csv", target).status == 0
    with open(target, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["label"] for row in rows] == ["1", "2"]
    assert float(rows[0]["hd95_mm"]) == compare(REFERENCE == 1, PREDICTION == 1, SPACING)["hd95_mm"]


def test_everything_but_background_as_one(command, pair):
    rows = command("evaluate", *pair, "--binary", "--json").record["labels"]
    assert list(rows) == ["1"]
    assert rows["1"]["reference_ml"] == pytest.approx((REFERENCE > 0).sum() * 6 / 1000)


def test_two_empty_volumes_have_no_labels(command, nifti, tmp_path):
    one, two = (nifti(np.zeros((3, 3, 3), np.uint8), name) for name in ("a.nii.gz", "b.nii.gz"))
    done = command("evaluate", one, two, "--json", "--csv", tmp_path / "table.csv")
    assert (done.status, done.record["labels"]) == (0, {})


def test_grids_that_differ_are_told(refused, pair, nifti):
    assert "must lie on the grid" in refused("evaluate", pair[0], nifti(PREDICTION, "moved.nii.gz"))
    assert "must lie on the grid" in refused("evaluate", pair[0], nifti(PREDICTION[1:], "cut.nii.gz", AFFINE))


def test_files_that_hold_no_labels_are_told(refused, pair, tmp_path, nifti):
    assert "whole numbers" in refused("evaluate", pair[0], nifti(PREDICTION + 0.5, "image.nii.gz", AFFINE))
    assert "no file" in refused("evaluate", pair[0], tmp_path / "missing.nii.gz")


def test_a_table_without_a_folder_is_told(refused, pair, tmp_path):
    assert "does not exist" in refused("evaluate", *pair, "--csv", tmp_path / "no" / "table.csv")
