"""The Few-shot dock on a viewer model: how examples and classes come, change and go."""

import numpy as np
import pytest
from fewshot_bench import GRID, Bench, body, truth
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QLineEdit

from voxelsmith.core.volume import LabelVolume
from voxelsmith.io import write


@pytest.fixture
def bench(qtbot, viewer, monkeypatch):
    bench = Bench(qtbot, viewer, monkeypatch)
    yield bench
    bench.engine.gate.set()
    bench.controller.close()


class TestExamples:
    def test_painted_slices_become_examples_with_their_classes(self, bench):
        bench.add_slice(3)
        bench.add_slice(7)
        assert [(e.axis, e.slices) for e in bench.support.examples] == [(2, (3,)), (2, (7,))]
        assert bench.support.values == (1, 2)
        np.testing.assert_array_equal(bench.support.examples[0].labels.array[:, :, 3], truth()[:, :, 3])
        items = bench.dock.support.items
        assert [items.item(n).text() for n in range(items.count())] == ["k 3", "k 7"]
        assert "rest is learned" in bench.dock.engine_part.reason.text()

    def test_a_slice_along_the_axis_that_is_shown(self, bench):
        bench.add_slice(3)
        bench.viewer.dims.order = (1, 0, 2)
        bench.look_at(6, axis=1)
        bench.dock.support.buttons["slice"].click()
        bench.settle()
        assert (bench.support.examples[1].axis, bench.support.examples[1].slices) == (1, (6,))

    def test_a_corrected_slice_replaces_the_example(self, bench):
        bench.add_slice(3)
        changed = truth()[:, :, 3]
        changed[0] = 1
        bench.add_slice(3, changed)
        assert len(bench.support.examples) == 1
        np.testing.assert_array_equal(bench.support.examples[0].labels.array[:, :, 3], changed)
        assert "Replaced" in bench.status

    def test_an_empty_slice_counts_as_reviewed_for_ticked_classes(self, bench):
        bench.add_slice(3)
        bench.dock.classes.tree.topLevelItem(1).setCheckState(0, Qt.CheckState.Unchecked)
        bench.add_slice(11, 0)
        assert bench.support.examples[1].classes == {1}
        assert not bench.support.examples[1].has_foreground

    def test_without_labels_or_classes_a_sentence_says_what_to_do(self, bench, told):
        bench.dock.support.buttons["slice"].click()
        assert "press Paint" in told[-1]
        bench.viewer.add_labels(np.zeros(GRID[::-1], np.uint8), name="empty", **_place(bench.image))
        bench.choose("target", "empty")
        bench.dock.support.buttons["slice"].click()
        assert "nothing painted" in told[-1]
        bench.viewer.dims.ndisplay = 3
        bench.dock.support.buttons["slice"].click()
        assert "3-D" in told[-1]
        assert bench.support.examples == ()

    def test_a_whole_layer_brings_names_and_colours(self, bench):
        bench.open(LabelVolume(truth(), body().affine, "organs", names={1: "liver", 2: "spleen"}))
        bench.choose("target", "organs")
        bench.dock.support.buttons["layer"].click()
        bench.settle()
        assert bench.support.names == {1: "liver", 2: "spleen"}
        colour = bench.viewer.layers["organs"].get_color(2)[:3]
        assert bench.support.classes[1].colour == pytest.approx(colour)
        assert bench.support.examples[0].slices is None

    def test_labels_on_another_grid_are_refused(self, bench, told):
        bench.open(LabelVolume(truth()[:10], body().affine, "half"))
        bench.choose("target", "half")
        bench.dock.support.buttons["layer"].click()
        assert "grid" in told[-1]

    def test_the_same_layer_twice_is_refused(self, bench, told):
        bench.open(LabelVolume(truth(), body().affine, "organs"))
        bench.choose("target", "organs")
        for _ in range(2):
            bench.dock.support.buttons["layer"].click()
            bench.settle()
        assert len(bench.support.examples) == 1
        assert "already in the support set" in told[-1]

    def test_an_example_outlives_its_layers(self, bench):
        bench.add_slice(3)
        bench.viewer.layers.clear()
        bench.settle()
        other = bench.open(body(seed=4, name="other"))
        bench.choose("image", other.name)
        assert "Other volumes" in bench.dock.engine_part.reason.text()
        bench.propose()
        np.testing.assert_array_equal(bench.engine.requests[0].support.examples[0].labels.array[:, :, 3],
                                      truth()[:, :, 3])  # fmt: skip

    def test_a_pair_of_files(self, bench, tmp_path):
        write(body(seed=2), tmp_path / "other.nii.gz")
        write(LabelVolume(truth(), body().affine), tmp_path / "organs.nii.gz")
        bench.dock.support.pair_chosen.emit(str(tmp_path / "other.nii.gz"), str(tmp_path / "organs.nii.gz"))
        bench.settle()
        assert bench.support.examples[0].provenance == "other.nii.gz with organs.nii.gz"
        assert bench.dock.support.items.item(0).text() == "whole"
        assert "registration" in bench.dock.engine_part.reason.text()

    @pytest.mark.parametrize("name", ["set.zip", "folder"])
    def test_a_set_is_saved_and_loaded(self, bench, tmp_path, name):
        bench.add_slice(3)
        bench.dock.classes.tree.topLevelItem(0).setText(0, "liver")
        kept = bench.support.examples[0].content_hash
        bench.dock.support.save_wanted.emit(str(tmp_path / name))
        bench.settle()
        bench.dock.support.removed.emit([kept])
        assert bench.support.examples == ()
        bench.dock.support.load_wanted.emit(str(tmp_path / name))
        bench.settle()
        assert [e.content_hash for e in bench.support.examples] == [kept]
        assert bench.support.names[1] == "liver"
        # What was painted on this very image is known again.
        assert "rest is learned" in bench.dock.engine_part.reason.text()

    def test_a_damaged_set_is_a_sentence(self, bench, tmp_path, told):
        (tmp_path / "set.zip").write_bytes(b"no zip")
        bench.dock.support.load_wanted.emit(str(tmp_path / "set.zip"))
        bench.settle()
        assert "no zip file" in told[-1]

    def test_switching_removing_and_undo(self, bench):
        bench.add_slice(3)
        bench.add_slice(7)
        bench.dock.support.items.item(0).setCheckState(Qt.CheckState.Unchecked)
        assert [e.slices for e in bench.support.enabled] == [(7,)]
        bench.dock.support.items.item(1).setCheckState(Qt.CheckState.Unchecked)
        assert not bench.dock.propose_button.isEnabled()
        for _ in range(3):
            bench.press("undo")
        assert [e.slices for e in bench.support.enabled] == [(3,)]
        bench.press("redo")
        assert [e.slices for e in bench.support.enabled] == [(3,), (7,)]

    def test_switching_by_mouse(self, bench):
        bench.add_slice(3)
        bench.dock.show()
        items = bench.dock.support.items
        for wanted in (False, True):
            rect = items.visualItemRect(items.item(0))
            at = QPoint(rect.left() + 9, rect.top() + items.iconSize().height() // 2 + 4)
            bench.qtbot.mouseClick(items.viewport(), Qt.MouseButton.LeftButton, pos=at)
            assert bench.support.examples[0].enabled == wanted


class TestClasses:
    def test_a_name_is_typed(self, bench):
        bench.add_slice(3)
        bench.dock.show()
        tree = bench.dock.classes.tree
        tree.editItem(tree.topLevelItem(1), 0)
        editor = tree.findChild(QLineEdit)
        editor.selectAll()
        bench.qtbot.keyClicks(editor, "spleen")
        bench.qtbot.keyClick(editor, Qt.Key.Key_Return)
        bench.qtbot.waitUntil(lambda: bench.support.names == {1: "class 1", 2: "spleen"})
        assert tree.topLevelItem(1).text(0) == "spleen"

    def test_painting_makes_the_layer_and_uses_the_class(self, bench):
        bench.dock.classes.new_button.click()
        bench.dock.classes.new_button.click()
        bench.dock.classes.paint_button.click()
        assert bench.viewer.layers.selection.active is bench.target
        assert (bench.target.mode, bench.target.selected_label) == ("paint", 2)
        bench.dock.classes.choose(1)
        assert bench.target.selected_label == 1
        np.testing.assert_allclose(bench.target.get_color(1)[:3], bench.support.classes[0].colour, atol=0.01)

    def test_names_and_colours_reach_layers_and_can_be_undone(self, bench):
        bench.add_slice(3)
        bench.propose()
        bench.dock.classes.recoloured.emit(2, (1.0, 0.0, 0.0))
        for layer in (bench.target, bench.controller.proposing.preview.layer):
            np.testing.assert_allclose(layer.get_color(2), (1, 0, 0, 1))
        bench.press("undo")
        assert bench.target.get_color(2)[0] != 1

    def test_a_name_twice_is_refused(self, bench, told):
        bench.add_slice(3)
        bench.dock.classes.tree.topLevelItem(0).setText(0, "class 2")
        assert "of its own" in told[-1]
        assert bench.dock.classes.tree.topLevelItem(0).text(0) == "class 1"


def _place(layer):
    return {"scale": layer.scale, "affine": layer.affine, "units": layer.units, "axis_labels": layer.axis_labels}
