"""The tables of the Register dock tell what a registration achieved."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from outcomes import LANDMARKS, finished, tilted_pair
from qtpy.QtWidgets import QApplication, QFileDialog

from voxelsmith.plugin.docks.register.tables_part import TablesPart
from voxelsmith.plugin.layers import from_ijk
from voxelsmith.register.result import Change


@pytest.fixture
def part(qtbot, viewer):
    part = TablesPart(viewer)
    qtbot.addWidget(part)
    return part


def rows(tree):
    items = [tree.topLevelItem(n) for n in range(tree.topLevelItemCount())]
    return [[item.text(column) for column in range(3)] for item in items]


def test_before_a_run_there_is_a_sentence_and_no_table(part):
    assert not part.nothing.isHidden()
    assert part.trees["measures"].parentWidget().isHidden()
    part.copy_wanted.emit("measures")


def test_measures_are_told_before_and_after(part, viewer):
    part.controller.show(finished(viewer))
    assert rows(part.trees["measures"]) == [
        ["Correlation", "0.500", "0.900"],
        ["Dice, mean", "0.250", "0.875"],
        ["Dice, core", "0.250", "0.875"],
        ["HD95, mean", "6.00 mm", "1.25 mm"],
        ["HD95, core", "6.00 mm", "1.25 mm"],
        ["Mean landmark error", "4.00 mm", "1.00 mm"],
        ["Largest landmark error", "5.00 mm", "1.50 mm"],
        ["Folding", "", "1.250%"],
        ["SDlogJ", "", "0.310"],
        ["SDlogJ (Learn2Reg)", "", "0.070"],
    ]
    assert "0.750 after the affine part" in part.trees["measures"].topLevelItem(0).toolTip(0)
    assert part.nothing.isHidden()


def test_labels_that_are_not_on_the_grid_are_a_dash_and_not_in_the_mean(part, viewer):
    outcome = finished(viewer)
    far = {1: Change(4.0, 1.0), 2: Change(8.0, float("inf")), 4: Change(6.0, 2.0)}
    measures = replace(outcome.result.measures, dice={}, hd95_mm=far)
    part.controller.show(replace(outcome, result=replace(outcome.result, measures=measures)))
    assert rows(part.trees["measures"])[1:5] == [
        ["HD95, mean", "5.00 mm", "1.50 mm"],
        ["HD95, label 1", "4.00 mm", "1.00 mm"],
        ["HD95, label 2", "8.00 mm", "–"],
        ["HD95, core", "6.00 mm", "2.00 mm"],
    ]
    measures = replace(measures, hd95_mm={2: far[2]})
    part.controller.show(replace(outcome, result=replace(outcome.result, measures=measures)))
    assert rows(part.trees["measures"])[1] == ["HD95, mean", "–", "–"]


def test_landmarks_are_told_one_by_one(part, viewer):
    part.controller.show(finished(viewer))
    assert rows(part.trees["landmarks"]) == [["1", "3.00", "0.50"], ["2", "5.00", "1.50"]]


def test_what_was_not_measured_has_no_line(part, viewer):
    part.controller.show(finished(viewer, deforms=False, labels=False))
    names = [name for name, *_ in rows(part.trees["measures"])]
    assert names == ["Correlation", "Mean landmark error", "Largest landmark error"]
    part.controller.show(None)
    assert rows(part.trees["measures"]) == rows(part.trees["landmarks"]) == []
    assert not part.nothing.isHidden()


@pytest.mark.parametrize("tilted", [False, True])
def test_a_landmark_leads_to_its_slice(part, viewer, tilted):
    outcome = finished(viewer, affine=tilted_pair()[0] if tilted else None)
    part.controller.show(outcome)
    part.trees["landmarks"].topLevelItem(1).setSelected(True)
    layer = outcome.fixed_layer
    np.testing.assert_allclose(viewer.dims.point, layer.data_to_world(from_ijk(layer, [LANDMARKS[1]])[0]), atol=1e-6)


def test_copy_and_save_give_the_same_csv(part, viewer, tmp_path, monkeypatch, told):
    part.controller.show(finished(viewer))
    part.copy_buttons["landmarks"].click()
    text = QApplication.clipboard().text()
    assert text == "Landmark,Before (mm),After (mm)\n1,3.00,0.50\n2,5.00,1.50\n"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: (str(tmp_path / "table"), ""))
    part.save_buttons["landmarks"].click()
    assert (tmp_path / "table.csv").read_text() == text
    part.save_wanted.emit("measures", str(tmp_path / "m.csv"))
    with (tmp_path / "m.csv").open(newline="") as stream:
        assert list(csv.reader(stream))[1:] == rows(part.trees["measures"])
    assert told == []
    part.save_wanted.emit("measures", str(tmp_path / "missing" / "m.csv"))
    assert "does not exist" in told[0]


def test_an_empty_table_cannot_be_copied(part, told):
    part.copy_wanted.emit("landmarks")
    assert "nothing in this table" in told[0]
