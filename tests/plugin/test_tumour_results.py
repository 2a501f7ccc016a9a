"""The result part of the Tumour dock: labels are measured, painted, compared, corrected and saved."""

import csv
from unittest.mock import MagicMock

import nibabel as nib
import numpy as np
import pytest
from tumour_bench import SPACING, Bench, affine, depth, truth

from voxelsmith.core.regions import CONVENTIONS
from voxelsmith.core.volume import LabelVolume
from voxelsmith.plugin.layers import layer_to_volume, to_stored

VOXEL_ML = SPACING**3 / 1000


@pytest.fixture
def bench(qtbot, viewer, monkeypatch):
    bench = Bench(qtbot, viewer, monkeypatch, ("t1c", "flair"))
    bench.add(LabelVolume(truth(), affine(), "drawn"))
    return bench


@pytest.fixture
def drawn(bench):
    """Regions that a person drew, chosen in the dock."""
    bench.pick(bench.dock.result.combos["layer"], "drawn")
    bench.measured()
    return bench.viewer.layers["drawn"]


def millilitres(bench):
    return [float(row[1]) for row in bench.rows]


def expected_ml(layer, convention="brats2018"):
    depths = CONVENTIONS[convention].depth(layer.data)
    return [round(np.count_nonzero(depths > place) * VOXEL_ML, 2) for place in range(3)]


class TestMeasures:
    def test_volumes_follow_painting_and_undo(self, bench, drawn):
        before = millilitres(bench)
        assert before == pytest.approx(expected_ml(drawn), abs=0.006)
        drawn.brush_size = 9
        bench.dock.result.brush_buttons["ET"].click()
        drawn.paint((30, 10, 20), drawn.selected_label)
        bench.measured()
        after = millilitres(bench)
        assert after == pytest.approx(expected_ml(drawn), abs=0.006)
        assert all(now > was for now, was in zip(after, before, strict=True))
        drawn.undo()
        bench.qtbot.waitUntil(lambda: millilitres(bench) == before)

    def test_another_slice_does_not_measure_again(self, bench, drawn, monkeypatch):
        started = MagicMock()
        monkeypatch.setattr(bench.dock.results.measures, "measure", started)
        drawn.refresh()
        bench.measured()
        assert started.call_count == 0

    def test_scores_against_a_reference(self, bench, drawn):
        assert bench.dock.result.table.isColumnHidden(2)
        worse = truth("brats2023")
        worse[worse == 3] = 1
        bench.add(LabelVolume(worse, affine(), "expert"))
        bench.pick(bench.dock.result.combos["reference"], "expert")
        bench.measured()
        assert not bench.dock.result.table.isColumnHidden(2)
        # No enhancing tumour in the reference: the convention of BraTS.
        assert [row[2:] for row in bench.rows] == [["1.000", "1.000", "0.0"]] * 2 + [["0.000", "0.000", "373.1"]]
        assert "expert: The labels 1, 2 mean different things" in bench.note

    def test_the_user_says_how_a_reference_is_read(self, bench, drawn):
        bench.add(LabelVolume(truth("msd"), affine(), "expert"))
        layer, combo = bench.dock.result.combos["layer"], bench.dock.result.combos["convention"]
        bench.pick(layer, "expert")
        bench.pick(combo, "the Medical Segmentation Decathlon")
        bench.pick(layer, "drawn")
        bench.pick(bench.dock.result.combos["reference"], "expert")
        bench.measured()
        assert [row[2] for row in bench.rows] == ["1.000"] * 3
        assert "mean different things" not in bench.note
        bench.pick(layer, "expert")
        bench.measured()
        bench.pick(combo, "BraTS 2023")
        bench.pick(layer, "drawn")
        bench.pick(bench.dock.result.combos["reference"], "expert")
        bench.measured()
        assert [row[2] for row in bench.rows] == ["1.000"] * 3

    def test_a_reference_on_another_grid_is_told(self, bench, drawn, told):
        bench.add(LabelVolume(truth()[:-1], affine(), "elsewhere"))
        bench.pick(bench.dock.result.combos["reference"], "elsewhere")
        bench.measured()
        assert "lies on the grid of what it is compared with" in bench.note
        assert millilitres(bench) == pytest.approx(expected_ml(drawn), abs=0.006)


class TestLabels:
    def test_labels_of_no_convention_are_refused_with_a_sentence(self, bench):
        strange = truth()
        strange[20, 20, 20] = 17
        bench.add(LabelVolume(strange, affine(), "strange"))
        bench.pick(bench.dock.result.combos["layer"], "strange")
        assert "Tumour labels have values 1 to 4" in bench.note
        assert bench.result is None
        assert bench.dock.result.combos["layer"].currentText() == "none"
        assert not bench.dock.result.buttons["labels"].isEnabled()

    def test_labels_that_can_be_read_in_two_ways_are_told_and_the_user_decides(self, bench):
        bench.add(LabelVolume(truth("msd"), affine(), "two ways"))
        bench.pick(bench.dock.result.combos["layer"], "two ways")
        assert "mean different things" in bench.note
        for name in ("none", "two ways"):
            bench.pick(bench.dock.result.combos["layer"], name)
        assert "mean different things" in bench.note
        assert bench.dock.result.combos["convention"].currentData() == "msd"
        before = bench.result.data.copy()
        bench.pick(bench.dock.result.combos["convention"], "BraTS 2023")
        bench.measured()
        np.testing.assert_array_equal(bench.result.data, before)
        assert "mean different things" not in bench.note
        assert millilitres(bench) == pytest.approx(expected_ml(bench.result, "brats2023"), abs=0.006)

    def test_another_convention_rewrites_the_labels_and_the_regions_stay(self, bench, drawn):
        combo = bench.dock.result.combos["convention"]
        bench.dock.result.brush_buttons["ET"].click()
        drawn.paint((30, 10, 20), drawn.selected_label)
        bench.measured()
        volumes, before = millilitres(bench), drawn.data.copy()
        bench.pick(combo, "BraTS 2023")
        bench.measured()
        np.testing.assert_array_equal(drawn.data, np.where(before == 4, 3, before))
        assert millilitres(bench) == volumes
        assert (drawn.selected_label, drawn.mode) == (3, "paint")
        # A stroke in the numbers of the other convention cannot come back.
        drawn.undo()
        bench.pick(combo, "BraTS 2018")
        np.testing.assert_array_equal(drawn.data, before)

    def test_a_label_that_the_other_convention_lacks_is_not_lost(self, bench, told):
        cavity = truth("brats2024")
        cavity[5:8, 20:23, 20] = 4
        bench.add(LabelVolume(cavity, affine(), "treated"))
        bench.pick(bench.dock.result.combos["layer"], "treated")
        bench.pick(bench.dock.result.combos["convention"], "BraTS 2024")
        bench.pick(bench.dock.result.combos["convention"], "BraTS 2018")
        assert "labels for resection cavity, which BraTS 2018 does not have" in told[0]
        np.testing.assert_array_equal(to_stored(bench.result, bench.result.data), cavity)
        assert bench.dock.result.combos["convention"].currentData() == "brats2024"

    def test_a_deleted_layer_is_let_go(self, bench, drawn):
        bench.viewer.layers.remove(drawn)
        assert bench.result is None
        assert bench.rows == []
        assert not bench.dock.result.brush_buttons["WT"].isEnabled()


class TestBrush:
    def test_buttons_choose_region_and_tool(self, bench, drawn):
        part = bench.dock.result
        part.brush_buttons["TC"].click()
        assert (drawn.mode, drawn.selected_label) == ("paint", 1)
        assert bench.viewer.layers.selection.active is drawn
        part.eraser.click()
        assert drawn.mode == "erase"
        part.brush_buttons["WT"].click()
        assert (drawn.mode, drawn.selected_label) == ("erase", 2)
        drawn.mode = "paint"
        assert not part.eraser.isChecked()
        drawn.selected_label = 4
        assert part.region == "ET"

    def test_painting_stays_nested_with_the_dock_and_is_napari_s_own_without_it(self, bench, drawn):
        before = drawn.data.copy()
        place = tuple(int(n) for n in np.argwhere(drawn.data == 4)[0])
        bench.dock.result.brush_buttons["WT"].click()
        drawn.paint(place, drawn.selected_label)
        assert drawn.data[place] == 4
        bench.pick(bench.dock.result.combos["layer"], "none")
        drawn.paint(place, 2)
        assert drawn.data[place] == 2
        assert (before[place], bench.rows) == (4, [])


class TestHandingOver:
    @pytest.fixture
    def opened(self, monkeypatch):
        """Docks that were opened, by name."""
        docks = {}

        def open_dock(viewer, name):
            docks[name] = MagicMock()
            return docks[name]

        monkeypatch.setattr("voxelsmith.plugin.docks.tumour.handing.open_dock", open_dock)
        return docks

    def test_a_region_goes_to_the_prompt_dock_and_back(self, bench, drawn, opened):
        part = bench.dock.result
        before = drawn.data.copy()
        part.brush_buttons["ET"].click()
        part.buttons["prompts"].click()
        choices = opened["Prompt"].controller.choices
        assert choices.image.name == "FLAIR"
        np.testing.assert_array_equal(choices.mask.data, before == 4)
        assert not choices.target.data.any()
        assert part.buttons["taking"].text() == "Take corrected ET"
        wanted = np.zeros(before.shape, bool)
        inside = np.argwhere(before == 4)
        wanted[tuple(inside[: len(inside) // 2].T)] = True
        wanted[2, 2, 2] = True
        choices.target.data[wanted] = 3
        part.buttons["taking"].click()
        np.testing.assert_array_equal(drawn.data == 4, wanted)
        np.testing.assert_array_equal(drawn.data[(before == 4) & ~wanted], 1)
        np.testing.assert_array_equal(drawn.data[before == 2], 2)
        assert "ET to correct" not in bench.layers
        assert "ET corrected" not in bench.layers
        assert part.buttons["taking"].isHidden()
        drawn.undo()
        np.testing.assert_array_equal(drawn.data, before)

    def test_nothing_accepted_takes_nothing(self, bench, drawn, opened, told):
        before = drawn.data.copy()
        bench.dock.result.buttons["prompts"].click()
        bench.dock.result.buttons["taking"].click()
        assert "accept an object there first" in told[0]
        bench.pick(bench.dock.result.combos["layer"], "none")
        assert bench.dock.result.buttons["taking"].isHidden()
        bench.pick(bench.dock.result.combos["layer"], "drawn")
        assert not bench.dock.result.buttons["taking"].isHidden()
        np.testing.assert_array_equal(drawn.data, before)
        bench.viewer.layers.remove("WT corrected")
        assert bench.dock.result.buttons["taking"].isHidden()

    def test_without_an_image_below_there_is_nothing_to_correct_on(self, bench, drawn, told):
        for name in ("T1 with contrast", "FLAIR"):
            bench.viewer.layers.remove(name)
        bench.dock.result.buttons["prompts"].click()
        assert "need an image on the grid of 'drawn'" in told[0]


class TestFiles:
    def test_labels_are_saved_in_the_convention_on_their_grid(self, bench, drawn, tmp_path):
        bench.pick(bench.dock.result.combos["convention"], "BraTS 2023")
        path = tmp_path / "regions.nii.gz"
        bench.dock.result.labels_saved.emit(str(path))
        bench.settle()
        saved = nib.load(path)
        np.testing.assert_array_equal(np.asarray(saved.dataobj), truth("brats2023"))
        np.testing.assert_allclose(saved.affine, affine().matrix)

    def test_the_report_has_volumes_and_scores(self, bench, drawn, tmp_path):
        bench.add(LabelVolume(truth(), affine(), "expert"))
        bench.pick(bench.dock.result.combos["reference"], "expert")
        path = tmp_path / "report"
        bench.dock.result.report_saved.emit(str(path))
        bench.settle()
        with open(path.with_suffix(".csv"), newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["region"] for row in rows] == ["WT", "TC", "ET"]
        assert [float(row["volume_ml"]) for row in rows] == pytest.approx(expected_ml(drawn), abs=0.006)
        assert [(row["dice"], row["hd95_mm"]) for row in rows] == [("1.0", "0.0")] * 3

    def test_a_folder_that_refuses_is_told(self, bench, drawn, tmp_path, told):
        bench.dock.result.labels_saved.emit(str(tmp_path / "missing" / "regions.nii.gz"))
        bench.settle()
        assert len(told) == 1
        assert "missing" in told[0]


def test_regions_of_a_run_are_those_of_the_phantom(bench):
    bench.run()
    found = layer_to_volume(bench.result).array
    assert np.count_nonzero((found == 4) != (depth() == 3)) < 20
