"""The report of a tumour: volumes, scores where there is a reference, and the CSV file."""

import csv

import numpy as np
import pytest

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.region_scores import score_regions
from voxelsmith.core.regions import convention
from voxelsmith.core.volume import LabelVolume
from voxelsmith.segment.tumour.report import COLUMNS, report_rows, write_report

AFFINE = Affine.from_spacing((1, 2, 3))


def depth(low=2):
    array = np.zeros((12, 12, 12), np.uint8)
    array[low:10, 2:10, 2:10] = 1
    array[low + 1 : 8, 4:8, 4:8] = 2
    return LabelVolume(array, AFFINE)


def test_without_a_reference_there_are_volumes():
    rows = report_rows(depth(), {"ET": "No contrast."})
    assert [(row.region, row.score) for row in rows] == [("WT", None), ("TC", None), ("ET", None)]
    assert rows[0].volume_ml == pytest.approx(512 * 6 / 1000)
    assert [row.unreliable for row in rows] == ["", "", "No contrast."]


@pytest.mark.parametrize("name", ["brats2013", "brats2023", "msd"])
def test_a_reference_of_any_convention_is_scored(name):
    meaning = convention(name)
    truth = LabelVolume(meaning.labels(depth(3).array), AFFINE)
    rows = report_rows(depth(), {}, truth, meaning)
    expected = score_regions(depth(3).array, depth().array, (1, 2, 3))
    assert {row.region: row.score for row in rows} == expected
    assert rows[0].score.dice < 1


def test_the_file_has_the_same_numbers(tmp_path):
    meaning = convention("msd")
    rows = report_rows(depth(), {"WT": "No FLAIR."}, LabelVolume(meaning.labels(depth(3).array), AFFINE), meaning)
    write_report(rows, tmp_path / "report.csv")
    with open(tmp_path / "report.csv", newline="", encoding="utf-8") as handle:
        read = list(csv.DictReader(handle))
    assert tuple(read[0]) == COLUMNS
    assert [line["region"] for line in read] == ["WT", "TC", "ET"]
    assert float(read[0]["dice"]) == rows[0].score.dice
    assert (float(read[2]["dice"]), float(read[2]["hd95_mm"])) == (1, 0)
    assert read[0]["unreliable"] == "No FLAIR."
    write_report(report_rows(depth(), {}), tmp_path / "report.csv")
    with open(tmp_path / "report.csv", newline="", encoding="utf-8") as handle:
        assert [line["dice"] for line in csv.DictReader(handle)] == ["", "", ""]


def test_a_reference_elsewhere_or_of_other_labels_is_told():
    elsewhere = LabelVolume(depth().array, Affine.from_spacing((1, 2, 4)))
    with pytest.raises(GeometryError):
        report_rows(depth(), {}, elsewhere, convention("msd"))
    with pytest.raises(InputError, match="Labels of BraTS 2018"):
        report_rows(depth(), {}, LabelVolume(depth().array + 2, AFFINE), convention("brats2018"))
