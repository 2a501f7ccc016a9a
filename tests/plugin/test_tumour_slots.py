"""Slots of the Tumour dock: filled by name, corrected by hand, looked at before a run, and shown together."""

from dataclasses import replace

import numpy as np
import pytest
from tumour_bench import GREY, SHAPE, Bench, affine, depth, sequence, truth

from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import write
from voxelsmith.plugin.layers import to_stored
from voxelsmith.segment.tumour.names import MODALITIES


@pytest.fixture
def bench(qtbot, viewer, monkeypatch):
    return Bench(qtbot, viewer, monkeypatch)


@pytest.fixture
def make_bench(qtbot, viewer, monkeypatch):
    def make(modalities=MODALITIES, **volumes):
        return Bench(qtbot, viewer, monkeypatch, modalities, volumes)

    return make


def grey(layer):
    return tuple(layer.contrast_limits)


class TestChoices:
    def test_slots_are_filled_by_name(self, bench):
        assert [bench.chosen(m) for m in MODALITIES] == ["T1", "T1 with contrast", "T2", "FLAIR"]
        assert bench.chosen("mask") == "none"
        assert bench.dock.run_button.isEnabled()
        mask = LabelVolume((depth() >= 0).astype(np.uint8), affine(), "brain mask")
        bench.add(mask)
        assert bench.chosen("mask") == "brain mask"

    def test_a_layer_of_another_slot_is_exchanged(self, bench):
        bench.choose("t2", "FLAIR")
        assert [bench.chosen(m) for m in ("t2", "flair")] == ["FLAIR", "T2"]
        bench.choose("t1", "none")
        bench.viewer.layers["T1"].name = "T1 again"
        assert bench.chosen("t1") == "none"

    def test_a_renamed_layer_stays_and_a_removed_one_goes(self, bench):
        bench.viewer.layers["T2"].name = "something"
        assert bench.chosen("t2") == "something"
        bench.viewer.layers.remove("something")
        assert bench.chosen("t2") == "none"
        bench.add(sequence("t2"))
        assert bench.chosen("t2") == "T2"

    def test_without_a_sequence_there_is_no_run(self, make_bench):
        bench = make_bench(())
        assert not bench.dock.run_button.isEnabled()
        assert "at least one of T1" in bench.findings
        bench.add(replace(sequence("flair"), name="scan 7"))
        bench.looked()
        assert bench.chosen("flair") == "none"
        bench.choose("flair", "scan 7")
        assert bench.dock.run_button.isEnabled()


class TestPatient:
    @pytest.fixture
    def folder(self, tmp_path):
        names = {"t1": "t1n", "t1c": "t1c", "t2": "t2w", "flair": "t2f"}
        for modality, name in names.items():
            write(sequence(modality), tmp_path / f"BraTS-GLI-1-{name}.nii.gz")
        write(LabelVolume(truth(), affine()), tmp_path / "BraTS-GLI-1-seg.nii.gz")
        return tmp_path

    def test_a_folder_takes_the_place_of_the_patient_before(self, bench, folder):
        bench.choose("t1", "none")
        bench.dock.slots.folder_chosen.emit(str(folder))
        bench.settle()
        bench.looked()
        assert [bench.chosen(m).rsplit("-", 1)[-1] for m in MODALITIES] == ["t1n", "t1c", "t2w", "t2f"]
        labels = bench.viewer.layers[-1]
        np.testing.assert_array_equal(to_stored(labels, labels.data), truth())
        assert bench.dock.result.combos["reference"].currentText() == labels.name
        assert "usable" in bench.dock.slots.marks["flair"].text()

    def test_a_file_for_which_there_are_two_is_told(self, bench, folder):
        write(sequence("t2"), folder / "BraTS-GLI-1-t2-again.nii.gz")
        bench.dock.slots.folder_chosen.emit(str(folder))
        bench.settle()
        assert "looks like T2 as well" in bench.status

    def test_a_folder_without_sequences_is_told_and_changes_nothing(self, bench, tmp_path, told):
        before = bench.layers
        bench.dock.slots.folder_chosen.emit(str(tmp_path))
        bench.settle()
        assert "nothing that can be opened" in bench.status
        assert len(told) == 1
        assert bench.layers == before


class TestLooks:
    def test_each_slot_shows_its_brain_and_that_it_is_usable(self, bench):
        for modality in MODALITIES:
            picture = bench.dock.slots.pictures[modality].pixmap().toImage()
            middle = picture.width() // 2
            assert picture.pixelColor(0, 0).alpha() == 0
            assert picture.pixelColor(middle, middle).alpha() == 255
            assert "usable" in bench.dock.slots.marks[modality].text()
            assert bench.dock.slots.notes[modality].isHidden()
        assert bench.dock.slots.findings.isHidden()

    def test_exchanged_sequences_are_told_before_the_run(self, bench):
        bench.choose("t1", "T1 with contrast")
        assert "may be exchanged" in bench.findings
        assert [bench.dock.slots.marks[m].text() for m in ("t1", "t1c")] == ["⚠", "⚠"]
        assert bench.dock.run_button.isEnabled()
        bench.choose("t1", "T1")
        assert "may be exchanged" not in bench.findings

    def test_sequences_of_different_patients_are_told(self, make_bench):
        other = np.roll(depth(), 3, axis=1)
        other[:, :, :14] = -1
        bench = make_bench(flair=sequence("flair", other))
        assert "both are of the same patient" in bench.findings

    def test_a_head_that_is_not_stripped_forbids_the_run_until_there_is_a_mask(self, make_bench, monkeypatch):
        monkeypatch.setattr("voxelsmith.segment.tumour.brain.can_strip", lambda: False)
        noise = np.random.default_rng(0).normal(20, 5, SHAPE).astype(np.float32)
        heads = {m: replace(v, array=v.array + noise) for m in MODALITIES if (v := sequence(m))}
        bench = make_bench(**heads)
        assert "without its skull" in bench.findings
        assert not bench.dock.run_button.isEnabled()
        assert not bench.dock.preview_button.isEnabled()
        bench.add(LabelVolume((depth() >= 0).astype(np.uint8), affine(), "brain mask"))
        bench.looked()
        assert bench.dock.run_button.isEnabled()

    def test_values_that_are_no_numbers_and_half_a_brain_are_told_in_their_slots(self, make_bench):
        broken = sequence("t1")
        broken.array[18:21, 22:25, 20] = np.nan
        half = depth()
        half[:, :24] = -1
        bench = make_bench(t1=broken, t2=sequence("t2", half))
        assert "9 voxels in the brain that are NaN" in bench.dock.slots.notes["t1"].text()
        assert bench.dock.slots.marks["t1"].text() == "⚠"
        assert "no part is cut off" in bench.dock.slots.notes["t2"].text()
        assert bench.dock.run_button.isEnabled()

    def test_an_image_without_values_forbids_the_run(self, make_bench):
        bench = make_bench(t2=Volume(np.full(SHAPE, np.nan, np.float32), affine(), "T2"))
        assert "no finite value" in bench.dock.slots.notes["t2"].text()
        assert bench.dock.slots.pictures["t2"].pixmap().isNull()
        assert not bench.dock.run_button.isEnabled()

    def test_a_sequence_elsewhere_will_be_registered_unless_the_user_says_no(self, bench):
        bench.viewer.layers["FLAIR"].translate = (6.0, -4.0, 3.0)
        bench.looked()
        assert "will be registered" in bench.dock.slots.notes["flair"].text()
        assert bench.dock.slots.marks["flair"].text() == "ℹ"
        bench.pick(bench.dock.settings.choices["registration"], "none")
        bench.looked()
        assert "headers are relied on" in bench.dock.slots.notes["flair"].text()

    def test_one_sequence_only_is_told_and_can_run(self, make_bench):
        bench = make_bench(("flair",))
        assert "only one sequence" in bench.dock.slots.notes["flair"].text()
        assert "TC and ET cannot be relied on" in bench.findings
        assert bench.dock.run_button.isEnabled()


class TestTogether:
    def show(self, bench, title):
        bench.pick(bench.dock.slots.together, title)

    def test_side_by_side_has_one_contrast_in_the_brain_and_goes_back(self, bench):
        viewer = bench.viewer
        extra = bench.add(replace(sequence("t1"), name="localiser"))
        before = {layer.name: (layer.visible, grey(layer)) for layer in viewer.layers}
        self.show(bench, "Side by side")
        assert viewer.canvas.grid.enabled
        assert not extra.visible
        inside = depth() >= 0
        for modality, layer in bench.dock.controller.choices.images.items():
            expected = np.percentile(sequence(modality).array[inside], (1, 99))
            np.testing.assert_allclose(grey(layer), expected, atol=0.02 * max(GREY[modality]))
        self.show(bench, "As they are")
        assert not viewer.canvas.grid.enabled
        assert {layer.name: (layer.visible, grey(layer)) for layer in viewer.layers} == before

    def test_regions_lie_over_each_sequence_and_follow_the_brush(self, bench):
        viewer = bench.viewer
        bench.run()
        drawn, order = bench.result, bench.layers
        self.show(bench, "Side by side")
        cells = [viewer.canvas.grid.contents_at(divmod(n, 2), viewer.layers) for n in range(4)]
        shown = [[viewer.layers[n].name for n in cell] for cell in cells]
        assert [cell[0] for cell in shown] == ["T1", "T1 with contrast", "T2", "FLAIR"]
        assert [cell[1].startswith("tumour") for cell in shown] == [True] * 4
        drawn.paint((20, 20, 20), 4)
        copies = [layer for layer in viewer.layers if " on " in layer.name]
        assert [copy.data[20, 20, 20] for copy in copies] == [4, 4, 4]
        combo = bench.dock.result.combos["layer"]
        assert [combo.itemText(n) for n in range(combo.count())] == ["none", "tumour"]
        bench.pick(bench.dock.result.combos["convention"], "BraTS 2023")
        assert [copy.data[20, 20, 20] for copy in copies] == [3, 3, 3]
        viewer.layers.remove(drawn)
        assert not any(" on " in name for name in bench.layers)
        assert viewer.canvas.grid.stride == 1
        self.show(bench, "As they are")
        assert bench.layers == order[:-1]

    def test_a_result_that_comes_while_they_are_side_by_side_lies_over_them(self, bench):
        self.show(bench, "Side by side")
        bench.run()
        assert bench.viewer.canvas.grid.stride == 2
        self.show(bench, "As they are")
        assert bench.layers == ["T1", "T1 with contrast", "T2", "FLAIR", "tumour"]

    def test_the_contrast_moves_for_all_of_them(self, bench):
        assert bench.dock.slots.window_slider.isHidden()
        self.show(bench, "Blended")
        assert not bench.dock.slots.window_slider.isHidden()
        layers = bench.dock.controller.choices.images
        first = {m: grey(layer) for m, layer in layers.items()}
        bench.dock.slots.window_slider.setValue((20, 80))
        for modality, layer in layers.items():
            assert first[modality][0] < grey(layer)[0] < grey(layer)[1] < first[modality][1]
        assert {layer.blending for layer in layers.values()} == {"additive"}
        assert len({layer.colormap.name for layer in layers.values()}) == 4

    def test_closing_the_dock_puts_everything_back(self, bench):
        viewer = bench.viewer
        before = {layer.name: (layer.colormap.name, grey(layer), layer.blending) for layer in viewer.layers}
        self.show(bench, "Blended")
        viewer.layers.remove("T2")
        bench.dock.close()
        del before["T2"]
        assert {x.name: (x.colormap.name, grey(x), x.blending) for x in viewer.layers} == before
